#!/usr/bin/env bash
# `make fleet-demo`: both examples at once on a fleet (deploy/fleet.sh runs this
# and says where the fleet is), while a worker is killed with -9 now and then.
#
#   deploy/fleet.sh FOLDER examples/fleet-demo.sh [REPOSITORY…]
set -euo pipefail
cd "$(dirname "$0")/.."

fleet=${FLEET_FOLDER:?deploy/fleet.sh says where its processes are}
folder=$fleet/demo

# Kills a worker that is drawn by lot; the fleet starts another in its place.
kill_now_and_then() {
	local victims victim
	while sleep "${KILL_EVERY:-4}"; do
		victims=("$fleet"/worker-*.pid)
		victim=${victims[RANDOM % ${#victims[@]}]}
		echo "kill -9 of $(basename "$victim" .pid)"
		kill -KILL "$(<"$victim")" 2>/dev/null || true
	done
}
kill_now_and_then &
killer=$!
solutions=
trap 'kill "$killer" $solutions 2>/dev/null || true' EXIT
trap 'exit 130' INT TERM

examples/solutions/run.sh "$folder/solutions" &
solutions=$!
examples/git-replay/run.sh "$folder/git-replay" "$@"
wait "$solutions"

drumline list --limit 20
echo "equal trees and complete solutions, in spite of the kills: see $folder"
