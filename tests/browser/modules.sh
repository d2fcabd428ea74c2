# shellcheck shell=bash
# Sourced by .ci/browser and bench/run.sh: fetches the modules of the browser tests from the
# npm registry, once, with the hashes of package-lock.json. `target` is the target folder.

for tool in node npm; do
	command -v "$tool" >/dev/null || {
		echo "browser: $tool is missing; .ci/deps installs it" >&2
		exit 1
	}
done

export DRUMLINE_BROWSER_MODULES=$target/browser
# The lock file is copied last: a folder that has it is complete.
mkdir -p "$DRUMLINE_BROWSER_MODULES"
packages=$(dirname "${BASH_SOURCE[0]}")
if ! cmp -s "$packages/package-lock.json" "$DRUMLINE_BROWSER_MODULES/installed.json"; then
	cp "$packages/package.json" "$packages/package-lock.json" "$DRUMLINE_BROWSER_MODULES"
	npm ci --prefix "$DRUMLINE_BROWSER_MODULES" --ignore-scripts --no-audit --no-fund --silent
	cp "$packages/package-lock.json" "$DRUMLINE_BROWSER_MODULES/installed.json"
fi
