"""Answers with what it can see of itself: its niceness and the policy by which it is scheduled."""

import json
import os
import sys
from pathlib import Path


def main():
    config = json.loads(Path(sys.argv[1]).read_text())
    requests = json.loads(Path(config["requests"]).read_text())["requests"]
    how = Path(config["artifact"]).name
    scores = [os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0)]
    answer = {"scores": scores, "datatype": "INT64"}
    answers = {
        "short": [answer],
        "words": [{**answer, "scores": ["0.5", None]} for _ in requests],
        "other": [{**answer, "scores": [0.5]} for _ in requests],
        "none": [None for _ in requests],
    }
    print(json.dumps({"answers": answers.get(how, [answer for _ in requests])}))
