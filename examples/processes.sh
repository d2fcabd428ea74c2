# Sourced by scripts that start processes of their own: a folder for the logs,
# processes that end with the script, and the ends of their logs when it fails.
# shellcheck shell=bash

# fill FOLDER NAME: empties FOLDER for the run of NAME. `folder` is its path.
fill() {
	folder=${1:?which folder may be filled?}
	filled_for=$2
	rm -rf "$folder"
	mkdir -p "$folder"
	folder=$(cd "$folder" && pwd)
	started=()
	trap finish EXIT
	trap 'exit 130' INT TERM
}

finish() {
	local code=$? process
	trap - EXIT
	for process in "${started[@]}"; do kill -TERM "$process" 2>/dev/null || true; done
	for process in "${started[@]}"; do wait "$process" || true; done
	if [[ $code != 0 ]]; then
		echo "$filled_for FAILED; the ends of the logs in $folder:" >&2
		tail -n 20 "$folder"/*.log >&2 || true
	fi
	exit "$code"
}

# fail TEXT…: ends the script.
fail() {
	echo "$*" >&2
	exit 1
}

# start NAME COMMAND…: in the background. `process` is its id.
start() {
	local name=$1
	shift
	"$@" >"$folder/$name.out" 2>"$folder/$name.log" &
	process=$!
	started+=("$process")
}

# await FILE PATTERN PROCESS: until a line of FILE matches, while PROCESS runs.
await() {
	until grep -qs "$2" "$1"; do
		kill -0 "$3" 2>/dev/null || fail "process $3 has ended before it wrote '$2' to $1"
		sleep 0.05
	done
}

# start_ready NAME COMMAND…: in the background, until it says that it is ready.
# DRUMLINE_SERVER is the address of a queue manager that says its own.
start_ready() {
	start "$@"
	await "$folder/$1.out" '^ready' "$process"
	local address
	address=$(sed -n 's/^ready //p' "$folder/$1.out")
	if [[ -n $address ]]; then export DRUMLINE_SERVER=$address; fi
}

# install_python REQUIREMENTS: a Python environment in $folder/venv, filled by pip.
install_python() {
	python3 -m venv "$folder/venv" ||
		fail "python3 cannot make an environment; on Debian or Ubuntu: apt-get install python3-venv"
	"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-input \
		--requirement "$1" >"$folder/pip.log" 2>&1 ||
		fail "pip cannot install $1: it needs a package index that can be reached"
}
