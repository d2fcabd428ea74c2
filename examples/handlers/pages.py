#!/usr/bin/env python3
"""Works page after page, as pages.sh does, and reads the operation from its input."""

import json
import os
import signal
import sys
import time

PAGES = int(os.environ.get("PAGES", "20"))
stopping = False


def stop(_signal, _frame):
    global stopping
    stopping = True


def report(**line):
    print(json.dumps(line), flush=True)


def main():
    signal.signal(signal.SIGTERM, stop)
    operation = json.load(sys.stdin)
    # The input has a checkpoint of any size. The environment has a small one, too.
    page = operation.get("checkpoint", 0)
    while page < PAGES and not stopping:
        time.sleep(0.1)
        page += 1
        report(progress=page * 100 // PAGES, text=f"page {page}", checkpoint=page)
    if page >= PAGES:
        report(result={"pages": page})


main()
