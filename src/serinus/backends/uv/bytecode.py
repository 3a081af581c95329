"""Compiles the packages of an environment. A script that the environment's own interpreter runs, 3.8 or newer.

uv hard-links a package's files from its cache into every environment, so the same file is the same inode everywhere,
and what was compiled for one environment is linked into the next: compiling takes longer than all else together.
Test suites are left out: they are a third of the work, and nothing that serves imports them.

    python -I -S bytecode.py SITE_PACKAGES KEPT_DIRECTORY

-S, because a package may bring a .pth file, whose code would otherwise run here, unconfined.
"""
# os.path, because it is thousands of files:
# ruff: noqa: PTH103, PTH108, PTH116, PTH118, PTH120

from __future__ import annotations

import concurrent.futures
import functools
import importlib.util
import os
import py_compile
import sys
from collections.abc import Iterator

_NOT_SERVED = frozenset({"tests", "test", "__pycache__"})


def sources(root: str) -> Iterator[str]:
    for directory, names, files in os.walk(root):
        names[:] = [name for name in names if name not in _NOT_SERVED]
        yield from (os.path.join(directory, name) for name in files if name.endswith(".py"))


def provide(kept_directory: str, source: str) -> bool:
    """Puts the bytecode of `source` beside it; whether it had to be compiled."""
    seen = os.stat(source)
    kept = f"{kept_directory}/{seen.st_ino}-{seen.st_mtime_ns}-{seen.st_size}.pyc"
    target = importlib.util.cache_from_source(source)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if _linked(kept, target):
        return False
    try:
        py_compile.compile(source, cfile=target, doraise=True)
    except (py_compile.PyCompileError, SyntaxError, ValueError):
        return False  # a template, or code for another Python: packages hold such files, and never import them
    _linked(target, kept)
    return True


def _linked(source: str, target: str) -> bool:
    try:
        os.link(source, target)
    except OSError:  # not there, there already, another file system, too many links: all the same to who asks
        return False
    return True


def forget_unused(kept_directory: str) -> None:
    """What no environment has any more."""
    with os.scandir(kept_directory) as entries:
        for entry in entries:
            if entry.stat().st_nlink == 1:
                os.unlink(entry.path)


def main() -> None:
    root, kept = sys.argv[1:]
    kept = f"{kept}/{sys.implementation.cache_tag}-{importlib.util.MAGIC_NUMBER.hex()}"
    os.makedirs(kept, exist_ok=True)
    os.nice(10)  # models are being served on the same machine
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count()) as pool:
        compiled = list(pool.map(functools.partial(provide, kept), list(sources(root)), chunksize=32))
    forget_unused(kept)
    print(f"{len(compiled)} {sum(compiled)}")


if __name__ == "__main__":
    main()
