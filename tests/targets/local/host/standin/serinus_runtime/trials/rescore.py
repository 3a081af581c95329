"""Answers with what it can see of itself: its niceness, the policy by which it is scheduled, its group's niceness."""

import json
import os
import sys
import time
from pathlib import Path


def group():
    """0 where sessions are no groups of the scheduler. It is set from outside, which the kernel may put off for a tenth
    of a second."""
    found, until = 0, time.monotonic() + 2
    try:
        while not found and time.monotonic() < until:
            found = int(Path("/proc/self/autogroup").read_text().split()[-1])
            time.sleep(0.01)
    except (OSError, IndexError):
        return 0
    return found


def main():
    config = json.loads(Path(sys.argv[1]).read_text())
    requests = json.loads(Path(config["requests"]).read_text())["requests"]
    how = Path(config["artifact"]).name
    scores = [os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0), group()]
    answer = {"scores": scores, "datatype": "INT64"}
    answers = {
        "short": [answer],
        "words": [{**answer, "scores": ["0.5", None]} for _ in requests],
        "other": [{**answer, "scores": [0.5]} for _ in requests],
        "none": [None for _ in requests],
    }
    print(json.dumps({"answers": answers.get(how, [answer for _ in requests])}))
