"""The protocol between a zygote and the process that requests workers. Answers are only claims, because code of the
environment may have written them."""

from __future__ import annotations

import json
from typing import Any, Mapping

CARRIED = ("listening socket", "socket to the host", "config", "output", "held pipe")
"""The descriptors of a request in order."""

COMPILED = (
    "numpy",
    "onnxruntime",
    "uvloop",
    "orjson",
    "serinus_runtime.model.compiled",
)
"""The modules of compiled releases, whatever the model. Their only zygote exists before the first of them has
loaded."""

LONGEST_ANSWER = 4096


class Unfit(Exception):
    """The libraries of this environment do not allow forking. The text says why."""


def understood(said: bytes) -> Mapping[str, Any]:
    """Parses an answer. Raises ConnectionError where it is malformed."""
    try:
        answer = json.loads(said)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise ConnectionError("the zygote said what no zygote says")
    return answer


def check_first(told: Mapping[str, Any]) -> None:
    """Checks the first message of a zygote. Raises Unfit where its imports have left threads, and ConnectionError where
    it is something else."""
    threads = told.get("threads")
    if not isinstance(threads, list):
        raise ConnectionError("the zygote did not say what threads it has")
    if threads:
        names = ", ".join(str(name)[:40] for name in threads[:20])
        raise Unfit(f"its libraries start threads when they are imported ({names})")
