#!/usr/bin/env bash
# Works page after page. Saves a checkpoint behind each, stops between two of them
# when it is asked to, and goes on from the checkpoint in its next run.
set -euo pipefail

pages=${PAGES:-20}
page=${DRUMLINE_CHECKPOINT:-0}
page=${page:-0}
stopping=
trap 'stopping=1' TERM

while [ "$page" -lt "$pages" ] && [ -z "$stopping" ]; do
	# One page of work. The shell takes the signal at once while it waits.
	sleep 0.1 &
	wait $! || true
	page=$((page + 1))
	echo "{\"progress\": $((page * 100 / pages)), \"checkpoint\": $page}"
done

# Not done: no last line that says so. The exit code of a stopped command is free.
[ "$page" -lt "$pages" ] && exit 0
echo "{\"result\": {\"pages\": $pages}}"
