"""A confined process that examines a model once, and prints one line of JSON as its answer."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, Callable, Mapping

from serinus_runtime.base.errors import RuntimeFailure
from serinus_runtime.isolation import confine, permitted


def run(answer: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
    """Prints `answer(config)`. The first argument names the file of the configuration.

    After a failure it prints {"error": reason, "environment": whether another one might help}, with exit status 1.
    """
    config = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    answers = _own_stdout()
    try:
        print(json.dumps(answer(config)), file=answers, flush=True)
    except (RuntimeFailure, OSError) as error:
        told = {"error": str(error), "environment": getattr(error, "environment", True)}
        print(json.dumps(told), file=answers, flush=True)
        sys.exit(1)


_kept = 1
"""The descriptor to which the answer is written."""


def _own_stdout() -> Any:
    """Redirects the model's output to stderr, so that standard output has the answer only."""
    global _kept
    _kept = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(_kept, "w", encoding="utf-8")


def confined(config: Mapping[str, Any], *own: Path, kind: str = permitted.TRIAL) -> None:
    """Confines this process as `config` says ({"readable", "scratch", "confine", "memory_limit_bytes"?,
    "landlock_required"?}), and allows imports of the environment's packages. `own` must be readable as well. `kind` is
    one of `permitted`."""
    scratch = Path(config["scratch"])
    confine.prepare(scratch)
    if config.get("confine", True):
        readable = (*own, *map(Path, config.get("readable") or ()), *confine.own_directories())
        # A forked process keeps all, because libraries that are already imported may use some.
        keep = None if confine.has_packages() else (_kept,)
        required = config.get("landlock_required", True)
        confine.confine(readable, scratch, keep, config.get("memory_limit_bytes"), kind=kind, required=required)
    confine.with_packages()
