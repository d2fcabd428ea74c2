#!/usr/bin/env bash
# Gives each part of Drumline a user in RabbitMQ that may do what the part needs and
# nothing else. Run it on a node, as a user that may run rabbitmqctl. It may be
# repeated: it sets the passwords and permissions again.
#
#   deploy/rabbitmq-users.sh FOLDER [VHOST]
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

folder=${1:?usage: deploy/rabbitmq-users.sh FOLDER [VHOST]}
vhost=${2:-/drumline}
name=${DRUMLINE_NAMESPACE:-drumline}
name=${name//./\\.}

# user USER CONFIGURE WRITE READ: patterns of the names of queues and exchanges.
user() {
	local user=$1
	shift
	if [[ ! -s $folder/$user ]]; then
		echo "skipped  $user: no file $folder/$user"
		return
	fi
	# The password comes over standard input: arguments can be seen by every process.
	if grep -q "^$user"$'\t' <<<"$users"; then
		rabbitmqctl --quiet change_password "$user" <"$folder/$user" >/dev/null
	else
		rabbitmqctl --quiet add_user "$user" <"$folder/$user" >/dev/null
	fi
	rabbitmqctl --quiet set_permissions --vhost "$vhost" "$user" "$@"
	echo "set      $user"
}

users=$(rabbitmqctl --quiet list_users --no-table-headers)
vhosts=$(rabbitmqctl --quiet list_vhosts --no-table-headers)
if ! grep -qxF "$vhost" <<<"$vhosts"; then
	rabbitmqctl --quiet add_vhost "$vhost"
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
