#!/usr/bin/env bash
# `make demo`: runs the solutions example on its own `drumline dev`, with nothing
# to install. Stops the processes that it started, and shows the log on failure.
#
#   examples/demo.sh FOLDER
set -euo pipefail
cd "$(dirname "$0")/.."

folder=${1:?usage: examples/demo.sh FOLDER}
rm -rf "$folder"
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

drumline dev --listen 127.0.0.1:0 --handlers examples/solutions/handlers.toml \
	>"$folder/dev.out" 2>"$folder/dev.log" &
dev=$!
finish() {
	local code=$?
	trap - EXIT
	kill -TERM "$dev" 2>/dev/null || true
	wait "$dev" || true
	if [[ $code != 0 ]]; then
		echo "the demo FAILED; the end of $folder/dev.log:" >&2
		tail -n 20 "$folder/dev.log" >&2
	fi
	exit "$code"
}
trap finish EXIT
trap 'exit 130' INT TERM

# `drumline dev` prints "ready URL" when it takes requests.
until grep -q '^ready ' "$folder/dev.out"; do
	kill -0 "$dev" 2>/dev/null || {
		echo "drumline dev has ended before it was ready" >&2
		exit 1
	}
	sleep 0.05
done
server=$(sed -n 's/^ready //p' "$folder/dev.out")
export DRUMLINE_SERVER=$server
echo "drumline dev is ready at $server"

examples/solutions/run.sh "$folder"

drumline list --limit 0
echo "all imported, in order: see $folder"
