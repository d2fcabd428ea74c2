#!/usr/bin/env python3
"""A web service as a handler: `service.py PORT`.

A request may be sent again while the first one is still under way, so each operation
has its newest fence, its page and its lock here. An older request stops its work when
a newer one has come.
"""

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAGES = 10
lock = threading.Lock()
fences = {}
done_pages = {}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        length = int(self.headers["Content-Length"])
        json.loads(self.rfile.read(length))
        operation = self.headers["Drumline-Operation-Id"]
        fence = int(self.headers["Drumline-Fence"])
        with lock:
            if fence < fences.get(operation, 0):
                return self.answer(409, {"error": {"message": "a newer run has begun"}})
            fences[operation] = fence
        while done_pages.get(operation, 0) < PAGES:
            time.sleep(0.1)
            with lock:
                if fences[operation] != fence:
                    return self.answer(409, {"error": {"message": "a newer run has begun"}})
                done_pages[operation] = done_pages.get(operation, 0) + 1
        self.answer(200, {"pages": PAGES})

    def answer(self, status, body):
        text = json.dumps(body).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)
        except OSError:
            pass  # The worker has closed the connection.

    def log_message(self, *_arguments):
        pass


server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
