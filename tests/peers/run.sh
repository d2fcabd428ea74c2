#!/usr/bin/env bash
# `make bench-peers` and `make bench-growth`: installs the peers, starts private servers, and
# measures.
#
#   tests/peers/run.sh [ARGUMENT…]     `--help` lists the arguments
#
# `drumline`, `drumline-peer` and `drumline-test-servers` must be on the PATH. Packages
# come from the registries of npm and PyPI, once, with the hashes of package-lock.json
# and in the versions of the requirements.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

target=${CARGO_TARGET_DIR:-$here/../../target}
export PEERS_MODULES=$target/peers PEERS_PYTHON=$target/peers/python PEERS_RUN=$target/run/peers

for tool in node npm python3 drumline drumline-peer drumline-test-servers; do
	command -v "$tool" >/dev/null || {
		echo "bench-peers: $tool is missing; \`make bench-peers\` installs and builds what it needs" >&2
		exit 1
	}
done

# npm_packages FROM TO: the packages of a lock file. It is copied last: a folder that has
# it is complete.
npm_packages() {
	mkdir -p "$2"
	cmp -s "$1/package-lock.json" "$2/installed.json" && return
	cp "$1/package.json" "$1/package-lock.json" "$2"
	npm ci --prefix "$2" --ignore-scripts --no-audit --no-fund --silent
	cp "$1/package-lock.json" "$2/installed.json"
}

mkdir -p "$PEERS_RUN"
npm_packages "$here" "$PEERS_MODULES"
# 200 MB, and under a licence (BSL) that a reader may want to see before.
if [[ " $* " == *restate* ]]; then npm_packages "$here/restate" "$PEERS_MODULES/restate"; fi
# Drumline alone needs no peer.
if [[ " $* " != *" --growth"* ]] && ! cmp -s "$here/python/requirements.txt" "$PEERS_PYTHON/installed.txt"; then
	python3 -m venv --clear "$PEERS_PYTHON"
	"$PEERS_PYTHON/bin/pip" install --quiet --disable-pip-version-check --no-input \
		--requirement "$here/python/requirements.txt"
	cp "$here/python/requirements.txt" "$PEERS_PYTHON/installed.txt"
fi

case " $* " in
*" --help "* | *" --show "*) exec node "$here/run.mjs" "$@" ;;
esac
exec drumline-test-servers -- node "$here/run.mjs" "$@"
