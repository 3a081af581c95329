"""Compiles source files of an environment to bytecode. A compiler reads foreign code, so the process is confined.

    python -I -S -c "... from serinus_runtime.trials.bytecode import main; main()" config.json

config: {"groups": [[path..]..], "readable": [directory..], "target", "processes", "confine", "root"}. The bytecode of
`groups[m][n]` becomes `target/<m>/<n>.pyc`, except for files that cannot be compiled. Nothing of the environment is
imported, and nothing outside `target` can be written.

`root`: null, or a directory above all sources. With a directory, the bytecode depends only on the content of the
sources and their paths below it. Files for which Python does not write the same bytecode each time are left out.

Each group is compiled by a process of its own, which can write to the group's directory only. A source file that takes
over the compiler can forge the bytecode of its own group and of no other.
"""

from __future__ import annotations

import importlib.util
import json
import marshal
import os
import py_compile
import sys
from pathlib import Path
from types import CodeType
from typing import Sequence

from serinus_runtime.isolation import confine, permitted

_MEMORY = 4 << 30
_UNCHECKED_HASH = b"\1\0\0\0"
_NO_REFERENCES = 2
"""The last version of the format that has none."""


def main() -> None:
    """Compiles all groups."""
    config = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    target = Path(config["target"])
    confine.prepare(target)
    readable = (*map(Path, config["readable"]), *confine.own_directories())
    if config["confine"]:
        confine.confine(readable, target, None, _MEMORY, kind=permitted.ZYGOTE)
    root = config.get("root")
    running = 0
    for number, sources in enumerate(config["groups"]):
        Path(str(number)).mkdir(0o700)
        if running == config["processes"]:
            os.wait()
            running -= 1
        _start(sources, str(number), readable if config["confine"] else None, root)
        running += 1
    for _ in range(running):
        os.wait()


def _start(sources: Sequence[str], directory: str, readable: Sequence[Path] | None, root: str | None) -> None:
    """Starts a process. A file that makes the compiler crash affects the rest of its group only."""
    if os.fork() == 0:
        code = 1
        try:
            if readable is not None:
                confine.confine(readable, Path(directory), None)
            for number, source in enumerate(sources):
                _compile(source, f"{directory}/{number}.pyc", root)
            code = 0
        finally:
            os._exit(code)


def _compile(source: str, target: str, root: str | None) -> None:
    try:
        if root is None:
            py_compile.compile(source, cfile=target, doraise=True)
        else:
            _compile_reproducibly(source, target, root)
    except Exception:  # noqa: BLE001  templates, code for another Python, nesting without end: none is ever imported
        return


def _compile_reproducibly(source: str, target: str, root: str) -> None:
    content = Path(source).read_bytes()
    # An import puts the real path in the place of this one.
    code = compile(content, os.path.relpath(source, root), "exec", dont_inherit=True)
    if _has_order(code):
        # PEP 552: the bytecode is valid whatever the time of its source is. References to objects that were written
        # before are left out, since they depend on what else the process has in memory.
        head = importlib.util.MAGIC_NUMBER + _UNCHECKED_HASH + importlib.util.source_hash(content)
        Path(target).write_bytes(head + marshal.dumps(code, _NO_REFERENCES))


def _has_order(code: CodeType) -> bool:
    """Whether every process writes `code` in the same order. Before Python 3.11, sets of strings have no order."""
    if sys.version_info >= (3, 11):
        return True
    return all(
        _has_order(one) if isinstance(one, CodeType) else not isinstance(one, frozenset) or len(one) < 2
        for one in code.co_consts
    )
