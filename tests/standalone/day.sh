#!/usr/bin/env bash
# `make standalone-day`: a day of one durable process in minutes. In each of 24 hours, of ten
# seconds, some thousand operations are created and executed, and those of the hour before
# the last are removed. Prints the folder and the memory after each hour. Fails if they
# still grow.
#
#   tests/standalone/day.sh FOLDER
#
# HOURS, SECONDS_OF_AN_HOUR and THOUSANDS (of operations in an hour) make the day another one.
# The creates have no idempotency keys: those are remembered for two days, whatever is removed.
set -euo pipefail

folder=${1:?a folder}
hours=${HOURS:-24} seconds=${SECONDS_OF_AN_HOUR:-10} thousands=${THOUSANDS:-5}

for tool in drumline jq; do
	command -v "$tool" >/dev/null || {
		echo "day: $tool is missing" >&2
		exit 1
	}
done
rm -rf "$folder"
mkdir -p "$folder"
cd "$folder"

# A request of a thousand creates of half a kilobyte, on some of 500 tokens.
jq -nc '{requestName: "ExecuteMultiple", parameters: {
	settings: {continueOnError: false, returnResponses: true},
	requests: [range(1000) | {requestName: "Create", parameters: {target: {
		messageName: "Echo", dependencyToken: "token-\(. % 500)", data: ("x" * 500)}}}]}}' >batch.json

drumline standalone --data data --listen 127.0.0.1:0 --log warn --concurrency 64 \
	--remove-succeeded-after "${seconds}s" >ready 2>log &
process=$!
trap 'kill "$process" 2>/dev/null || true' EXIT
until [[ -s ready ]]; do
	kill -0 "$process" || { cat log >&2; exit 1; }
	sleep 0.1
done
DRUMLINE_SERVER=$(cut -d' ' -f2 ready)
export DRUMLINE_SERVER

kib() {
	du -sk data | cut -f1
}
rss() {
	awk '/^VmRSS/ { print $2 }' "/proc/$process/status"
}

# waiting: the number of operations that are not Completed.
waiting() {
	drumline quotas --output json | jq '.quotas[] | select(.name == "open").used'
}

row='%-6s%12s%12s%12s%12s\n'
# shellcheck disable=SC2059
printf "$row" hour created waiting 'folder MiB' 'memory MiB'
sizes=() memory=()
for ((hour = 1; hour <= hours; hour++)); do
	ends=$((SECONDS + seconds))
	for ((batch = 0; batch < thousands; batch++)); do
		drumline execute --file batch.json >/dev/null
	done
	((ends <= SECONDS)) || sleep $((ends - SECONDS))
	sizes+=("$(kib)") memory+=("$(rss)")
	# shellcheck disable=SC2059
	printf "$row" "$hour" $((hour * thousands * 1000)) "$(waiting)" \
		$((sizes[-1] / 1024)) $((memory[-1] / 1024))
done

# The second half of the day has nothing over a tenth more than the first.
most() { printf '%s\n' "$@" | sort -n | tail -1; }
half=$((hours / 2)) wrong=0
for what in sizes memory; do
	declare -n of=$what
	first=$(most "${of[@]:0:half}") second=$(most "${of[@]:half}")
	((second <= first + first / 10)) || {
		echo "day: $what still grow: $first KiB in the first half, $second in the second" >&2
		wrong=1
	}
done
kill "$process"
wait "$process"
echo "after an orderly end: $(($(kib) / 1024)) MiB"
exit "$wrong"
