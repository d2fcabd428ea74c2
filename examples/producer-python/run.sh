#!/usr/bin/env bash
# Runs the producer example with its own queue manager and worker, on the Redis
# and RabbitMQ that the environment names. Stops the processes that it started,
# and shows the logs on failure.
#
#   drumline-test-servers -- examples/producer-python/run.sh FOLDER
#
# FOLDER gets the logs and a Python environment with pika, which pip fetches.
# `drumline` and `python3` must be on the PATH.
set -euo pipefail
example=$(cd "$(dirname "$0")" && pwd)

folder=${1:?usage: examples/producer-python/run.sh FOLDER}
: "${DRUMLINE_REDIS_URL:?the URL of Redis is needed}" "${DRUMLINE_AMQP_URL:?the URL of RabbitMQ is needed}"
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
	echo "pip cannot install pika: the example needs a reachable package index" >&2
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

# start NAME COMMAND…: starts it in the background, and waits until it is ready.
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
