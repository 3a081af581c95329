"""A small installation: the real store, desk, report and API; a registry, a log and a target that a test fills."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp
from waiting import wait_until

from serinus.api import create_app
from serinus.api.local import listening
from serinus.backends.sql import SqlStore
from serinus.core.errors import NotFound, Unavailable
from serinus.core.evidence import HourCounts, Totals, Traffic
from serinus.core.home import Home
from serinus.core.people import Access
from serinus.core.placement import Placement
from serinus.core.predictions import Imported, Label, Labels, OutcomeDay, OutcomeMatches
from serinus.core.release import Artifact, Column, Requirements, VersionRef
from serinus.core.storage import Stored
from serinus.engine import Desk, Disk, Report, World
from serinus.lib.servers import checking_peers

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
PROCESSES = ("collector", "control", "envoy", "host", "mlflow", "supervisor")


class SetClock:
    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> datetime:
        return self.time


class Registry:
    """Models -> their versions; the alias `challenger` is the last one, where there are aliases."""

    def __init__(self) -> None:
        self.versions: dict[str, list[str]] = {"card-fraud": ["5", "6", "7"], "merchant-risk": ["1", "2"]}
        self.away = False
        self.aliased = True

    def find(self, model: str, wanted: str) -> VersionRef:
        if self.away:
            raise Unavailable("MLflow does not answer", hint="Serving goes on.")
        there = self.versions.get(model, [])
        version = there[-1] if there and self.aliased and wanted.lstrip("@") == "challenger" else wanted
        if version not in there:
            raise NotFound(f"{model} has no version {wanted}", hint=f"The columns are: {', '.join(there) or 'none'}.")
        return VersionRef(model, version, "READY")

    def newest(self, model: str) -> VersionRef:
        return self.find(model, (self.versions.get(model) or ["1"])[-1])

    def run_file(self, ref: VersionRef, name: str) -> None:
        return None

    def fetch(self, ref: VersionRef) -> Artifact:
        inputs = (Column("amount", "double"), Column("country", "string"))
        return Artifact("a" * 64, Requirements((), "3.11"), inputs, None, "mlflow.sklearn")

    def aliases(self) -> Mapping[str, Mapping[str, str]]:
        return {model: {"challenger": versions[-1]} for model, versions in self.versions.items()}


class Fleet:
    def __init__(self) -> None:
        self.specs: dict[str, str] = {}

    def read(self, model: str) -> str | None:
        return self.specs.get(model)

    def write(self, model: str, text: str, *, who: str, why: str) -> str:
        self.specs[model] = text
        return "0" * 40


class Target:
    def __init__(self) -> None:
        self.placements: dict[str, Placement] = {}

    def observe(self) -> Mapping[str, Placement]:
        return self.placements


class Log:
    def __init__(self) -> None:
        self.traffics: dict[str, list[Traffic]] = {}
        self.counters: list[Totals] = []
        self.labels: dict[str, Label] = {}
        self.days: list[OutcomeDay] = []
        self.mark = ""
        self.asked: list[Mapping[str, float]] = []
        """Thresholds, each time that the days were read."""
        self.staged: dict[str, dict[int, Labels]] = {}
        self.kept: dict[str, int] = {}
        self.lost: list[str] = []
        self.counted_hours: list[HourCounts] = []

    def warnings(self) -> Sequence[str]:
        return self.lost

    def retain(self, model: str, days: int) -> None:
        self.kept[model] = days

    def totals(self) -> Mapping[str, Totals]:
        return {totals.release: totals for totals in self.counters}

    def counts(self, split: str) -> None:
        return None

    def hours(self, releases: Any, since: datetime) -> Sequence[HourCounts]:
        return [one for one in self.counted_hours if one.counts.release in releases]

    def disturbance(self, model: str) -> None:
        return None

    def traffic(self, model: str, seconds: float) -> Mapping[str, Traffic]:
        return {t.release: t for t in self.traffics.get(model, [])}

    def traffic_of_all(self, seconds: float) -> Mapping[str, Mapping[str, Traffic]]:
        return {model: self.traffic(model, seconds) for model in self.traffics}

    def label(self, labels: Iterable[Label]) -> int:
        before = dict(self.labels)
        self.labels.update({label.request_id: label for label in labels})
        return sum(before.get(key) != label for key, label in self.labels.items())

    def stage(self, import_id: str, number: int, part: Labels) -> None:
        self.staged.setdefault(import_id, {})[number] = part

    def attach(self, import_id: str) -> Imported:
        parts = self.staged.pop(import_id, None)
        if parts is None:
            raise NotFound("no such import of outcomes")
        names = Label.__slots__
        labels = [
            Label(*row) for n in sorted(parts) for row in zip(*(getattr(parts[n], x) for x in names), strict=True)
        ]
        return Imported(len(labels), self.label(labels), unknown=2, ambiguous=1)

    def discard(self, import_id: str) -> None:
        self.staged.pop(import_id, None)

    def outcomes_mark(self) -> str:
        return self.mark

    def outcome_days(self, thresholds: Mapping[str, float]) -> Sequence[OutcomeDay]:
        self.asked.append(thresholds)
        return [one for one in self.days if one.release in thresholds]

    def matches(self) -> OutcomeMatches:
        return OutcomeMatches(len(self.labels), unmatched=2, ambiguous=1)


class Callers:
    def __init__(self) -> None:
        self.keys: dict[str, str] = {}
        self.models: dict[str, Sequence[str] | None] = {}

    def admit(self, name: str, key: str, models: Sequence[str] | None = None) -> None:
        self.keys[name] = key
        self.models[name] = models

    def dismiss(self, name: str) -> None:
        self.keys.pop(name, None)


@dataclass
class Kept:
    """Directories by name, as a backend keeps them; `refused`: those that cannot be removed, and why."""

    root: Path
    kind: str
    refused: dict[str, OSError] = field(default_factory=dict)

    def add(self, name: str, bytes_: int = 4096, used_at: float = 0.0) -> Path:
        made = self.root / name
        made.mkdir(parents=True)
        (made / "file").write_bytes(b"x" * bytes_)
        os.utime(made, (used_at, used_at))
        return made

    def stored(self) -> list[Stored]:
        paths = sorted(self.root.iterdir()) if self.root.is_dir() else []
        return [Stored(path.name, (path,), path.stat().st_mtime) for path in paths]

    def remove(self, name: str, since: float) -> bool:
        if name in self.refused:
            raise self.refused[name]
        if not (self.root / name).is_dir() or (self.root / name).stat().st_mtime >= since:
            return False
        shutil.rmtree(self.root / name)
        return True


@dataclass
class Installation:
    home: Home
    registry: Registry = field(default_factory=Registry)
    fleet: Fleet = field(default_factory=Fleet)
    target: Target = field(default_factory=Target)
    log: Log = field(default_factory=Log)
    clock: SetClock = field(default_factory=SetClock)
    callers: Callers = field(default_factory=Callers)
    trouble: dict[str, Sequence[str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    addresses: dict[str, str] = field(default_factory=dict)
    processes: list[Mapping[str, Any]] = field(default_factory=list)
    always: list[str] = field(default_factory=list)
    """Environments that are always needed."""

    def __post_init__(self) -> None:
        self.home.logs.mkdir(parents=True, exist_ok=True)
        self.home.secret.write_text(secrets.token_hex(32))
        self.store = SqlStore(f"sqlite:///{self.home.store}")
        self.processes = [process(name) for name in PROCESSES]
        unused = cast(Any, None)
        self.world = World(
            registry=cast(Any, self.registry),
            environments=unused,
            compiler=unused,
            target=cast(Any, self.target),
            router=unused,
            log=cast(Any, self.log),
            fleet=cast(Any, self.fleet),
            trials=unused,
            scorer=unused,
            store=self.store,
            clock=self.clock,
            disk=self.home.path,
        )
        self.desk = Desk(self.world)
        self.report = Report(
            self.world,
            trouble=lambda: self.trouble,
            processes=lambda: self.processes,
            addresses=self.addresses,
            warnings=lambda: self.warnings,
            confinement="Landlock ABI 7, system-call allow-list, no user namespaces",
        )
        self.stored = [Kept(self.home.environments, "environments"), Kept(self.home.artifacts, "artifacts")]
        self.disk = Disk(self.world, self.stored, {"store": [self.home.store]}, lambda: self.always)

    def app(self, *hosts: str, callers: bool = True) -> ASGIApp:
        return create_app(
            home=self.home,
            world=self.world,
            desk=self.desk,
            report=self.report,
            disk=self.disk,
            allowed_hosts=hosts,
            callers=self.callers if callers else None,
        )

    def token(self, name: str = "anna", access: Access = Access.ADMIN) -> str:
        return self.store.issue_token(name, access, self.clock.now())

    def close(self) -> None:
        self.store.close()


def process(name: str, state: str = "running", restarts: int = 0, reason: str = "") -> Mapping[str, Any]:
    since = NOW.timestamp() - 3600
    return {"name": name, "state": state, "pid": 4242, "restarts": restarts, "since": since, "reason": reason}


@contextmanager
def serving(installation: Installation) -> Iterator[str]:
    """The API on a port of its own and on the home's socket, by a real server in a thread; its address."""
    installation.home.sockets.mkdir(mode=0o700, exist_ok=True)
    with socket.socket() as listener, listening(installation.home.api_socket) as local:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        host = f"127.0.0.1:{listener.getsockname()[1]}"
        installation.addresses.update(api=f"http://{host}", mlflow="http://127.0.0.1:5000")
        config = uvicorn.Config(
            installation.app(host, "127.0.0.1"), log_level="warning", access_log=False, timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(checking_peers(config))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener, local]}, daemon=True)
        thread.start()
        wait_until(lambda: server.started)
        try:
            yield f"http://{host}"
        finally:
            server.should_exit = True
            thread.join(timeout=10)


def make_home(path: Path) -> Home:
    home = Home(path)
    home.path.mkdir(parents=True, exist_ok=True)
    return home
