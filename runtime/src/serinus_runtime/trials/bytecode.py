"""Compiles source files of an environment to bytecode. A compiler reads foreign code, so the process is confined.

    python -I -S -c "... from serinus_runtime.trials.bytecode import main; main()" config.json

config: {"groups": [[path..]..], "readable": [directory..], "target", "processes", "confine"}. The bytecode of
`groups[m][n]` becomes `target/<m>/<n>.pyc`, except for files that cannot be compiled. Nothing of the environment is
imported, and nothing outside `target` can be written.

Each group is compiled by a process of its own, which can write to the group's directory only. A source file that takes
over the compiler can forge the bytecode of its own group and of no other.
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
    """Compiles all groups."""
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
    """Starts a process. A file that makes the compiler crash affects the rest of its group only."""
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
