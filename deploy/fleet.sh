#!/usr/bin/env bash
# Starts a whole fleet on this machine: a private RabbitMQ and Redis on free
# ports, two queue managers, and four workers with the handlers of the examples.
#
#   deploy/fleet.sh FOLDER             runs until Ctrl-C
#   deploy/fleet.sh FOLDER COMMAND…    runs the command on the fleet, and exits with its code
#
# FOLDER gets the logs and process ids. The script restarts a worker or manager
# that ends, as systemd or an orchestrator would. The command finds the fleet in
# DRUMLINE_SERVER and FLEET_FOLDER. So does a shell that sources FOLDER/env.
#
# Environment: FLEET_PORT (8080; the second manager gets the next port, 0 takes
# free ports), FLEET_MANAGERS (2), FLEET_WORKERS (4), DRUMLINE_LEASE (3s).
# `drumline`, `drumline-test-servers` and the examples must be on the PATH.
set -euo pipefail

folder=${1:?usage: deploy/fleet.sh FOLDER [COMMAND…]}
shift
rm -rf "$folder"
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
cd "$(dirname "$0")/.."

cat examples/*/handlers.toml >"$folder/handlers.toml"
export DRUMLINE_HANDLERS=$folder/handlers.toml
export DRUMLINE_LEASE=${DRUMLINE_LEASE:-3s}
port=${FLEET_PORT:-8080}
keepers=()
servers=

# Each job gets a process group of its own. So Ctrl-C reaches this script alone,
# which stops the other processes in the right order.
set -m

finish() {
	local code=$?
	trap '' INT TERM
	trap - EXIT
	# Without the keepers no process is restarted. Each keeper ends its process.
	for keeper in "${keepers[@]}"; do kill -TERM "$keeper" 2>/dev/null || true; done
	for keeper in "${keepers[@]}"; do wait "$keeper" 2>/dev/null || true; done
	# The servers are stopped last, because processes that drain need them.
	if [[ -n $servers ]]; then
		kill -TERM "$servers" 2>/dev/null || true
		wait "$servers" 2>/dev/null || true
	fi
	exit "$code"
}
trap finish EXIT
trap 'exit 130' INT TERM

# keep NAME COMMAND…: runs a command, and restarts it whenever it ends.
keep() {
	local name=$1
	shift
	(
		set +m
		child=
		trap 'kill -TERM "$child" 2>/dev/null; wait "$child"; exit 0' TERM
		while true; do
			"$@" >>"$folder/$name.out" 2>>"$folder/$name.log" &
			child=$!
			echo "$child" >"$folder/$name.new" && mv "$folder/$name.new" "$folder/$name.pid"
			code=0
			wait "$child" || code=$?
			echo "$name ended with $code" >>"$folder/$name.log"
			# 64 and 65: the settings or handlers are wrong, and a restart does not help.
			if [[ $code == 6[45] ]]; then
				touch "$folder/$name.hopeless"
				exit
			fi
			# A process that cannot start must not keep a core busy with restarts.
			sleep 0.2
		done
	) 2>>"$folder/$name.log" &
	keepers+=($!)
}

# await NAME: waits until a process reports that it is ready.
await() {
	local tries=0
	until grep -qs '^ready' "$folder/$1.out"; do
		if [[ -e $folder/$1.hopeless ]] || ((++tries > 600)); then
			echo "$1 did not get ready:" >&2
			tail -n 20 "$folder/$1.log" >&2
			exit 1
		fi
		sleep 0.1
	done
}

# ready URL: succeeds if /readyz answers 200.
ready() {
	local host=${1#http://} status
	exec 3<>"/dev/tcp/${host%:*}/${host#*:}" || return
	printf 'GET /readyz HTTP/1.0\r\nHost: %s\r\n\r\n' "$host" >&3
	read -r status <&3
	exec 3>&-
	[[ $status == *" 200 "* ]]
}

drumline-test-servers --write "$folder/servers.env" >"$folder/servers.log" 2>&1 &
servers=$!
until [[ -e $folder/servers.env ]]; do
	kill -0 "$servers" 2>/dev/null || {
		cat "$folder/servers.log" >&2
		exit 1
	}
	sleep 0.1
done
set -a
# shellcheck disable=SC1091 # written at run time
source "$folder/servers.env"
set +a

urls=()
for number in $(seq "${FLEET_MANAGERS:-2}"); do
	name=manager-$number
	keep "$name" drumline queue-manager --listen "127.0.0.1:$((port == 0 ? 0 : port + number - 1))"
	await "$name"
	url=$(sed -n 's/^ready //p;T;q' "$folder/$name.out")
	ready "$url" || {
		echo "$name says that it is ready, but $url/readyz does not" >&2
		exit 1
	}
	urls+=("$url")
done
for number in $(seq "${FLEET_WORKERS:-4}"); do
	keep "worker-$number" drumline worker --host-id "worker-$number"
done
for number in $(seq "${FLEET_WORKERS:-4}"); do
	await "worker-$number"
done

export DRUMLINE_SERVER=${urls[0]} FLEET_FOLDER=$folder
{
	cat "$folder/servers.env"
	echo "DRUMLINE_SERVER=$DRUMLINE_SERVER"
	echo "FLEET_FOLDER=$FLEET_FOLDER"
} >"$folder/env"

echo "queue managers  ${urls[*]}"
echo "workers         ${FLEET_WORKERS:-4}, logs in $folder"
sed -n 's/^DRUMLINE_REDIS_URL=/Redis           /p; s/^DRUMLINE_AMQP_URL=/RabbitMQ        /p' "$folder/servers.env"

if (($#)); then
	set +m
	"$@"
else
	echo
	echo "In another terminal:  set -a; source $folder/env; drumline list"
	echo "Ctrl-C stops all of it."
	# Waits for a signal, which interrupts `wait` at once.
	wait "$servers"
fi
