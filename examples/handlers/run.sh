#!/usr/bin/env bash
# Holds the handlers of this folder to the contract of docs/handlers.md. Needs bash,
# Python, and no server. `drumline` is in the PATH: `make test` puts it there.
set -euo pipefail
cd "$(dirname "$0")"

for handler in ./pages.sh ./pages.py; do
	echo "== $handler"
	drumline check-handler --stop-after 500ms --grace 2s -- "$handler"
done

coproc SERVICE { exec ./service.py 0; }
trap 'kill "$SERVICE_PID"' EXIT
read -r port <&"${SERVICE[0]}"
echo "== ./service.py"
drumline check-handler --stop-after 500ms --grace 5s --http "http://127.0.0.1:$port/"

# One that breaks the contract is found: it ignores the request to stop.
echo "== a handler that ignores SIGTERM"
if drumline check-handler --stop-after 200ms --grace 500ms -- bash -c 'trap "" TERM; sleep 2'; then
	echo "run.sh: it was not found" >&2
	exit 1
fi
