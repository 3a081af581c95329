"""One model, one process, one thread: confines itself, loads, warms up, reports, answers until SIGTERM.

python -I -c "import sys; sys.path.append(<runtime>); from serinus_runtime.worker import main; main()" config.json
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from serinus_runtime import confine, serving
from serinus_runtime.config import Config
from serinus_runtime.errors import StartFailure
from serinus_runtime.model import Model


class Reporter:
    """Tells the host, a JSON line a state. The host may die and leave the worker serving: then nobody listens."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def say(self, state: str, **details: Any) -> None:
        line = json.dumps({"state": state, **details}) + "\n"
        try:
            os.write(self._descriptor, line.encode())
        except OSError as error:
            sys.stderr.write(f"nobody reads the report pipe ({error.strerror}): {line}")


def main() -> None:
    config = Config.read(sys.argv[1])
    reporter = Reporter(config.report_fd)
    reporter.say("loading")
    try:
        notes = _confined(config)
        confine.with_packages()
        began = time.perf_counter()
        settings = config.settings
        model = Model.read(config.artifact, one_at_a_time=settings.one_at_a_time, score_output=settings.score_output)
    except (StartFailure, OSError) as error:
        reporter.say("failed", reason=str(error))
        sys.exit(1)
    except BaseException as error:
        reporter.say("failed", reason=f"the worker failed while it loaded the model: {type(error).__name__}")
        raise
    # What is there now stays: the collector of garbage need not look at it again.
    gc.collect()
    gc.freeze()
    ready = {
        "load_seconds": round(time.perf_counter() - began, 3),
        "warm_up_ms": model.warm_up_ms,
        "confined": config.confine,
        "notes": notes + model.notes,
        "way": model.way,
        "memory_bytes": memory_bytes(),
    }
    serving.run(config, model, lambda: reporter.say("ready", **ready))


def _confined(config: Config) -> list[str]:
    confine.prepare(config.scratch)
    if not config.confine:
        return ["not confined: the model can read what this user can"]
    readable = (config.artifact, *config.readable, *confine.own_directories())
    keep = (config.listen_fd, config.report_fd)
    return confine.confine(readable, config.scratch, keep, config.settings.memory_limit_bytes)


def memory_bytes() -> int | None:
    """PSS of this process. Others cannot read it from outside once the process is not dumpable."""
    try:
        text = Path("/proc/self/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return None
    sizes = [int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")]
    return sizes[0] * 1024 if sizes else None
