"""Compiles source files of an environment, confined: a compiler is code, too, that reads what a model brings.

python -I -S -c "... from serinus_runtime.bytecode import main; main()" config.json

config: {"sources": [path..], "readable": [directory..], "target", "processes", "confine"}. The bytecode of
`sources[n]` becomes `target/<n>.pyc`; there is none of a file that cannot be compiled. Nothing of the environment is
imported. Beyond `target` nothing can be written.
"""

from __future__ import annotations

import json
import os
import py_compile
import sys
from pathlib import Path
from typing import Sequence

from serinus_runtime import confine

_MEMORY = 4 << 30


def main() -> None:
    config = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    target = Path(config["target"])
    confine.prepare(target)
    if config["confine"]:
        readable = (*map(Path, config["readable"]), *confine.own_directories())
        confine.confine(readable, target, None, _MEMORY)
    processes = int(config["processes"])
    children = [_started(config["sources"], first, processes) for first in range(processes)]
    for child in children:
        os.waitpid(child, 0)


def _started(sources: Sequence[str], first: int, step: int) -> int:
    """A process of its own: a file that makes the compiler crash takes the others of its process with it, and no
    more."""
    child = os.fork()
    if child == 0:
        for number in range(first, len(sources), step):
            _compile(sources[number], f"{number}.pyc")
        os._exit(0)
    return child


def _compile(source: str, target: str) -> None:
    try:
        py_compile.compile(source, cfile=target, doraise=True)
    except Exception:  # noqa: BLE001  templates, code for another Python, nesting without end: none is ever imported
        return
