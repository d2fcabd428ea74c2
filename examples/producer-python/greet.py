#!/usr/bin/env python3
"""The handler of the example: greets the person that the data names."""

import json
import sys

operation = json.load(sys.stdin)
json.dump({"greeting": f"hello, {operation['data']['name']}"}, sys.stdout)
print()
