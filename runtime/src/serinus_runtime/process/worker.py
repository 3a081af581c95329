"""A worker: one model, one process, one thread. It confines itself, loads, warms up, reports, and serves until it is
told to end.

    python -I -c "import sys; sys.path.append(<runtime>); from serinus_runtime.process.worker import main; main()" FILE

A worker that a zygote has forked begins in `serve_one`.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
from itertools import takewhile
from pathlib import Path
from typing import Any, Callable, Sequence

from serinus_runtime.artifact import traces
from serinus_runtime.base.config import Config
from serinus_runtime.base.errors import StartFailure
from serinus_runtime.isolation import confine, permitted
from serinus_runtime.model import compiled
from serinus_runtime.model.model import Model
from serinus_runtime.process import event_loop
from serinus_runtime.process.wire import Reporter

_ANSWERS_FIRST = 0.005
"""Seconds between the first possible response and the report of it."""


def main() -> None:
    """Runs the worker."""
    config = Config.read(sys.argv[1])
    serve_one(config, keep=(config.listen_fd, config.report_fd))


def serve_one(config: Config, keep: Sequence[int] | None, imported: str | None = None) -> None:
    """Serves until it is told to end and all requests are answered. Raises SystemExit where it cannot start.

    `keep` are the only descriptors that stay open. None: all. `imported` is the last module that existed when this
    process was forked.
    """
    reporter = Reporter(config.report_fd)
    reporter.say("loading")
    try:
        notes = _confined(config, keep)
        confine.with_packages()
        began = time.perf_counter()
        model = _loaded(config)
    except (StartFailure, OSError) as error:
        more = {"damaged": True} if isinstance(error, compiled.Damaged) else {}
        reporter.say("failed", reason=str(error), **more)
        sys.exit(1)
    except BaseException as error:
        where = traces.at(error, config.artifact)
        reporter.say("failed", reason=f"the worker failed while it loaded the model: {type(error).__name__}{where}")
        raise
    # Everything that exists now stays, so garbage collections need not examine it again.
    gc.collect()
    gc.freeze()
    ready = _described(config, model, notes, time.perf_counter() - began)

    def report() -> None:
        modules = libraries_beside(config.artifact, config.scratch, since=imported)
        reporter.say("ready", **ready, **memory(), modules=modules)

    # The request that has activated the release is answered first, because these two take as long as a dozen responses.
    event_loop.run(config, model, lambda: _soon(report))


def _described(config: Config, model: Any, notes: Sequence[str], seconds: float) -> dict[str, Any]:
    """Returns the report of a model that is ready. `seconds` is how long loading took."""
    return {
        "load_seconds": round(seconds, 3),
        "warm_up_ms": model.warm_up_ms,
        "confined": config.confine,
        "notes": [*notes, *model.notes],
        "way": model.way,
        "proven": model.proven,
    }


def _soon(report: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_later(_ANSWERS_FIRST, report)


def _loaded(config: Config) -> Any:
    how: dict[str, Any] = {
        "one_at_a_time": config.settings.one_at_a_time,
        "score_output": config.settings.score_output,
        "protocols": config.settings.protocols,
    }
    if config.compiled is not None:
        return compiled.read(config.compiled, config.artifact, digest=config.digest, **how)
    together = config.settings.rows == "together"
    return Model.read(config.artifact, **how, proven=config.proven, long=config.long, together=together)


def _confined(config: Config, keep: Sequence[int] | None) -> list[str]:
    confine.prepare(config.scratch)
    if not config.confine:
        return ["not confined: the model can read everything that this user can read"]
    readable = (config.artifact, *config.readable, *confine.own_directories())
    return confine.confine(
        readable,
        config.scratch,
        keep,
        config.settings.memory_limit_bytes,
        kind=permitted.WORKER,
        required=config.landlock_required,
    )


def libraries_beside(*own: Path, since: str | None = None) -> list[str]:
    """Returns the names of imported modules that are neither the standard library's, nor this package's, nor files of
    the model (`own`), in the order of their import. The environment's zygote imports them.

    Only modules after `since` are examined. Touching a module from before the fork changes its reference count, and two
    thousand of them would make 20 MB of shared memory private.
    """
    standard = f"{Path(os.__file__).parent}{os.sep}"
    passed_over = tuple(f"{path}{os.sep}" for path in (*own, Path(__file__).parent))
    found = []
    for name in reversed(_modules_since(since)):
        spec = getattr(sys.modules.get(name), "__spec__", None)
        origin = str(getattr(spec, "origin", None))
        if spec is None or spec.name != name or not origin.startswith(os.sep) or origin.startswith(passed_over):
            continue
        if (not origin.startswith(standard) or "-packages" in origin) and name.replace(".", "").isidentifier():
            found.append(name)
    return found


def _modules_since(since: str | None) -> list[str]:
    """Returns the modules, the latest first."""
    try:
        return list(takewhile(lambda name: name != since, reversed(sys.modules)))
    except RuntimeError:  # A thread of the model is importing something at the moment.
        return list(takewhile(lambda name: name != since, list(reversed(sys.modules))))


def memory() -> dict[str, int]:
    """Returns the proportional set size of this process, and its private memory. Others cannot read them once the
    process is not dumpable."""
    try:
        lines = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    sizes = {words[0]: int(words[1]) * 1024 for words in map(str.split, lines[1:]) if len(words) == 3}
    own = sizes.get("Private_Clean:", 0) + sizes.get("Private_Dirty:", 0)
    return {"memory_bytes": sizes["Pss:"], "own_bytes": own} if "Pss:" in sizes else {}
