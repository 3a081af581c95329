"""What is said between a zygote and whoever asks it for workers. The answers are claims: code of the environment may
have written them."""

from __future__ import annotations

import json
from typing import Any, Mapping

CARRIED = ("listening socket", "socket to the host", "config", "output", "held pipe")
"""The descriptors of a request, in order."""

COMPILED = (
    "numpy",
    "onnxruntime",
    "uvloop",
    "orjson",
    "serinus_runtime.model.compiled",
)
"""What compiled releases need, whatever the model: their one zygote is there before the first of them has loaded."""

LONGEST_ANSWER = 4096


class Unfit(Exception):
    """This environment's libraries cannot be forked; the text says why."""


def understood(said: bytes) -> Mapping[str, Any]:
    """An answer. ConnectionError: it is none."""
    try:
        answer = json.loads(said)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise ConnectionError("the zygote said what no zygote says")
    return answer


def check_first(told: Mapping[str, Any]) -> None:
    """The first thing that a zygote says. Raises Unfit: its imports have left threads; ConnectionError: it is something
    else."""
    threads = told.get("threads")
    if not isinstance(threads, list):
        raise ConnectionError("the zygote did not say what threads it has")
    if threads:
        names = ", ".join(str(name)[:40] for name in threads[:20])
        raise Unfit(f"its libraries start threads when they are imported ({names})")
