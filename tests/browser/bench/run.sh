#!/usr/bin/env bash
# `make bench-console`: fetches the modules of the browser tests, starts private servers, and
# measures.
#
#   tests/browser/bench/run.sh [ARGUMENT…]     `--help` lists the arguments
#
# `drumline` and `drumline-test-servers` must be on the PATH.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
target=${CARGO_TARGET_DIR:-$here/../../../target}

# shellcheck source=tests/browser/modules.sh
source "$here/../modules.sh"
export DRUMLINE_BROWSER_RUN=$target/run/bench-console

case " $* " in
*" --help "* | *" --show "*) exec node "$here/run.mjs" "$@" ;;
esac
for tool in drumline drumline-test-servers; do
	command -v "$tool" >/dev/null || {
		echo "bench-console: $tool is missing; \`make bench-console\` builds what it needs" >&2
		exit 1
	}
done
exec drumline-test-servers -- node "$here/run.mjs" "$@"
