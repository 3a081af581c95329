"""A home, a host process on it, and releases whose worker does what a test says."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kept
import pytest
from waiting import wait_until

from serinus.core.errors import Unavailable
from serinus.core.home import Home
from serinus.core.placement import Placement, PlacementState
from serinus.core.release import USUAL, Release, Scale, ServingSettings
from serinus.lib.processes import identity
from serinus.targets.local.host import HostTarget, holder_command
from serinus.targets.local.host.state_files import StateFiles
from serinus.targets.local.host.unix_http import Answer, call

STANDIN = Path(__file__).parent / "standin"


def _patient(settings: ServingSettings) -> ServingSettings:
    """With a limit of its own where the test names none."""
    usual = settings.timeout_ms == ServingSettings().timeout_ms
    return replace(settings, timeout_ms=60_000) if usual else settings


class Hosted:
    """A home with hosts on it, and what a test asks of them."""

    def __init__(self, path: Path) -> None:
        self.home = Home(path)
        for directory in self.home.directories:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.home.secret.write_text(secrets.token_hex(16))
        self.target = HostTarget(self.home)
        self.process: subprocess.Popen[bytes] | None = None

    def command(self, *options: str) -> list[str]:
        return [sys.executable, "-m", "serinus.targets.local.host", "--home", str(self.home.path), *options]

    def start(self, *options: str, runtime: Path | None = STANDIN, **environ: str) -> None:
        chosen = ["--runtime", str(runtime)] if runtime else []
        with (self.home.logs / "host.log").open("ab") as log:
            command = self.command(*chosen, *options)
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **environ})
        wait_until(self.answers)

    def answers(self) -> bool:
        with suppress(Unavailable):
            self.target.observe()
            return True
        assert self.process is not None
        assert self.process.poll() is None, (self.home.logs / "host.log").read_text()
        return False

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(20)
        for worker in StateFiles(self.home).workers():
            if identity(worker.pid) == worker.identity:
                os.kill(worker.pid, signal.SIGKILL)

    def release(
        self, name: str = "fraud-1-aaaaaa", /, settings: ServingSettings | None = None, **behaviour: Any
    ) -> Release:
        artifact = self.home.artifacts / name
        artifact.mkdir(exist_ok=True)
        (artifact / "behaviour.json").write_text(json.dumps(behaviour))
        return Release(
            id=name,
            model="card fraud",
            version="1",
            artifact_digest=name,
            environment_digest=kept.environment(self.home),
            # The stand-in has no zygote: with the usual limit its activation would be too slow for scaling to zero.
            settings=_patient(settings or ServingSettings()),
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
        )

    def placed(self, name: str = "fraud-1-aaaaaa", /, scale: Scale = USUAL, **behaviour: Any) -> Placement:
        """A release that is ready."""
        release = self.release(name, **behaviour)
        self.target.place(release, scale)

        def ready(placement: Placement) -> bool:
            if placement.state is PlacementState.SCALED_TO_ZERO:  # this look came too late, on a busy machine
                self.target.activate(release.id)
            return placement.state is PlacementState.READY

        return self._once(release.id, ready)

    def come_up(self, release_id: str) -> Placement:
        """The placement once it has been ready: it may be scaled to zero again by then."""
        return self._once(release_id, lambda one: one.state in (PlacementState.READY, PlacementState.SCALED_TO_ZERO))

    def until(self, release_id: str, state: PlacementState, but: int | None = 0) -> Placement:
        """The placement, once it is in that state, with another pid than `but`."""
        return self._once(release_id, lambda one: one.state is state and one.pid != but)

    def _once(self, release_id: str, holds: Callable[[Placement], bool]) -> Placement:
        def there() -> Placement | None:
            placement = self.target.observe()[release_id]
            return placement if holds(placement) else None

        found = wait_until(there)
        assert isinstance(found, Placement)
        return found

    def ask(self, placement: Placement, timeout: float = 10.0, /, **body: Any) -> Answer:
        return call(Path(placement.endpoint), "POST", "/", json.dumps(body).encode(), {}, timeout)


@pytest.fixture(name="wait_until")
def waiting() -> Callable[..., Any]:
    return wait_until


@pytest.fixture
def hosted(tmp_path: Path) -> Iterator[Hosted]:
    """Not started yet: `hosted.start()`."""
    made = Hosted(tmp_path / "h")
    yield made
    made.stop()


@pytest.fixture
def host(hosted: Hosted) -> Hosted:
    """Started, for this test alone."""
    hosted.start()
    return hosted


@pytest.fixture
def holder(hosted: Hosted) -> Iterator[Callable[[], int]]:
    """A holder of its sockets, before it is started. Called: in the place of that one another, whose pid it answers."""
    running: list[subprocess.Popen[bytes]] = []

    def start() -> int:
        if running:
            running[-1].kill()
            running[-1].wait()
        hosted.home.holder_socket.unlink(missing_ok=True)
        running.append(subprocess.Popen(holder_command(hosted.home)))
        wait_until(hosted.home.holder_socket.exists)
        return running[-1].pid

    start()
    yield start
    running[-1].kill()
    running[-1].wait()


@pytest.fixture(scope="module")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosted]:
    made = Hosted(tmp_path_factory.mktemp("shared") / "h")
    made.start(SERINUS_TOKEN="t", AWS_SECRET_ACCESS_KEY="s", OPENBLAS_CORETYPE="Haswell")
    yield made
    made.stop()


@pytest.fixture
def shared(_shared: Hosted) -> Iterator[Hosted]:
    """One host for all tests of a module that leave it alive; each finds it empty, and the log its own."""
    (_shared.home.logs / "host.log").write_bytes(b"")
    yield _shared
    for release_id in _shared.target.observe():
        _shared.target.remove(release_id)
