#!/usr/bin/env bash
# Makes the secrets that compose.yaml gives to its containers, in the folder `secrets`
# beside it: passwords, and the files made of them. Existing passwords stay.
# To change one, delete its file and run the script again, then recreate the containers.
set -euo pipefail
cd "$(dirname "$0")"

# Only you may enter the folder. The files in it are readable, because Compose mounts
# each as it is, and the containers run as users of their own.
mkdir -p secrets
chmod 700 secrets
umask 022
mkdir -p secrets/passwords
for user in default drumline-manager drumline-worker drumline-producer; do
	file=secrets/passwords/$user
	[[ -s $file ]] || od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"$file"
done

../redis-users.sh secrets/passwords >secrets/users.acl
../rabbitmq-users.sh --definitions secrets/passwords >secrets/definitions.json
for part in manager worker; do
	password=$(<"secrets/passwords/drumline-$part")
	cat >"secrets/$part.toml" <<-TOML
		redis-url = "redis://drumline-$part:$password@redis:6379"
		amqp-url = "amqp://drumline-$part:$password@rabbitmq:5672/%2fdrumline"
	TOML
done
echo "secrets are in $PWD/secrets"
