#!/usr/bin/env bash
# Runs the worker example with its own queue manager, on the Redis and RabbitMQ
# that the environment names. Stops the processes that it started, and shows the
# logs on failure.
#
#   drumline-test-servers -- examples/worker-rust/run.sh FOLDER
#
# FOLDER gets the logs and settings. `drumline` and `drumline-example-worker-rust`
# must be on the PATH.
set -euo pipefail

folder=${1:?usage: examples/worker-rust/run.sh FOLDER}
: "${DRUMLINE_REDIS_URL:?the URL of Redis is needed}" "${DRUMLINE_AMQP_URL:?the URL of RabbitMQ is needed}"
rm -rf "$folder"
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

# One file for the queue manager and for the worker.
export DRUMLINE_CONFIG=$folder/drumline.toml
cat >"$DRUMLINE_CONFIG" <<-TOML
	namespace = "worker-example"
	listen = "127.0.0.1:0"
	[worker]
	host-id = "greeter"
	drain-timeout = "20s"
TOML

started=()
finish() {
	local code=$?
	trap - EXIT
	for process in "${started[@]}"; do kill -TERM "$process" 2>/dev/null || true; done
	for process in "${started[@]}"; do wait "$process" || true; done
	if [[ $code != 0 ]]; then
		echo "the worker example FAILED; its logs are in $folder" >&2
		tail -n 20 "$folder/manager.log" "$folder/worker.log" >&2 || true
	fi
	exit "$code"
}
trap finish EXIT
trap 'exit 130' INT TERM

# fail TEXT…: ends the run.
fail() {
	echo "$*" >&2
	exit 1
}

# await FILE PATTERN PROCESS: waits for a matching line in FILE, while PROCESS runs.
await() {
	until grep -q "$2" "$1"; do
		kill -0 "$3" 2>/dev/null || fail "process $3 has ended before it wrote '$2' to $1"
		sleep 0.05
	done
}

# is ID PATTERN: succeeds if the operation, as JSON, matches.
is() {
	drumline get "$1" --output json | grep -q "$2"
}

# A wrong setting is reported, and nothing is started.
if DRUMLINE_LEASE=soon drumline-example-worker-rust 2>"$folder/wrong.log"; then
	fail "the worker runs with a wrong lease"
fi
grep -q 'DRUMLINE_LEASE: invalid value "soon"' "$folder/wrong.log" || fail "$(<"$folder/wrong.log")"

touch "$folder"/{manager.out,worker.log}
drumline queue-manager >"$folder/manager.out" 2>"$folder/manager.log" &
manager=$!
started+=("$manager")
drumline-example-worker-rust 2>"$folder/worker.log" &
worker=$!
started+=("$worker")
await "$folder/manager.out" '^ready' "$manager"
DRUMLINE_SERVER=$(sed -n 's/^ready //p' "$folder/manager.out")
export DRUMLINE_SERVER
await "$folder/worker.log" ' ready$' "$worker"

for name in Ada Grace; do
	drumline submit Greet --data "{\"name\": \"$name\", \"seconds\": 0}" --wait --output json \
		>"$folder/$name.json" || fail "the operation of $name did not succeed"
	grep -q "\"hello $name\"" "$folder/$name.json" || fail "no greeting: $(<"$folder/$name.json")"
	grep -q '"greeter"' "$folder/$name.json" || fail "another worker: $(<"$folder/$name.json")"
done

# A worker that drains lets its running handlers end, and starts nothing new.
running=$(drumline submit Greet --data '{"name": "Edsger", "seconds": 3}' --output json |
	sed -n 's/.*"id": *"\([^"]*\)".*/\1/p')
until is "$running" '"InProgress"'; do
	kill -0 "$worker" 2>/dev/null || fail "the worker has ended by itself"
	sleep 0.05
done
kill -TERM "$worker"
await "$folder/worker.log" 'draining' "$worker"
late=$(drumline submit Greet --data '{"name": "Late", "seconds": 0}' --output json |
	sed -n 's/.*"id": *"\([^"]*\)".*/\1/p')
wait "$worker" || fail "the worker has ended with code $? when it was drained"
is "$running" '"hello Edsger"' || fail "a running operation did not end: $(drumline get "$running")"
! is "$late" '"Succeeded"' || fail "a worker that drains has started an operation"

echo "worker-rust: as it should be"
