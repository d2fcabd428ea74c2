#!/usr/bin/env python3
"""`make bench-standalone`: one durable process beside a fleet on Redis and RabbitMQ, in the same minutes.

    drumline-test-servers -- tests/standalone/beside.py FOLDER [ROUNDS] [COUNT]

Each round has two measurements of each. End to end: COUNT operations of half a kilobyte by
`drumline submit --file`, from its start until all are Completed. Latency: 200 creates a second
for ten seconds, from the moment before each until the start that the operation tells, while
one thread syncs 4 KiB of a file of its own fifty times a second. Redis syncs each write.

The handlers run inside the processes: Echo of `drumline standalone`, which also stores a result, and that
of `drumline-peer work`. `drumline`, `drumline-peer` and the addresses of the servers are needed.
"""

import datetime
import http.client
import json
import os
import pathlib
import queue
import shutil
import statistics
import subprocess
import sys
import threading
import time
import urllib.request

RATE, SECONDS = 200, 10


def operation(message):
    data = {"key": 0, "seq": 0, "at": 0, "sleep": 0, "note": False, "pad": "x" * 430}
    return json.dumps({"messageName": message, "data": data})


def wait_until_completed(url):
    """Waits until no operation is open."""
    while True:
        quotas = json.load(urllib.request.urlopen(f"{url}/v1/quotas"))["quotas"]
        if not next(one["used"] for one in quotas if one["name"] == "open"):
            return
        time.sleep(0.05)


def end_to_end(url, message, count, folder):
    """Returns operations per second."""
    file = folder / "operations.jsonl"
    file.write_text((operation(message) + "\n") * count)
    start = time.monotonic()
    subprocess.run(["drumline", "submit", "--server", url, "--file", file], check=True, capture_output=True)
    wait_until_completed(url)
    return count / (time.monotonic() - start)


def latency(url, message, folder):
    """Returns the 99th percentiles of submit to start and of a sync, in milliseconds."""
    sent, syncs, turns, is_done = {}, [], queue.Queue(), threading.Event()

    def create():
        connection = http.client.HTTPConnection(url.removeprefix("http://"))
        while turns.get():
            now = time.time()
            connection.request("POST", "/v1/operations", operation(message), {"content-type": "application/json"})
            sent[json.load(connection.getresponse())["id"]] = now

    def sync():
        file = os.open(folder / "synced", os.O_RDWR | os.O_CREAT)
        while not is_done.wait(0.02):
            os.pwrite(file, b"x" * 4096, len(syncs) % 64 * 4096)
            start = time.monotonic()
            os.fdatasync(file)
            syncs.append(1000 * (time.monotonic() - start))

    callers = [threading.Thread(target=create) for _ in range(24)]
    syncing = threading.Thread(target=sync)
    for thread in [*callers, syncing]:
        thread.start()
    start = time.monotonic()
    for turn in range(RATE * SECONDS):
        time.sleep(max(0, start + turn / RATE - time.monotonic()))
        turns.put(True)
    for _ in callers:
        turns.put(False)
    for thread in callers:
        thread.join()
    is_done.set()
    syncing.join()
    wait_until_completed(url)
    waits = []
    for id, at in sent.items():
        found = json.load(urllib.request.urlopen(f"{url}/v1/operations/{id}"))
        started = datetime.datetime.fromisoformat(found["startedOn"].replace("Z", "+00:00"))
        waits.append(1000 * (started.timestamp() - at))
    return [statistics.quantiles(some, n=100)[98] for some in (waits, syncs)]


def start(*command, **environment):
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=os.environ | environment
    )


def measure(message, processes, count, folder):
    """Returns the three figures, and ends the processes."""
    try:
        url = processes[0].stdout.readline().split()[1]
        return [end_to_end(url, message, count, folder), *latency(url, message, folder)]
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait()


def main():
    folder = pathlib.Path(sys.argv[1]).resolve()
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 20_000
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    ratios, within = [], []
    print(f"{'round':6}{'durable /s':>12}{'fleet /s':>10}{'ratio':>7}{'p99 ms':>9}{'sync p99':>10}{'fleet p99':>11}")
    for number in range(1, rounds + 1):
        own = ["--listen", "127.0.0.1:0", "--log", "off"]
        durable = start("drumline", "standalone", "--data", folder / str(number), "--concurrency", "256", *own)
        rate, p99, sync = measure("Echo", [durable], count, folder)
        namespace = {"DRUMLINE_NAMESPACE": f"beside-{number}"}
        fleet = [
            start("drumline", "queue-manager", *own, **namespace),
            start("drumline-peer", "work", DRUMLINE_CONCURRENCY="256", **namespace),
        ]
        fleet_rate, fleet_p99, _ = measure("Note", fleet, count, folder)
        ratios.append(rate / fleet_rate)
        within.append(p99 <= 3 * sync + 2)
        print(
            f"{number:<6}{rate:>12.0f}{fleet_rate:>10.0f}{ratios[-1]:>7.2f}{p99:>9.2f}{sync:>10.2f}{fleet_p99:>11.2f}",
            flush=True,
        )
    print(f"median ratio {statistics.median(ratios):.2f}; p99 within three syncs and 2 ms in {sum(within)} of {rounds}")


main()
