"""Compiles source files of an environment, confined: a compiler is code, too, that reads what a model brings.

python -I -S -c "... from serinus_runtime.trials.bytecode import main; main()" config.json

config: {"groups": [[path..]..], "readable": [directory..], "target", "processes", "confine"}. The bytecode of
`groups[m][n]` becomes `target/<m>/<n>.pyc`; there is none of a file that cannot be compiled. Nothing of the environment
is imported. Beyond `target` nothing can be written.

Each group is compiled by a process of its own, which can write to the group's directory alone: a source that takes the
compiler over can leave false bytecode for its own group and for no other.
"""

from __future__ import annotations

import json
import os
import py_compile
import sys
from pathlib import Path
from typing import Sequence

from serinus_runtime.isolation import confine, permitted

_MEMORY = 4 << 30


def main() -> None:
    config = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    target = Path(config["target"])
    confine.prepare(target)
    readable = (*map(Path, config["readable"]), *confine.own_directories())
    if config["confine"]:
        confine.confine(readable, target, None, _MEMORY, kind=permitted.ZYGOTE)
    running = 0
    for number, sources in enumerate(config["groups"]):
        Path(str(number)).mkdir(0o700)
        if running == config["processes"]:
            os.wait()
            running -= 1
        _start(sources, str(number), readable if config["confine"] else None)
        running += 1
    for _ in range(running):
        os.wait()


def _start(sources: Sequence[str], directory: str, readable: Sequence[Path] | None) -> None:
    """A process of its own: a file that makes the compiler crash takes the rest of its group with it, and no more."""
    if os.fork() == 0:
        code = 1
        try:
            if readable is not None:
                confine.confine(readable, Path(directory), None)
            for number, source in enumerate(sources):
                _compile(source, f"{directory}/{number}.pyc")
            code = 0
        finally:
            os._exit(code)


def _compile(source: str, target: str) -> None:
    try:
        py_compile.compile(source, cfile=target, doraise=True)
    except Exception:  # noqa: BLE001  templates, code for another Python, nesting without end: none is ever imported
        return
