"""Measures how much of the Lua scripts of Redis the test `redis` of their crate holds.

    measure.py coverage FOLDER               which statements the tests reach
    measure.py mutants FOLDER [--every N]    which statements no test would miss

    --lanes N    tests at a time, each with a Redis of its own: mostly they wait

A debug build takes scripts from the folder in DRUMLINE_TEST_LUA
(crates/backend-redis/src/scripts.rs). The first measurement lets each statement log that it
was reached, and runs each test by itself: so the second one, which removes one statement after
the other, runs only the tests that reach it, and stops at the first that fails. The suite on a
cluster is left out there: its cases are those of the suite on one Redis.

What is not reached, and what is not missed, must be in the tables of docs/lua.md with a
reason. A line of these tables that is not needed any more is a failure, too.

On the PATH: cargo, redis-server and drumline-test-servers. Nothing is written but
FOLDER.
"""

import argparse
import json
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from statements import noting, statements, without

ROOT = Path(__file__).resolve().parents[2]
CRATE = ROOT / "crates/backend-redis"
SCRIPTS = CRATE / "src/scripts"
PAGE = ROOT / "docs/lua.md"
NOTES = re.compile(rb"^.* # ~(\{.*\})$", re.MULTILINE)
NOTE = re.compile(rb'"n(\d+)":1\b')
# The suite on a cluster. Its cases are those of the suite on one Redis.
TWINS = "cluster::suite::"
# The share of the lines that must be reached.
LEAST = 0.95
# A test without end is one that has noticed: so much longer than it took before, and no less
# than this.
PATIENCE, LEAST_SECONDS = 8, 20
NO_END = "no end"


