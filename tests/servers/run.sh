#!/usr/bin/env bash
# `make test-newer`: runs the tests of the adapters, and some of whole fleets, on the
# servers that newer.sh unpacks.
#
#   tests/servers/run.sh FOLDER [FILTER]
#
# FILTER is an expression of nextest; the default is `tests` below. The programs and
# cargo-nextest must be on the PATH, and the tests are built. A set-up with failures does not
# keep the next one from running.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

for tool in drumline drumline-test-servers cargo-nextest; do
	command -v "$tool" >/dev/null || {
		echo "test-newer: $tool is missing; \`make test-newer\` installs and builds what it needs" >&2
		exit 1
	}
done
"$here/newer.sh" "$1"
folder=$(cd "$1" && pwd -P)
cd "$here/../.."

# The contract of each adapter, and fleets whose processes and servers die.
tests='package(drumline-backend-redis) or package(drumline-backend-rabbitmq) or package(drumline-test-servers)
	or (package(drumline-tests) and test(/^(storm|faults|cluster|drill|bypass)::/))'
filter=${2:-$tests}

# with PATH COMMAND…: private servers of that PATH around a command.
with() {
	local path=$1
	shift
	PATH=$path:$PATH DRUMLINE_TEST_RABBITMQ_SCRIPTS=$folder/rabbitmq-bin drumline-test-servers "$@"
}

# set_up NAME PATH WORDS…: one set-up. `drumline doctor` must find no fault, and say the words.
results=() wrong=0
set_up() {
	local name=$1 path=$2 told word result=passed
	shift 2
	echo "== $name"
	told=$(with "$path" -- drumline doctor) || result='drumline doctor finds a fault'
	echo "$told"
	for word in "$@"; do
		[[ $told == *"$word"* ]] || result="drumline doctor does not say $word"
	done
	with "$path" --redis-cluster -- env -u DRUMLINE_REDIS_URL -u DRUMLINE_AMQP_URL \
		cargo nextest run --locked --workspace --tests -E "$filter" || result='tests have failed'
	[[ $result == passed ]] || wrong=1
	results+=("$name: $result")
}
set_up 'Redis 8 and RabbitMQ 4' "$folder/bin" 'Redis 8.' 'RabbitMQ 4.'
set_up 'Valkey 8 and RabbitMQ 4' "$folder/valkey-bin:$folder/bin" 'Valkey 8.' 'RabbitMQ 4.'

printf '%s\n' '' "${results[@]}"
exit "$wrong"
