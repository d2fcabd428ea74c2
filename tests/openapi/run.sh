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

# shellcheck source=examples/processes.sh
source "$here/../../examples/processes.sh"

seconds=${2:-120}
fill "${1-}" "the comparison of the API with its description"
install_python "$here/requirements.txt"
start_ready dev drumline dev --listen 127.0.0.1:0
# It leaves files where it runs.
cd "$folder"

# Events have no end, so that no answer to them could be looked at.
# Of the checks those that a description can be held to; what a client may not
# send is said in words where JSON Schema cannot say it.
"$folder/venv/bin/schemathesis" run "$DRUMLINE_SERVER/openapi.json" \
	--exclude-path /v1/events \
	--checks not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance \
	--max-time "$seconds" --max-failures 20 --continue-on-failure --no-color \
	--generation-database none --request-timeout 70
