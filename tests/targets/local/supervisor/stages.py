"""Homes with small real processes in them, and a supervisor's process that keeps what a test names."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serinus.core.home import Home
from serinus.targets.local.supervisor import kernel, state
from serinus.targets.local.supervisor.checks import Check, Silent
from serinus.targets.local.supervisor.launching import Launch
from serinus.targets.local.supervisor.process_manager import ProcessSpec
from serinus.targets.local.supervisor.settings import Settings
from serinus.targets.local.supervisor.version import installed

FOR_EVER = "import time; time.sleep(600)"

SUPERVISOR = """
import json, sys
from serinus.core.home import Home
from serinus.targets.local.supervisor import process
from serinus.targets.local.supervisor.process_manager import ProcessSpec
specs = [ProcessSpec(**spec) for spec in json.load(open(sys.argv[1]))]
process.installed = lambda: specs[0].version
sys.exit(process.supervise(Home(__import__("pathlib").Path(sys.argv[3])), specs))
"""


def python(code: str, *arguments: str) -> Sequence[str]:
    return (sys.executable, "-I", "-S", "-c", code, *arguments)


def listener(settings_file: Path) -> str:
    """Code of a process that listens on the home's port `api`, or exits with 7 where that is taken."""
    return f"""
import json, socket, sys
port = json.load(open({str(settings_file)!r}))["ports"]["api"]
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
try:
    server.bind(("127.0.0.1", port))
except OSError:
    sys.exit(7)
server.listen()
while True:
    server.accept()[0].close()
"""


def on_sigterm(then: str, ready: Path) -> str:
    """Code of a process that says in the file `ready` that it is up, and does `then` at SIGTERM."""
    return f"""
import os, signal, sys, time
def stop(*_):
    {then}
signal.signal(signal.SIGTERM, stop)
open({str(ready)!r}, "w").write(str(os.getpid()))
while True:
    time.sleep(0.05)
"""


@dataclass
class Clock:
    """Seconds that go on when the test says so."""

    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Stage:
    """A home, and the processes that `up` is to keep there."""

    home: Home
    specs: list[ProcessSpec] = field(default_factory=list)
    silent: list[Sequence[Silent]] = field(default_factory=list)
    """Models that do not answer: at each look, and the last one for ever. Empty: all do."""
    version: str = field(default_factory=installed)
    """Of the installation."""
    interpreter: str = sys.executable
    """By which the supervisor is started."""

    def add(self, name: str, code: str, **more: Any) -> None:
        self.specs.append(ProcessSpec(name, python(code), **{"version": self.version, **more}))

    def listens(self, name: str = "control") -> None:
        self.add(name, listener(self.home.settings))

    @property
    def launch(self) -> Launch:
        script, specs = (self.home.path.parent / f"{kind}-{self.version}" for kind in ("supervisor.py", "specs.json"))
        script.write_text(SUPERVISOR)
        fields = ("name", "command", "stop_seconds", "pre_stop", "version", "decides", "after")
        specs.write_text(json.dumps([{f: getattr(spec, f) for f in fields} for spec in self.specs]))
        words = (self.interpreter, str(script), str(specs))
        return Launch(words, self.checks, lambda *_: self._silent(), self.version, lambda _home: None)

    def _silent(self) -> Sequence[Silent]:
        return self.silent.pop(0) if len(self.silent) > 1 else self.silent[0] if self.silent else ()

    def checks(self, _home: Home, settings: Settings) -> Sequence[Check]:
        def answers() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", settings.ports["api"])) == 0

        return [Check("control", "api", answers)]

    def pid(self, name: str) -> int | None:
        record = state.find(self.home, name)
        return None if record is None else record.pid

    def pids(self) -> dict[str, int]:
        return {record.name: record.pid for record in state.running(self.home)}

    def shown(self, name: str) -> Any:
        return next(p for p in state.processes(self.home) if p["name"] == name)


def end_everything(home: Home) -> None:
    for seen in kernel.leaders(home.path).values():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(seen.pid, signal.SIGKILL)
