"""Builds a wheel from a source archive by its own build backend (PEP 517), confined: all of that is a package's code.

python -I -S -c "... from serinus_runtime.trials.build import main; main()" config.json

The interpreter is that of an environment with what the build needs. config: {"archive", "backend", "backend_path",
"requires", "readable", "scratch", "confine"}. The answer: {"wheel": name of a file in `scratch`/wheel}, or {"requires":
[..]} where the backend asks for more than `requires`.
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
    trial.run(_built)


def _built(config: Mapping[str, Any]) -> Mapping[str, Any]:
    archive = Path(config["archive"])
    trial.confined(config, archive, kind=permitted.BUILD)
    target = Path("wheel").absolute()
    target.mkdir()
    source = unpacked(archive, Path("source").absolute())
    os.chdir(source)
    # What a build starts finds this environment's interpreter and tools first.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    sys.path[:0] = inside(source, config["backend_path"])
    try:
        backend = _backend(config["backend"])
        more = [str(one) for one in getattr(backend, "get_requires_for_build_wheel", lambda _: ())(None)]
        if not set(more) <= set(config["requires"]):
            return {"requires": more}
        return {"wheel": str(backend.build_wheel(str(target), None, None))}
    except BaseException as error:  # SystemExit too: old setup.py end themselves by it
        traceback.print_exc()
        raise StartFailure(f"{type(error).__name__}: {error}"[:1000]) from error


def _backend(named: str) -> Any:
    module, _, path = named.partition(":")
    found: Any = importlib.import_module(module)
    for name in filter(None, path.split(".")):
        found = getattr(found, name)
    return found
