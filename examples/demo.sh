#!/usr/bin/env bash
# `make demo`: runs the solutions example on its own `drumline dev`, with nothing
# to install. Stops the processes that it started, and shows the log on failure.
#
#   examples/demo.sh FOLDER
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=examples/processes.sh
source examples/processes.sh

fill "${1-}" "the demo"
start_ready dev drumline dev --listen 127.0.0.1:0 --handlers examples/solutions/handlers.toml
echo "drumline dev is ready at $DRUMLINE_SERVER"

examples/solutions/run.sh "$folder"

drumline list --limit 0
echo "all imported, in order: see $folder"
