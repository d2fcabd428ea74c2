#!/usr/bin/env bash
# Unpacks the servers of a newer Debian into a folder, once, and writes programs that run
# them beside those of this machine. run.sh uses these.
#
#   tests/servers/newer.sh FOLDER
#
#   FOLDER/bin           Redis 8:    redis-server, redis-cli; RabbitMQ 4.0: epmd, erl
#   FOLDER/valkey-bin    Valkey 8:   redis-server, redis-cli, which are those of Valkey
#   FOLDER/rabbitmq-bin  RabbitMQ 4: rabbitmq-server, rabbitmqctl, rabbitmq-queues, …
#
# Changes nothing outside the folder, starts no server, and needs no root. apt has the
# folder as its world: it finds what the servers need, and checks what it fetches (50 MB)
# against the signature of Debian. Nothing is installed: a newer C library cannot be, beside the
# one of this machine, so each program is started by the loader that came with it.
#
# A folder that is complete is left alone, without the network. Remove it to get the
# packages of today. A run that was interrupted goes on where it was.
set -euo pipefail

release=trixie
servers=(redis-server valkey-server rabbitmq-server)
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
keys=/usr/share/keyrings/debian-archive-keyring.gpg

(($# == 1)) || {
	echo "usage: ${0##*/} FOLDER" >&2
	exit 2
}
mkdir -p "$1"
folder=$(cd "$1" && pwd -P)
case $folder in
*[!A-Za-z0-9/._+-]*)
	echo "$folder: the scripts of Erlang bear letters, digits and / . _ + - only in their path" >&2
	exit 2
	;;
esac
if [[ -e $folder/packages ]]; then
	exit 0
fi
for needed in apt-get dpkg; do
	command -v "$needed" >/dev/null || {
		echo "$needed is missing: this script needs Debian, or a relative of it" >&2
		exit 1
	}
done
[[ -r $keys ]] || {
	echo "$keys is missing: install the package debian-archive-keyring" >&2
	exit 1
}

# A world of its own for apt, in which nothing is installed.
apt=$folder/apt
mkdir -p "$apt"/{etc/apt.conf.d,etc/preferences.d,lists/partial,cache/archives/partial,packages}
: >"$apt/status"
echo "deb [signed-by=$keys] $mirror $release main" >"$apt/etc/sources.list"
echo "deb [signed-by=$keys] $mirror-security $release-security main" >>"$apt/etc/sources.list"
cat >"$apt/apt.conf" <<END
Dir "$apt";
Dir::State "$apt";
Dir::State::status "$apt/status";
Dir::Cache "$apt/cache";
Dir::Etc "$apt/etc";
Dir::Etc::parts "apt.conf.d";
APT::Architecture "$(dpkg --print-architecture)";
APT::Architectures { "$(dpkg --print-architecture)"; };
APT::Install-Recommends "false";
APT::Sandbox::User "$(id -un)";
Acquire::Languages "none";
Acquire::Retries "3";
END
export APT_CONFIG=$apt/apt.conf
apt-get update -qq

# Of what the packages depend on, the libraries and Erlang: the rest is for an installed
# system (python3 for one command of RabbitMQ, users, shells).
names=$(apt-get install --simulate -qq "${servers[@]}" | awk '$1 == "Inst" { print $2 }' |
	grep -E '^(lib|zlib|erlang|redis|valkey|rabbitmq)' | grep -vE '^lib(python|sqlite|sem|sep|pam|debconf|proc|audit)')
# shellcheck disable=SC2086 # Names of packages have no spaces.
(cd "$apt/packages" && apt-get download -qq $names)
# shellcheck disable=SC2086
mapfile -t files < <(apt-get download --print-uris -qq $names | awk '{ print $2 }' | sort)

echo "unpacking ${#files[@]} packages of Debian $release into $folder"
root=$folder/root
rm -rf "$root" "$folder"/{bin,valkey-bin,rabbitmq-bin}
mkdir -p "$root" "$folder"/{bin,valkey-bin,rabbitmq-bin}
for file in "${files[@]}"; do
	dpkg -x "$apt/packages/$file" "$root"
done

# The loader and the libraries: /lib is /usr/lib in this release.
loader=$(find "$root/usr" -name 'ld-linux*.so.*' -type f -print -quit)
libraries=$(dirname "$(find "$root/usr/lib" -name libc.so.6 -print -quit)")

# Writes a program that becomes another one of that release. exec: the process that a test
# kills is the server.
program() { # PATH TARGET
	printf '#!/bin/sh\nexec %s --argv0 "$0" --library-path %s %s "$@"\n' "$loader" "$libraries" "$2" >"$1"
	chmod +x "$1"
}
for tool in server cli benchmark; do
	program "$folder/bin/redis-$tool" "$root/usr/bin/redis-$tool"
	program "$folder/valkey-bin/redis-$tool" "$root/usr/bin/valkey-$tool"
done

erlang=$root/usr/lib/erlang
# Erlang's scripts name the folder in which Debian installs it.
grep -rlIF /usr/lib/erlang "$erlang"/bin "$erlang"/erts-*/bin | xargs sed -i "s|/usr/lib/erlang|$erlang|g"
# Its programs start each other by their paths, so each is replaced where it is.
find "$erlang" -type f -perm -u+x ! -name '*.so' | while read -r file; do
	if [[ $(head -c 4 "$file" | tail -c 3) == ELF ]]; then
		mv "$file" "$file.program"
		program "$file" "$file.program"
	fi
done
ln -s "$erlang"/bin/{erl,epmd} "$folder/bin/"

# RabbitMQ's own scripts find their files by their own path, and Erlang by PATH.
for script in "$root"/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq{-server,ctl,-queues,-diagnostics}; do
	wrapper=$folder/rabbitmq-bin/${script##*/}
	printf '#!/bin/sh\nPATH=%s:$PATH exec %s "$@"\n' "$erlang/bin" "$script" >"$wrapper"
	chmod +x "$wrapper"
done

# The lists of packages, and the packages, are of no more use.
rm -rf "$apt"
printf '%s\n' "${files[@]}" >"$folder/packages.draft"
mv "$folder/packages.draft" "$folder/packages"
