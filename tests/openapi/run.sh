#!/usr/bin/env bash
# `make fuzz-api`: tests the HTTP API against its own description. Schemathesis
# generates valid and invalid requests from /openapi.json, and reports answers
# that are not described, and internal errors.
#
#   tests/openapi/run.sh FOLDER [SECONDS]
#
# FOLDER gets the logs and a Python environment, which pip fetches. `drumline` and
# `python3` must be on the PATH. The service is `drumline dev`: nothing is kept.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

folder=${1:?usage: tests/openapi/run.sh FOLDER [SECONDS]}
seconds=${2:-120}
rm -rf "$folder"
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

python3 -m venv "$folder/venv" || {
	echo "python3 cannot make an environment; on Debian or Ubuntu: apt-get install python3-venv" >&2
	exit 1
}
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-input \
	--requirement "$here/requirements.txt" >"$folder/pip.log" 2>&1 || {
	cat "$folder/pip.log" >&2
	echo "pip cannot install schemathesis: this needs a reachable package index" >&2
	exit 1
}

drumline dev --listen 127.0.0.1:0 >"$folder/dev.out" 2>"$folder/dev.log" &
dev=$!
finish() {
	local code=$?
	trap - EXIT
	kill -TERM "$dev" 2>/dev/null || true
	wait "$dev" || true
	if [[ $code != 0 ]]; then
		echo "the API and its description DISAGREE, or the run has failed; the service's log is $folder/dev.log" >&2
	fi
	exit "$code"
}
trap finish EXIT
trap 'exit 130' INT TERM
until grep -q '^ready ' "$folder/dev.out"; do
	kill -0 "$dev" 2>/dev/null || {
		echo "drumline dev has ended before it was ready" >&2
		exit 1
	}
	sleep 0.05
done
server=$(sed -n 's/^ready //p' "$folder/dev.out")
# Schemathesis leaves files in the current folder.
cd "$folder"

# /v1/events never ends, so its answer cannot be checked. The checks are those
# that a description can satisfy: where JSON Schema cannot express what a client
# may not send, the description says it in words.
"$folder/venv/bin/schemathesis" run "$server/openapi.json" \
	--exclude-path /v1/events \
	--checks not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance \
	--max-time "$seconds" --max-failures 20 --continue-on-failure --no-color \
	--generation-database none --request-timeout 70
