"""Processes under measurement: a group each, frozen while others are measured, stopped as a whole."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


class DidNotStart(Exception):
    """With the end of what it wrote."""


@dataclass(frozen=True)
class Usage:
    """Of several processes together."""

    cpu_seconds: float
    rss_mb: float
    pss_mb: float


class Group:
    """A command and all its children."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                command,
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
                cwd=log.parent,
            )

    def wait_for(self, where: int | Path, seconds: float = 60.0) -> None:
        """Until somebody listens at a port or a Unix socket. DidNotStart: it ended, or nobody does in time."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise DidNotStart(f"ended with {self.process.returncode}: {self.tail()}")
            if listens(where):
                return
            time.sleep(0.1)
        raise DidNotStart(f"does not listen after {seconds:.0f} s: {self.tail()}")

    def tail(self) -> str:
        return self._log.read_text(errors="replace").strip()[-400:]

    def pids(self) -> list[int]:
        return descendants([self.process.pid])

    def stop(self) -> None:
        pids = self.pids()
        thaw(pids)
        for number, patience in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
            signal_all(pids, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(patience)
        signal_all(pids, signal.SIGKILL)


def listens(where: int | Path) -> bool:
    family, address = (
        (socket.AF_UNIX, str(where)) if isinstance(where, Path) else (socket.AF_INET, ("127.0.0.1", where))
    )
    with socket.socket(family) as caller:
        caller.settimeout(1)
        return caller.connect_ex(address) == 0


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def freeze(pids: Iterable[int]) -> None:
    """They cost nothing until they are thawed."""
    signal_all(pids, signal.SIGSTOP)


def thaw(pids: Iterable[int]) -> None:
    signal_all(pids, signal.SIGCONT)


def signal_all(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def descendants(roots: Iterable[int]) -> list[int]:
    """`roots` and all that descend from them, each once, though one of `roots` may descend from another."""
    children: dict[int, list[int]] = {}
    for pid, parent in _parents().items():
        children.setdefault(parent, []).append(pid)
    found, todo = set(), list(roots)
    while todo:
        pid = todo.pop()
        if pid not in found:
            found.add(pid)
            todo += children.get(pid, [])
    return sorted(found)


def _parents() -> dict[int, int]:
    found = {}
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            with contextlib.suppress(OSError):
                found[int(directory.name)] = int(_stat(int(directory.name))[1])
    return found


def _stat(pid: int) -> list[str]:
    """Fields of `/proc/<pid>/stat` from the state on (proc(5)); the name before it may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def pss_mb_by_kind(pids: Iterable[int]) -> dict[str, float]:
    """Memory of what they are (`kind_of`)."""
    found: dict[str, float] = {}
    for pid in pids:
        if kind := kind_of(pid):
            found[kind] = found.get(kind, 0.0) + memory_of(pid).get("Pss", 0.0)
    return found


def usage(pids: Iterable[int]) -> Usage:
    """What they have used so far; of processes that ended meanwhile nothing is counted."""
    ticks, rss, pss = 0, 0.0, 0.0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = _stat(pid)
            ticks += int(fields[11]) + int(fields[12])  # utime, stime
        memory = memory_of(pid)
        rss += memory.get("Rss", 0.0)
        pss += memory.get("Pss", 0.0)
    return Usage(ticks / _TICKS, rss, pss)


_MODELS = ("worker", "zygote", "trial")


def kind_of(pid: int) -> str:
    """What a process of an installation is: `worker`, `zygote` or `trial` for those with a model's code, or the command
    that it runs. Empty where it has ended."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        output = Path(f"/proc/{pid}/fd/1").readlink().name
    except OSError:
        return ""
    module = next((word.partition("serinus_runtime.")[2].split()[0] for word in words if "from serinus_" in word), "")
    if module := module.removeprefix("process."):
        # A forked worker has its zygote's command line, but writes to a log of its own.
        forked = module == "zygote" and not output.startswith("zygote-")
        return "worker" if forked else module if module in _MODELS else "trial"
    if "-m" in words:
        named = words[words.index("-m") + 1 :]
        return " ".join(itertools.takewhile(lambda word: not word.startswith("-"), named)).removeprefix("serinus.")
    program = Path(words[0]).name
    script = next((word for word in words[1:] if word and not word.startswith("-")), program)
    return Path(script).name if program.startswith("python") else program


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time so far."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = _stat(pid)
            ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS


def memory_of(pid: int) -> dict[str, float]:
    """`Rss`, `Pss`, `Private_Dirty`... of `/proc/<pid>/smaps_rollup` in MB; empty where it may not be read."""
    found = {}
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
            name, _, rest = line.partition(":")
            found[name] = int(rest.split()[0]) / 1024
    return found
