#!/usr/bin/env bash
# Runs the git-replay example on a running Drumline: submits every commit of the
# main lines of some repositories, waits, and compares the trees.
#
#   DRUMLINE_SERVER=http://127.0.0.1:8080 examples/git-replay/run.sh FOLDER [REPOSITORY…]
#
# With FIRST=N, it replays only the first N commits of each main line. In addition to
# the named repositories it makes three samples, of COMMITS commits each (200). `drumline` and `drumline-example-git-replay` must be on the
# PATH, here and for the worker, which needs the handler of handlers.toml.
set -euo pipefail

folder=${1:?usage: examples/git-replay/run.sh FOLDER [REPOSITORY…]}
shift
mkdir -p "$folder"

# Replays copies, because a repository may get new commits meanwhile.
repositories=()
for repository in "$@"; do
	original=$folder/originals/${#repositories[@]}/$(basename "$(realpath "$repository")")
	git clone --quiet --bare "$repository" "$original"
	if [[ -n ${FIRST:-} ]]; then
		# To the end of the list: git complains of a pipe that ends early.
		last=$(git -C "$original" rev-list --first-parent --reverse HEAD | awk -v first="$FIRST" 'NR <= first { last = $0 } END { print last }')
		git -C "$original" update-ref HEAD "$last"
	fi
	repositories+=("$original")
done
mapfile -t samples < <(drumline-example-git-replay make-repositories --commits "${COMMITS:-200}" \
	"$folder/samples")
repositories+=("${samples[@]}")
drumline-example-git-replay operations --to "$folder/replicas" "${repositories[@]}" \
	>"$folder/operations.jsonl"
drumline submit --file "$folder/operations.jsonl" --wait --timeout 30m >"$folder/submitted"
drumline-example-git-replay verify --to "$folder/replicas" "${repositories[@]}"
