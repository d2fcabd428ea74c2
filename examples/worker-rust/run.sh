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

# shellcheck source=examples/processes.sh
source "$(dirname "$0")/../processes.sh"

fill "${1-}" "the worker example"
: "${DRUMLINE_REDIS_URL:?which Redis?}" "${DRUMLINE_AMQP_URL:?which RabbitMQ?}"

# One file for the queue manager and for the worker.
export DRUMLINE_CONFIG=$folder/drumline.toml
cat >"$DRUMLINE_CONFIG" <<-TOML
	namespace = "worker-example"
	listen = "127.0.0.1:0"
	[worker]
	host-id = "greeter"
	drain-timeout = "20s"
TOML

# is ID PATTERN: the operation, as JSON, matches.
is() {
	drumline get "$1" --output json | grep -q "$2"
}

# A wrong setting is reported, and nothing is started.
if DRUMLINE_LEASE=soon drumline-example-worker-rust 2>"$folder/wrong.log"; then
	fail "the worker runs with a wrong lease"
fi
grep -q 'DRUMLINE_LEASE: invalid value "soon"' "$folder/wrong.log" || fail "$(<"$folder/wrong.log")"

start worker drumline-example-worker-rust
worker=$process
start_ready manager drumline queue-manager
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
