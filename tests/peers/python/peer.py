"""Lines of JSON between the programs of a peer and the driver, for peers on Python.

README.md has the lines. A handler tells of its run at once, and in one write, because it
may be in a process that ends right after it.
"""

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

# Each caller is a thread. More of them only wait for each other.
CALLERS = 10

# Standard output as the driver has given it: Celery takes it away from its tasks.
OUT = 1


def now():
    """Microseconds since 1970."""
    return time.time_ns() // 1000


def tell(value):
    """Writes a line for the driver. Lines of other processes do not come between."""
    os.write(OUT, json.dumps(value).encode() + b"\n")


def run(task):
    """The handler of all peers: sleeps if the task says so, and notes the run."""
    started = now()
    if task["sleep"] > 0:
        time.sleep(task["sleep"] / 1000)
    noted = [[task["key"], task["seq"], task["at"], started]] if task["note"] else []
    tell({"ran": 1, "first": started, "last": now(), "noted": noted})


def payload(order, seq):
    """A payload of as many bytes of JSON as the order says."""
    task = {"key": 0, "seq": seq, "at": now(), "note": order["note"], "sleep": order["sleep"], "pad": ""}
    task["pad"] = "x" * max(0, order["size"] - len(json.dumps(task, separators=(",", ":"))))
    return task


def serve(add, add_many=None):
    """Serves orders until standard input ends."""
    tell({"ready": True})
    for line in sys.stdin:
        order = json.loads(line)
        start = now()
        fulfil(order, add, add_many)
        tell({"start": start, "end": now()})


def fulfil(order, add, add_many):
    count = order["count"]
    if order["how"] == "batches" and add_many:
        for first in range(0, count, order["batch"]):
            add_many([payload(order, seq) for seq in range(first, min(count, first + order["batch"]))])
        return
    # A key has one caller, because two would not keep its order.
    callers = 1 if order["keys"] else CALLERS
    with ThreadPoolExecutor(callers) as pool:
        if order["how"] == "rate":
            for _ in at_rate(pool, order, add):
                pass
        else:
            for _ in pool.map(lambda seq: add(payload(order, seq)), range(count)):
                pass


def at_rate(pool, order, add):
    """Calls at a fixed rate. The time of the submit is that of the call, not of its thread."""
    start = time.monotonic()
    calls = []
    for seq in range(order["count"]):
        early = start + seq / order["rate"] - time.monotonic()
        if early > 0:
            time.sleep(early)
        calls.append(pool.submit(add, payload(order, seq)))
    for call in calls:
        yield call.result()
