#!/usr/bin/env bash
# Gives each part of Drumline a user in RabbitMQ that may do what the part needs and
# nothing else.
#
#   deploy/rabbitmq-users.sh FOLDER [VHOST]                 runs rabbitmqctl, on a node
#   deploy/rabbitmq-users.sh --definitions FOLDER [VHOST]   prints a file for load_definitions
#
# The first may be repeated: it sets the passwords and permissions again.
#
# FOLDER has a file per user with the password: drumline-manager, drumline-worker,
# and drumline-producer if there are producers. VHOST is /drumline if none is named,
# and is created if it is missing. The URL of a manager is then
# amqp://drumline-manager:PASSWORD@HOST:5672/%2fdrumline
#
# Environment: DRUMLINE_NAMESPACE (drumline), the --namespace of the services.
#
# A user that may publish to the default exchange (amq.default) may publish to every
# queue of its virtual host, so Drumline has a virtual host of its own. A producer may
# not: it may publish requests, and no offers.
set -euo pipefail

definitions=
if [[ ${1-} == --definitions ]]; then
	definitions=yes
	shift
fi
folder=${1:?usage: deploy/rabbitmq-users.sh [--definitions] FOLDER [VHOST]}
vhost=${2:-/drumline}
name=${DRUMLINE_NAMESPACE:-drumline}
name=${name//./\\.}

# hash PASSWORD: four random bytes, then SHA-256 of them and the password.
hash() {
	local salt digest
	salt=$(od -An -N4 -tx1 /dev/urandom | tr -d ' ')
	digest=$({ bytes "$salt"; printf %s "$1"; } | sha256sum | cut -d ' ' -f 1)
	bytes "$salt$digest" | base64 -w 0
}

# bytes HEX…: writes the bytes.
bytes() {
	# shellcheck disable=SC2001,SC2059 # the format is the bytes
	printf "$(sed 's/../\\x&/g' <<<"$1")"
}

# user USER CONFIGURE WRITE READ: patterns of the names of queues and exchanges.
user() {
	local user=$1 pattern patterns=()
	shift
	if [[ ! -s $folder/$user ]]; then
		echo "skipped  $user: no file $folder/$user" >&2
	elif [[ -n $definitions ]]; then
		for pattern in "$@"; do patterns+=("${pattern//\\/\\\\}"); done
		users+=("{\"name\": \"$user\", \"password_hash\": \"$(hash "$(<"$folder/$user")")\", \"hashing_algorithm\": \"rabbit_password_hashing_sha256\", \"tags\": []}")
		permissions+=("{\"user\": \"$user\", \"vhost\": \"$vhost\", \"configure\": \"${patterns[0]}\", \"write\": \"${patterns[1]}\", \"read\": \"${patterns[2]}\"}")
	else
		# The password comes over standard input: arguments can be seen by every process.
		if grep -q "^$user"$'\t' <<<"$existing"; then
			rabbitmqctl --quiet change_password "$user" <"$folder/$user" >/dev/null
		else
			rabbitmqctl --quiet add_user "$user" <"$folder/$user" >/dev/null
		fi
		rabbitmqctl --quiet set_permissions --vhost "$vhost" "$user" "$@"
		echo "set      $user"
	fi
}

# list LINE…: as the elements of a JSON list.
list() {
	local line first=yes
	for line in "$@"; do
		[[ -n $first ]] || printf ',\n'
		first=
		printf '    %s' "$line"
	done
	echo
}

users=() permissions=()
if [[ -z $definitions ]]; then
	existing=$(rabbitmqctl --quiet list_users --no-table-headers)
	vhosts=$(rabbitmqctl --quiet list_vhosts --no-table-headers)
	grep -qxF "$vhost" <<<"$vhosts" || rabbitmqctl --quiet add_vhost "$vhost"
fi

# Configure: declares its queues again when RabbitMQ has lost them, and replaces one
# that does not work. Write: the default exchange, and the binding of requests.in.
# Read: requests, and their exchange for the binding. Operations are read by workers.
# `drumline doctor` runs as this user, too: it declares a queue of its own and deletes it.
user drumline-manager \
	"^$name\.((work|lane|spare|decoy|doctor)\..+|requests(\.in|\.quarantine)?|quarantine|repair)\$" \
	"^(amq\.default|$name\.requests\.in)\$" \
	"^$name\.requests(\.in)?\$"

user drumline-worker \
	"^$name\.((work|lane|spare|decoy)\..+|quarantine|repair)\$" \
	"^amq\.default\$" \
	"^$name\.(work|lane|spare)\..+\$"

# Its queues for answers have names that RabbitMQ makes.
user drumline-producer '^amq\.gen-.*$' "^$name\.requests\$" '^amq\.gen-.*$'

if [[ -n $definitions ]]; then
	echo '{'
	echo "  \"vhosts\": [{\"name\": \"$vhost\"}],"
	printf '  "users": [\n'
	list "${users[@]}"
	printf '  ],\n  "permissions": [\n'
	list "${permissions[@]}"
	printf '  ]\n}\n'
fi
