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

# shellcheck source=examples/processes.sh
source "$example/../processes.sh"

fill "${1-}" "the producer example"
: "${DRUMLINE_REDIS_URL:?which Redis?}" "${DRUMLINE_AMQP_URL:?which RabbitMQ?}"
export DRUMLINE_NAMESPACE=producer-example
install_python "$example/requirements.txt"

cat >"$folder/handlers.toml" <<-TOML
	[[handler]]
	message = "Greet"
	command = ["python3", "$example/greet.py"]
TOML

start_ready manager drumline queue-manager --listen 127.0.0.1:0
start_ready worker drumline worker --handlers "$folder/handlers.toml"

"$folder/venv/bin/python" "$example/producer.py"
