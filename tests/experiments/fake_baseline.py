#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A baseline's program for tests of the driver, which misbehaves as its first argument says.

It logs the requests that it gets into the file of its second argument, where there is one.
"""
import json
import os
import signal
import sys
import time

behaviour = sys.argv[1]
log = open(sys.argv[2], "a") if len(sys.argv) > 2 else None
samples = 0

for line in sys.stdin:
    request = json.loads(line)
    what = request["request"]
    if log:
        print(line, end="", file=log, flush=True)
    answer = {}
    if what == "hello":
        if behaviour == "cannot":
            answer = {"error": "no module named soup; install soup"}
        elif behaviour == "elsewhere":
            answer = {"protocol": 1, "device": "another device"}
        elif behaviour == "future":
            answer = {"protocol": 2, "device": request["devices"][0]}
        else:
            answer = {"protocol": 1, "device": request["devices"][0]}
    elif what == "prepare":
        if behaviour == "slow":
            time.sleep(1.5)
        if behaviour == "declines":
            answer = {"declined": "m is not to its taste"}
        elif behaviour == "incorrect":
            answer = {"incorrect": "relative error 0.5"}
        elif behaviour == "breaks":
            answer = {"error": "the device fell off"}
        elif behaviour == "nameless":
            answer = {"detail": "no title"}
        else:
            answer = {"title": "fake 1.0", "detail": f"tile of {request['m']}", "copies": 3, "footprint_bytes": 1 << 40}
            if behaviour == "floor":
                answer["role"] = "floor"
    elif what == "sample":
        samples += 1
        answer = {"seconds": 1e-3}
        if samples > 500:  # in the middle of the second case
            if behaviour == "dies":
                print("out of soup", file=sys.stderr, flush=True)
                os.kill(os.getpid(), signal.SIGKILL)
            if behaviour == "exits":
                sys.exit("Traceback\nSoupError: the pot is empty")
            if behaviour == "hangs":
                time.sleep(1000)
            if behaviour == "babbles":
                print("warning: soup is hot")
            if behaviour == "floods":
                sys.stdout.write("x" * (3 << 20))
                sys.stdout.flush()
            if behaviour == "zero":
                answer = {"seconds": 0}
    print(json.dumps(answer), flush=True)
