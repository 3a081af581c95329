"""Builds a wheel from a source archive with its own build backend (PEP 517). All of that is code of the package, so the
process is confined.

    python -I -S -c "... from serinus_runtime.trials.build import main; main()" config.json

The interpreter is that of an environment with the build requirements. config: {"archive", "backend", "backend_path",
"requires", "readable", "scratch", "confine"}. The answer: {"wheel": name of a file in `scratch`/wheel}, or {"requires":
[..]} where the backend needs more than `requires`.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from pathlib import Path
from typing import Any, Mapping

from serinus_runtime.base.errors import StartFailure
from serinus_runtime.isolation import permitted, trial
from serinus_runtime.trials.source import inside, unpacked


def main() -> None:
    """Runs the build."""
    trial.run(_built)


def _built(config: Mapping[str, Any]) -> Mapping[str, Any]:
    archive = Path(config["archive"])
    trial.confined(config, archive, kind=permitted.BUILD)
    target = Path("wheel").absolute()
    target.mkdir()
    source = unpacked(archive, Path("source").absolute())
    os.chdir(source)
    # Programs that a build starts find this environment's interpreter and tools first.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    sys.path[:0] = inside(source, config["backend_path"])
    try:
        backend = _backend(config["backend"])
        more = [str(one) for one in getattr(backend, "get_requires_for_build_wheel", lambda _: ())(None)]
        if not set(more) <= set(config["requires"]):
            return {"requires": more}
        return {"wheel": str(backend.build_wheel(str(target), None, None))}
    except BaseException as error:  # Old setup.py files raise SystemExit.
        traceback.print_exc()
        raise StartFailure(f"{type(error).__name__}: {error}"[:1000]) from error


def _backend(named: str) -> Any:
    module, _, path = named.partition(":")
    found: Any = importlib.import_module(module)
    for name in filter(None, path.split(".")):
        found = getattr(found, name)
    return found
