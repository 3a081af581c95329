"""What every server under measurement is to the bench, and how a peer's environment comes to be."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol as Interface

from bench import HERE, SCRATCH
from bench.processes import DidNotStart, Group, free_port
from bench.requests import Protocol

UV = str(Path(sys.executable).parent / "uv")
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class Server(Interface):
    """One server that serves one case's model. `start` raises DidNotStart."""

    name: str
    protocol: Protocol
    port: int

    def start(self) -> None: ...
    def pids(self) -> Sequence[int]: ...
    def stop(self) -> None: ...


@dataclass(frozen=True)
class Launch:
    command: Sequence[str]
    environment: dict[str, str]
    protocol: Protocol


class Launched:
    """A server that is a command, listening on a port. `how(port, directory)`: its command; `directory` is its own."""

    def __init__(self, name: str, case: str, how: Callable[[int, Path], Launch]) -> None:
        self.name, self.port = name, free_port()
        self._directory = SCRATCH / "run" / re.sub(r"\W+", "-", f"{case} {name}").lower()
        self._how = how
        self._group: Group | None = None

    def start(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        launch = self._how(self.port, self._directory)
        self.protocol = launch.protocol
        self._group = Group(launch.command, self._directory / "log", {**ONE_THREAD, **launch.environment})
        try:
            self._group.wait_for(self.port)
        except DidNotStart:
            self.stop()
            raise

    def pids(self) -> Sequence[int]:
        return self._group.pids() if self._group else []

    def stop(self) -> None:
        if self._group is not None:
            self._group.stop()
            self._group = None


def python_of(peer: str) -> Path:
    """The interpreter of `peer`'s own environment, built by its lock where it is not there. DidNotStart: it fails."""
    directory, lock = SCRATCH / "envs" / peer, HERE / "peers" / peer / "requirements.txt"
    python = directory / "bin" / "python"
    if (directory / "complete").exists():
        return python
    for words in (
        ["venv", "--clear", "--python", "3.11", str(directory)],
        ["pip", "install", "--compile-bytecode", "--no-deps", "--require-hashes", "-p", str(python), "-r", str(lock)],
    ):
        done = subprocess.run([UV, *words, "--quiet"], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise DidNotStart(f"its environment cannot be built: {done.stderr.strip()[-300:]}")
    (directory / "complete").touch()
    return python
