"""Puts the bytecode of an environment's packages beside them: a confined worker cannot write it.

uv hard-links a package's files from its cache into every environment, so the same file is the same inode everywhere,
and what was compiled for one environment is linked into the next: compiling takes longer than all else together.
Test suites are left out: they are a third of the work, and nothing that serves imports them.

The compiler runs confined, in the base interpreter, and writes to a directory of its own. What it wrote there is taken
over as data.
"""
# os.path, because it is thousands of files:
# ruff: noqa: PTH103, PTH108, PTH118, PTH120

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import serinus_runtime
from serinus_runtime import written

from serinus import priority
from serinus.backends.uv.interpreters import Interpreter
from serinus.core.errors import Unavailable

_NOT_SERVED = frozenset({"tests", "test", "__pycache__"})
_SECONDS = 1800.0
_LARGEST = 64 << 20
_ENTRY = "import sys; sys.path.insert(0, {runtime!r}); from serinus_runtime.bytecode import main; main()"
_RUNTIME = str(Path(str(serinus_runtime.__file__)).parent.parent)


@dataclass(frozen=True, slots=True)
class Bytecode:
    """Keeps bytecode below `directory`. `confined`: whether the compiler is, as models are."""

    directory: Path
    confined: bool = True

    def provide(self, packages: Path, interpreter: Interpreter, keep_open: Sequence[int] = ()) -> tuple[int, int]:
        """For all sources below `packages`: how many they are, and how many had to be compiled. Raises Unavailable,
        OSError."""
        kept = self.directory / f"{_tag(interpreter)}-{interpreter.text}"
        kept.mkdir(mode=0o700, parents=True, exist_ok=True)
        sources = list(_sources(str(packages)))
        names = {source: _name(source) for source in sources}
        missing = [source for source in sources if not _linked(f"{kept}/{names[source]}", _beside(source, interpreter))]
        # What is there without being kept came with its package, which is as well.
        missing = [source for source in missing if not os.path.lexists(_beside(source, interpreter))]
        compiled = 0
        if missing:
            with tempfile.TemporaryDirectory(dir=kept, prefix=".compiling-", ignore_cleanup_errors=True) as made:
                self._compile(missing, packages, Path(made), interpreter, keep_open)
                for number, source in enumerate(missing):
                    target = f"{kept}/{names[source]}"
                    if _take(Path(made, f"{number}.pyc"), target):
                        compiled += _linked(target, _beside(source, interpreter))
        _forget_unused(str(kept))
        return len(sources), compiled

    def _compile(
        self, sources: Sequence[str], packages: Path, target: Path, interpreter: Interpreter, keep_open: Sequence[int]
    ) -> None:
        config = {
            "sources": sources,
            "readable": [str(packages)],
            "target": str(target),
            "processes": min(os.cpu_count() or 1, len(sources)),
            "confine": self.confined,
        }
        with tempfile.TemporaryFile() as told, tempfile.TemporaryFile() as errors:
            told.write(json.dumps(config).encode())
            told.seek(0)
            process = subprocess.Popen(
                [interpreter.path, "-I", "-S", "-c", _ENTRY.format(runtime=_RUNTIME), f"/proc/self/fd/{told.fileno()}"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                cwd=target,
                env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
                pass_fds=(told.fileno(), *keep_open),
                start_new_session=True,
            )
            try:
                priority.give_way(process.pid, 10)
                code = process.wait(_SECONDS)
            except subprocess.TimeoutExpired:
                code = -signal.SIGKILL
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            if code:
                errors.seek(0)
                last = (errors.read(1 << 16).decode(errors="replace").strip().splitlines() or ["it was killed"])[-1]
                raise Unavailable(f"the environment's bytecode could not be compiled: {last[:400]}.", delay=30)


def _sources(root: str) -> Iterator[str]:
    for directory, names, files in os.walk(root):
        names[:] = [name for name in names if name not in _NOT_SERVED]
        yield from (os.path.join(directory, name) for name in files if name.endswith(".py"))


def _tag(interpreter: Interpreter) -> str:
    return f"cpython-{interpreter.version[0]}{interpreter.version[1]}"


def _beside(source: str, interpreter: Interpreter) -> str:
    directory, name = os.path.split(source)
    return f"{directory}/__pycache__/{name[: -len('.py')]}.{_tag(interpreter)}.pyc"


def _name(source: str) -> str:
    seen = os.lstat(source)
    return f"{seen.st_ino}-{seen.st_mtime_ns}-{seen.st_size}.pyc"


def _take(source: Path, target: str) -> bool:
    """Copies a plain file that a confined process wrote; anything else is left."""
    try:
        content = written.content(source, _LARGEST)
    except (OSError, ValueError):
        return False
    new = f"{target}.{os.getpid()}.{threading.get_ident()}.new"
    with open(new, "wb") as file:  # noqa: PTH123
        file.write(content)
    os.replace(new, target)  # noqa: PTH105
    return True


def _linked(source: str, target: str) -> bool:
    try:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.link(source, target)
    except OSError:  # not there, there already, another file system, too many links: all the same to who asks
        return False
    return True


def _forget_unused(kept: str) -> None:
    """What no environment has any more."""
    with os.scandir(kept) as entries:
        for entry in entries:
            seen = entry.stat(follow_symlinks=False)
            if stat.S_ISREG(seen.st_mode) and seen.st_nlink == 1:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(entry.path)
