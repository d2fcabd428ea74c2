#!/usr/bin/env bash
# `make fleet-demo`: runs two examples at once on a fleet while workers are killed
# with -9 every few seconds. deploy/fleet.sh runs this script and names the fleet.
#
#   deploy/fleet.sh FOLDER examples/fleet-demo.sh [REPOSITORY…]
set -euo pipefail
cd "$(dirname "$0")/.."

fleet=${FLEET_FOLDER:?run this script with deploy/fleet.sh}
folder=$fleet/demo

# Kills a random worker at intervals. The fleet restarts it.
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
