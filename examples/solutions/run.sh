#!/usr/bin/env bash
# Runs the solutions example on a running Drumline: makes packages, submits an
# import for each, waits, and compares the result with the packages.
#
#   DRUMLINE_SERVER=http://127.0.0.1:8080 examples/solutions/run.sh FOLDER
#
# `drumline` and `drumline-example-solutions` must be on the PATH, here and for
# the worker, which needs the handler of handlers.toml.
set -euo pipefail

folder=${1:?usage: examples/solutions/run.sh FOLDER}
mkdir -p "$folder"

drumline-example-solutions make-packages "$folder/packages"
drumline-example-solutions operations "$folder/packages" --target "$folder/target" \
	>"$folder/operations.jsonl"
drumline submit --file "$folder/operations.jsonl" --wait --timeout 3m >"$folder/submitted"
drumline-example-solutions verify "$folder/target" "$folder/packages"
