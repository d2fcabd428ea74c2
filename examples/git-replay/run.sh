#!/usr/bin/env bash
# The git-replay example against a Drumline that runs: submits every commit of
# some repositories' main lines, waits, and compares the trees.
#
#   DRUMLINE_SERVER=http://127.0.0.1:8080 examples/git-replay/run.sh FOLDER [REPOSITORY…]
#
# Without repositories, and beside those that are named, it makes three sample
# ones, of COMMITS commits each (200). `drumline` and `drumline-example-git-replay` must be on the PATH, here
# and for the worker, which needs the handler of handlers.toml.
set -euo pipefail

folder=${1:?which folder may be filled?}
shift
mkdir -p "$folder"

# Copies: somebody may commit to a repository while it is being replayed.
repositories=()
for repository in "$@"; do
	original=$folder/originals/${#repositories[@]}/$(basename "$(realpath "$repository")")
	git clone --quiet --bare "$repository" "$original"
	repositories+=("$original")
done
mapfile -t samples < <(drumline-example-git-replay make-repositories --commits "${COMMITS:-200}" \
	"$folder/samples")
repositories+=("${samples[@]}")
drumline-example-git-replay operations --to "$folder/replicas" "${repositories[@]}" \
	>"$folder/operations.jsonl"
drumline submit --file "$folder/operations.jsonl" --wait --timeout 30m >"$folder/submitted"
drumline-example-git-replay verify --to "$folder/replicas" "${repositories[@]}"
