#!/usr/bin/env bash
# The producer example against a queue manager and a worker of its own, on the
# Redis and RabbitMQ that the environment names. Stops what it started, and
# fails loudly.
#
#   drumline-test-servers -- examples/producer-python/run.sh FOLDER
#
# FOLDER takes logs and a Python environment with pika, which pip fetches.
# `drumline` and `python3` must be on the PATH.
set -euo pipefail
example=$(cd "$(dirname "$0")" && pwd)

folder=${1:?which folder may be filled?}
: "${DRUMLINE_REDIS_URL:?which Redis?}" "${DRUMLINE_AMQP_URL:?which RabbitMQ?}"
export DRUMLINE_NAMESPACE=producer-example
rm -rf "$folder"
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

python3 -m venv "$folder/venv" || {
	echo "python3 cannot make an environment; on Debian or Ubuntu: apt-get install python3-venv" >&2
	exit 1
}
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-input \
	--requirement "$example/requirements.txt" >"$folder/pip.log" 2>&1 || {
	cat "$folder/pip.log" >&2
	echo "pip cannot install pika: the example needs a package index that can be reached" >&2
	exit 1
}

cat >"$folder/handlers.toml" <<-TOML
	[[handler]]
	message = "Greet"
	command = ["python3", "$example/greet.py"]
TOML

started=()
finish() {
	local code=$?
	trap - EXIT
	for process in "${started[@]}"; do kill -TERM "$process" 2>/dev/null || true; done
	for process in "${started[@]}"; do wait "$process" || true; done
	if [[ $code != 0 ]]; then
		echo "the producer example FAILED; its logs are in $folder" >&2
		tail -n 20 "$folder/manager.log" "$folder/worker.log" >&2 || true
	fi
	exit "$code"
}
trap finish EXIT
trap 'exit 130' INT TERM

# start NAME COMMAND…: in the background, until it says that it is ready.
start() {
	local name=$1
	shift
	"$@" >"$folder/$name.out" 2>"$folder/$name.log" &
	local process=$!
	started+=("$process")
	until grep -q '^ready' "$folder/$name.out"; do
		kill -0 "$process" 2>/dev/null || {
			echo "the $name has ended before it was ready" >&2
			exit 1
		}
		sleep 0.05
	done
}

touch "$folder/worker.log"
start manager drumline queue-manager --listen 127.0.0.1:0
DRUMLINE_SERVER=$(sed -n 's/^ready //p' "$folder/manager.out")
export DRUMLINE_SERVER
start worker drumline worker --handlers "$folder/handlers.toml"

"$folder/venv/bin/python" "$example/producer.py"
