#!/usr/bin/env bash
# Prints an ACL file for Redis, in which each part of Drumline has a user that may do
# what the part needs and nothing else.
#
#   deploy/redis-users.sh FOLDER > users.acl
#
# FOLDER has a file per user with the password: default (the administrator),
# drumline-manager and drumline-worker. The output has hashes only. Redis reads it at
# its start with `aclfile /etc/redis/users.acl` in redis.conf, and again after
# `ACL LOAD`. The URL of a manager is then redis://drumline-manager:PASSWORD@HOST:6379
#
# Environment: DRUMLINE_NAMESPACE (drumline), the --namespace of the services.
#
# Do not shorten the lists of commands by trial. A script runs with the rights of its
# caller, and Redis does not undo what a script has done before a command is refused.
# For the same reason run this script of a new release before its processes start.
# .ci/deploy compares the lists with the sources.
set -euo pipefail

folder=${1:?usage: deploy/redis-users.sh FOLDER}
name=${DRUMLINE_NAMESPACE:-drumline}

# user USER RULES…
user() {
	local user=$1 password
	shift
	password=$(cat "$folder/$user")
	[[ -n $password ]] || {
		echo "$folder/$user is empty" >&2
		exit 1
	}
	printf 'user %s on #%s sanitize-payload resetchannels %s\n' \
		"$user" "$(printf %s "$password" | sha256sum | cut -d ' ' -f 1)" "$*"
}

# The connection, and the settings that are checked at the start.
connection='+ping +select +info +config|get +time +script|load +script|exists +evalsha +wait +cluster|info +cluster|slots'
# The commands of the scripts, and of the calls that need no script.
data='+del +exists +rename +expire +pexpire +pexpireat +scan'
data+=' +get +set +mget +strlen +getrange +setrange +incrby +lindex +lrange +rpush +lset'
data+=' +hget +hmget +hgetall +hexists +hlen +hkeys +hset +hdel +hincrby +hscan +sadd +srem +smembers'
data+=' +zadd +zrem +zscan +zcard +zscore +zrank +zlexcount +zrange +zrangebylex +zrangebyscore'
data+=' +zrevrange +zrevrangebylex +zremrangebyrank +zremrangebyscore +xadd +xrevrange'
completions="&$name:completions"

user default '~*' '&*' +@all

# `drumline doctor`, `drumline index` and `drumline check` run as this user, too. Without
# `--repair`, `check` writes nothing: docs/runbooks/check.md has a user for that.
user drumline-manager "~$name:*" "$completions" -@all "$connection" "$data" +publish +subscribe +unsubscribe

# A worker decides what it takes, so it can change every operation, and the settings of
# the store are no secret beside that. It has all keys of the namespace: a script that met
# a key it may not touch would stop in the middle.
user drumline-worker "~$name:*" "$completions" -@all "$connection" "$data" +publish