class Lane:
    """A Redis, and the logs of all Redis servers that the tests of the lane start."""

    def __init__(self, folder, number):
        self.folder = folder / f"lane-{number}"
        self.logs, self.lua = self.folder / "logs", self.folder / "lua"
        wrapper = self.folder / "bin/redis-server"
        for each in (self.logs, wrapper.parent, self.lua / "was", self.lua / "is"):
            each.mkdir(parents=True)
        real = shutil.which("redis-server")
        wrapper.write_text(f'#!/bin/sh\nexec {real} "$@" --logfile {self.logs}/$$\n')
        wrapper.chmod(0o755)
        self.environment = dict(os.environ, PATH=f"{wrapper.parent}:{os.environ['PATH']}")
        for name in ("DRUMLINE_REDIS_URL", "DRUMLINE_AMQP_URL"):
            self.environment.pop(name, None)
        self.environment["DRUMLINE_TEST_LUA"] = str(self.lua)
        self.environment["CARGO_MANIFEST_DIR"] = str(CRATE)
        self.environment["RUST_BACKTRACE"] = "0"
        self.start()

    def start(self):
        written = self.folder / "servers.env"
        self.servers = subprocess.Popen(
            ["drumline-test-servers", "--only", "redis", "--write", str(written)],
            env=self.environment,
            stdout=subprocess.DEVNULL,
        )
        while not written.exists():
            if self.servers.poll() is not None:
                sys.exit("drumline-test-servers has ended")
            time.sleep(0.02)
        for line in written.read_text().splitlines():
            name, url = line.split("=", 1)
            if name.startswith("DRUMLINE_TEST_"):
                self.environment[name] = url
                self.address = url.removeprefix("redis://").split(":")

    def restart(self):
        """A Redis whose script has no end answers nothing any more."""
        self.close()
        self.start()

    def replace(self, texts):
        """From now on, tests find these texts in the place of the scripts of these names."""
        for folder in ("was", "is"):
            for old in (self.lua / folder).iterdir():
                old.unlink()
        for name, text in texts.items():
            (self.lua / "was" / name).write_text((SCRIPTS / name).read_text())
            (self.lua / "is" / name).write_text(text)

    def empty(self):
        """Removes what earlier tests have left, and the scripts that they have loaded."""
        with socket.create_connection(self.address) as redis:
            redis.sendall(b"FLUSHALL\r\nSCRIPT FLUSH\r\nQUIT\r\n")
            while redis.recv(1024):
                pass

    def run(self, binary, tests, patience):
        """Runs tests of one program. Returns None if they pass, else a reason."""
        process = subprocess.Popen(
            [binary, "--exact", *tests],
            cwd=CRATE,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            text = process.communicate(timeout=patience)[0].decode(errors="replace")
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return NO_END
        if process.returncode == 0:
            return None
        failed = re.findall(r"^test (\S+) .*FAILED$", text, re.MULTILINE)
        return failed[0] if failed else text[-400:]

    def reached(self):
        """The numbers of the statements that were reached since the last call."""
        found = set()
        for log in self.logs.iterdir():
            for notes in NOTES.findall(log.read_bytes()):
                found.update(NOTE.findall(notes))
            # Redis opens its log with each line.
            log.unlink()
        return {int(number) for number in found}

    def close(self):
        self.servers.terminate()
        self.servers.wait()


def on_lanes(folder, count, work, items):
    """Calls work(lane, item) for all items, on so many lanes at a time."""
    todo = queue.Queue()
    for item in items:
        todo.put(item)
    failures = []

    def serve(lane):
        while not failures:
            try:
                item = todo.get_nowait()
            except queue.Empty:
                return
            try:
                work(lane, item)
            except BaseException as error:
                failures.append(error)

    shutil.rmtree(folder / "lanes", ignore_errors=True)
    lanes = []
    try:
        for number in range(count):
            lanes.append(Lane(folder / "lanes", number))
        threads = [threading.Thread(target=serve, args=(lane,), daemon=True) for lane in lanes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        for lane in lanes:
            lane.close()
    if failures:
        raise failures[0]


def all_statements():
    """All statements of all scripts. Their places are their numbers."""
    found = []
    for path in sorted(SCRIPTS.glob("*.lua")):
        found.extend(statements(path.name, path.read_text()))
    return found


def all_tests():
    """The program with the tests of the crate on a Redis, and their names."""
    built = subprocess.run(
        ["cargo", "test", "--locked", "--quiet", "--workspace", "--test", "redis", "--no-run"]
        + ["--message-format", "json"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
    )
    messages = [json.loads(line) for line in built.stdout.splitlines()]
    (binary,) = [one["executable"] for one in messages if one.get("executable")]
    listing = subprocess.run([binary, "--list", "--format", "terse"], stdout=subprocess.PIPE, check=True)
    ignored = subprocess.run(
        [binary, "--list", "--format", "terse", "--ignored"], stdout=subprocess.PIPE, check=True
    )
    names = set(listing.stdout.decode().split("\n")) - set(ignored.stdout.decode().split("\n"))
    return [(binary, name.removesuffix(": test")) for name in sorted(names) if name.endswith(": test")]


def measure_coverage(folder, lanes, everything, known=False):
    """Runs each test by itself. Returns, per test, its seconds and what it reaches. With
    `known`, tests that the last measurement has are not run again."""
    texts = {}
    for path in SCRIPTS.glob("*.lua"):
        of_file = [(n, one) for n, one in enumerate(everything) if one.file == path.name]
        texts[path.name] = noting(path.read_text(), of_file)
    measured, lock = [], threading.Lock()
    if known:
        measured = json.loads((folder / "coverage.json").read_text())
    names = {one["test"] for one in measured}

    def work(lane, item):
        binary, test = item
        lane.replace(texts)
        begun = time.monotonic()
        trouble = lane.run(binary, [test], 300)
        seconds = time.monotonic() - begun
        reached = sorted(lane.reached())
        with lock:
            if trouble:
                print(f"{test} fails while the statements log: {trouble}", flush=True)
            one = {"binary": binary, "test": test, "seconds": seconds, "reached": reached}
            measured.append(dict(one, passed=not trouble))

    items = [(binary, test) for binary, test in all_tests() if test not in names]
    on_lanes(folder, lanes, work, items)
    (folder / "coverage.json").write_text(json.dumps(measured))
    return measured


def explained(heading):
    """The rows of a table of the page: {(script, first line of the statement): reason}."""
    rows, inside = {}, False
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            inside = line == f"## {heading}"
        row = re.match(r"\| `(\S+\.lua)` \| (`+ ?)(.+?)( ?`+) \| (.+) \|$", line)
        if inside and row:
            rows[row[1], row[3].replace("\\|", "|")] = row[5]
    return rows


def compare(found, heading):
    """Reports what is found and not explained, and what is explained and not found."""
    rows = explained(heading)
    names = {(one.file, one.first_line) for one in found}
    new = [one for one in found if (one.file, one.first_line) not in rows]
    for one in new:
        print(f"no row in docs/lua.md: {one.file}:{one.line}: {one.first_line}")
    old = [row for row in rows if row not in names]
    for file, text in old:
        print(f"a row in docs/lua.md too many: {file}: {text}")
    return not new and not old


def coverage(folder, lanes, known):
    everything = all_statements()
    measured = measure_coverage(folder, lanes, everything, known)
    reached = {number for one in measured for number in one["reached"]}
    missed = [one for number, one in enumerate(everything) if number not in reached]
    lines = {(one.file, one.line) for one in everything}
    missed_lines = {(one.file, one.line) for one in missed}
    share = 1 - len(missed_lines) / len(lines)
    print(
        f"{len(measured)} tests reach {len(lines) - len(missed_lines)} of {len(lines)} lines"
        f" ({share:.2%}), {len(everything) - len(missed)} of {len(everything)} statements"
    )
    passed = all(one["passed"] for one in measured)
    return compare(missed, "Statements that no test reaches") and share >= LEAST and passed


def mutants(folder, lanes, every, only, known):
    everything = all_statements()
    if known:
        measured = json.loads((folder / "coverage.json").read_text())
    else:
        measured = measure_coverage(folder, lanes, everything)
    measured = [one for one in measured if not one["test"].startswith(TWINS)]
    # A test that fails anyway notices nothing.
    measured = sorted((one for one in measured if one["passed"]), key=lambda one: one["seconds"])
    chosen = [one for one in enumerate(everything) if only in one[1].file][::every]
    # Per script, the tests that noticed last: they notice the next one, mostly.
    keen, killed, survived, lock = {}, [], [], threading.Lock()
    begun = time.monotonic()

    def work(lane, item):
        number, statement = item
        tests = [one for one in measured if number in one["reached"]]
        if statement.file.startswith("lib_bucket"):
            # They run the library by itself, so that no script logs what they reach.
            tests = [one for one in measured if one["test"].startswith("buckets::")] + tests
        first = [one for one in keen.get(statement.file, []) if one in tests]
        tests = first + [one for one in tests if one not in first]
        lane.empty()
        lane.replace({statement.file: without((SCRIPTS / statement.file).read_text(), statement)})
        noticed, at, batch = None, 0, 1
        while at < len(tests) and not noticed:
            now = tests[at : at + batch]
            at, batch = at + batch, min(batch * 2, 16)
            for binary in {one["binary"] for one in now}:
                mine = [one for one in now if one["binary"] == binary]
                patience = LEAST_SECONDS + PATIENCE * sum(one["seconds"] for one in mine)
                noticed = noticed or lane.run(binary, [one["test"] for one in mine], patience)
        if noticed == NO_END:
            lane.restart()
        lane.reached()
        with lock:
            (killed if noticed else survived).append(statement)
            if noticed:
                by = [one for one in tests if one["test"] == noticed]
                before = [one for one in keen.get(statement.file, []) if one not in by]
                keen[statement.file] = (by + before)[:4]
            done = len(killed) + len(survived)
            line = f"{statement.file}:{statement.line}\t{noticed or 'SURVIVED'}\t{statement.first_line}"
            with open(folder / "mutants.txt", "a") as log:
                log.write(line.replace("\n", " ") + "\n")
            if not noticed or done % 100 == 0:
                print(f"{done}/{len(chosen)} {time.monotonic() - begun:.0f} s {line}", flush=True)

    (folder / "mutants.txt").unlink(missing_ok=True)
    on_lanes(folder, lanes, work, chosen)
    survived.sort(key=lambda one: (one.file, one.start))
    print(f"{len(chosen)} statements removed, one at a time: {len(killed)} noticed, {len(survived)} not")
    unreached = explained("Statements that no test reaches")
    rest = [one for one in survived if (one.file, one.first_line) not in unreached]
    if every > 1 or only:
        rows = explained("Statements that no test misses")
        rest = [one for one in rest if (one.file, one.first_line) not in rows]
        for one in rest:
            print(f"no row in docs/lua.md: {one.file}:{one.line}: {one.first_line}")
        return not rest
    return compare(rest, "Statements that no test misses")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["coverage", "mutants"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--every", type=int, default=1, help="remove every N-th statement only")
    parser.add_argument("--only", default="", help="remove statements of these scripts only: a part of the name")
    parser.add_argument("--known", action="store_true", help="use the last coverage.json of FOLDER")
    parser.add_argument("--lanes", type=int, default=2 * (os.cpu_count() or 1), help="tests at a time")
    options = parser.parse_args()
    # The servers end with the program.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options.folder.mkdir(parents=True, exist_ok=True)
    folder = options.folder.resolve()
    if options.what == "coverage":
        good = coverage(folder, options.lanes, options.known)
    else:
        good = mutants(folder, options.lanes, options.every, options.only, options.known)
    sys.exit(0 if good else 1)


main()
