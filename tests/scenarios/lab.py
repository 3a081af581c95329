"""A whole world in memory, in virtual time, around the real engine, desk, judge, gates, spec and SQL store.

What is simulated is only what lies behind the ports of traffic and files: requests, releases, the registry, Git.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor, Future
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from memory_log import MemoryLog
from serinus_runtime.base.errors import StartFailure
from serinus_runtime.trials import rows_file

from serinus.backends.sql import SqlStore
from serinus.core.disturbance import Disturbance
from serinus.core.errors import InvalidInput, NotFound, TemporaryError, Unavailable, Unbuildable
from serinus.core.evidence import ArmCounts, HourCounts, Traffic
from serinus.core.examination import GivenRows, Question, ReadRows, Rehearsal, VersionDifference
from serinus.core.merged import Merged, MergedFile
from serinus.core.people import Access, Actor
from serinus.core.placement import Placement, PlacementState, Recorded
from serinus.core.predictions import AnsweredRequest, Mark, OwnAnswer
from serinus.core.release import (
    USUAL,
    Artifact,
    Column,
    Compiled,
    Environment,
    Release,
    Requirements,
    Scale,
    VersionRef,
)
from serinus.core.rollout import Phase, Rollout
from serinus.core.routing import WHOLE, Routing
from serinus.engine import Desk, Engine, Rechecker, World
from serinus.engine.news import News
from serinus.engine.reconcile.jobs import Jobs

MODEL, OTHER = "fraud", "scoring"
TICK = 4.0


class Killed(BaseException):
    """`kill -9`: nothing catches it."""


@dataclass
class Behaviour:
    """How a version behaves under traffic. Shares of its requests."""

    errors: float = 0.0
    slow: float = 0.0
    alerts: float = 0.005
    missing: float = 0.0
    loads: bool = True
    pickles: tuple[str, ...] = ()
    recall: float = 0.9
    way: str = "mlflow"
    """Of a release that is not compiled."""
    asked: bool = True
    """False: no row can be made to ask it with."""
    silent: tuple[str, ...] = ()
    """Protocols by which it gives no answer."""
    otherwise: tuple[str, ...] = ()
    """Protocols by which it answers otherwise than its own predict."""
    seconds: float = 0.002
    answers: int | None = None
    """To any number of rows; None: a row each."""
    versions: tuple[VersionDifference, ...] = ()
    labels: bool = False
    """It answers 0 and 1."""


class VirtualClock:
    def __init__(self) -> None:
        self.time = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time


class Inline(Executor):
    """Runs a job when it is submitted: virtual time does not wait for threads."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001  as an executor does
            future.set_exception(error)
        return future


class Late(Executor):
    """Runs a job when it is submitted, and answers `delay` later in virtual time. None: when it is told to."""

    def __init__(self, clock: VirtualClock, delay: timedelta | None) -> None:
        self._clock = clock
        self.delay = delay
        self._waiting: list[tuple[datetime, Future[Any], Future[Any]]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._waiting.append((self._clock.now(), future, Inline().submit(fn, *args, **kwargs)))
        return future

    def answer(self) -> None:
        """Answers what is due."""
        waiting, self._waiting = self._waiting, []
        for since, future, done in waiting:
            if self.delay is None or self._clock.now() - since < self.delay:
                self._waiting.append((since, future, done))
            elif error := done.exception():
                future.set_exception(error)
            else:
                future.set_result(done.result())


@dataclass
class FakeRegistry:
    files: Path
    behaviours: dict[str, Behaviour] = field(default_factory=dict)
    alias: dict[str, dict[str, str]] = field(default_factory=dict)
    away: bool = False
    setters: dict[tuple[str, str], str] = field(default_factory=dict)
    """(alias, version) -> who has set it."""
    deleted: set[str] = field(default_factory=set)
    """Versions."""
    finds: int = 0
    tags: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    """(model, version) -> its tags."""

    def delete(self, version: str) -> None:
        """As MLflow does it: with the aliases of that version."""
        self.deleted.add(version)
        for model, found in self.alias.items():
            self.alias[model] = {alias: value for alias, value in found.items() if value != version}

    def register(self, version: str, behaviour: Behaviour) -> None:
        self.behaviours[version] = behaviour
        directory = self.files / version
        directory.mkdir(parents=True, exist_ok=True)
        rows = [[float(n), n / 7] for n in range(400)]
        labels = [1 if n % 4 == 0 else 0 for n in range(400)]
        lines = ["a,b,label", *(f"{a},{b},{label}" for (a, b), label in zip(rows, labels, strict=True))]
        (directory / "evaluation.csv").write_text("\n".join(lines))
        golden = {"columns": ["a", "b"], "rows": rows[:20], "scores": [score_of(behaviour, row) for row in rows[:20]]}
        (directory / "golden.json").write_text(json.dumps(golden))

    def _answer(self) -> None:
        if self.away:
            raise Unavailable("the registry does not answer")

    def find(self, model: str, version_or_alias: str) -> VersionRef:
        self._answer()
        self.finds += 1
        name = version_or_alias.lstrip("@")
        version = name if name.isdigit() else self.alias.get(model, {}).get(name, "")
        if model not in {MODEL, OTHER, *self.alias} or version not in self.behaviours or version in self.deleted:
            raise NotFound(f"{model} has no version or alias {version_or_alias}")
        return VersionRef(model, version, "READY", run_id=version)

    def newest(self, model: str) -> VersionRef:
        return self.find(model, max(self.behaviours, key=int, default="1"))

    def aliases(self) -> Mapping[str, Mapping[str, str]]:
        self._answer()
        return {model: dict(found) for model, found in self.alias.items()}

    def who_set(self, model: str, alias: str, version: str) -> str:
        return self.setters.get((alias, version), "")

    def set_alias(self, model: str, alias: str, version: str) -> None:
        self._answer()
        if version in self.deleted:
            raise NotFound(f"{model} has no version {version}")
        self.alias.setdefault(model, {})[alias] = version

    def drop_alias(self, model: str, alias: str) -> None:
        self._answer()
        self.alias.setdefault(model, {}).pop(alias, None)

    def set_tags(self, model: str, version: str, tags: Mapping[str, str]) -> None:
        self._answer()
        if version not in self.behaviours or version in self.deleted:
            raise NotFound(f"{model} has no version {version}")
        self.tags.setdefault((model, version), {}).update(tags)

    def fetch(self, ref: VersionRef) -> Artifact:
        self._answer()
        return Artifact(
            digest=f"artifact-{ref.version}",
            requirements=Requirements(("mlflow",), "3.11"),
            inputs=(Column("a", "double"), Column("b", "double")),
            outputs=None,
            flavor="fake",
        )

    def run_file(self, ref: VersionRef, name: str) -> Path | None:
        path = self.files / ref.version / name
        return path if path.exists() else None


def score_of(behaviour: Behaviour, row: Sequence[Any]) -> float:
    """Frauds (every fourth row) score high, but for the share that this version misses."""
    number = int(row[0])
    fraud = number % 4 == 0
    caught = (number // 4) % 100 < 100 * behaviour.recall
    if behaviour.labels:
        return float(fraud and caught)
    return (0.9 if fraud and caught else 0.1) + number * 1e-5


@dataclass
class FakeEnvironments:
    def prepare(
        self, requirements: Requirements, loads: Callable[[Environment], str | None], say: Callable[[str], None]
    ) -> Environment:
        environment = Environment("environment-1", "3.11.7")
        say("built")
        loads(environment)
        return environment


@dataclass(frozen=True)
class Compilation:
    compiled: Compiled | None = None
    reason: str = ""
    proof: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class FakeCompiler:
    """Compiles the versions in `differing`: each differs from its model in so many rows."""

    differing: dict[str, int] = field(default_factory=dict)
    asked: list[tuple[Sequence[str], int]] = field(default_factory=list)
    """Columns and number of rows."""
    used: list[set[str]] = field(default_factory=list)
    """As it was told, each time."""
    condemned: set[str] = field(default_factory=set)

    def distrust(self, digest: str) -> None:
        self.condemned.add(digest)

    def prepare(self) -> None: ...

    def sweep(self, used: Collection[str]) -> None:
        self.used.append(set(used))

    def compile(
        self,
        artifact: Artifact,
        environment: Environment,
        columns: Sequence[str],
        rows: Sequence[Sequence[Any]],
        say: Callable[[str], None],
    ) -> Compilation:
        self.asked.append((list(columns), len(rows)))
        version = _version(artifact.digest)
        differing = self.differing.get(version)
        if differing is None:
            return Compilation(reason="custom Python models cannot be compiled")
        if f"graph-{version}" in self.condemned:
            return Compilation(reason="in production its graph answered differently from the model itself")
        proof = {"rows": 100, "own": 3, "differing": list(range(differing)), "largest": 0.01 * differing}
        scores: dict[str, Any] = {"original": [0.1, 0.2, 0.9], "compiled": [0.1, 0.2, 0.9]}
        compiled = Compiled(f"graph-{version}", "compiled-environment")
        return Compilation(compiled, proof={**proof, "refusals": [], "alone": [], **scores})


@dataclass
class FakeTarget:
    behaviours: Mapping[str, Behaviour]
    placed: dict[str, Release] = field(default_factory=dict)
    away: bool = False
    scales: dict[str, Scale] = field(default_factory=dict)
    unsettled: dict[str, str] = field(default_factory=dict)
    """Version -> why it must not get more traffic."""
    unscaled: dict[str, str] = field(default_factory=dict)
    """Versions of which workers still have the scale before, and what the target says of that."""
    crashes: dict[str, int] = field(default_factory=dict)
    """How many workers of a version ended in a row."""
    at_zero: set[str] = field(default_factory=set)
    """Versions."""
    long: set[str] = field(default_factory=set)
    """Releases."""
    lost: set[str] = field(default_factory=set)
    """Digests of artifacts."""
    workers: dict[str, int] = field(default_factory=dict)
    """Version -> workers that are ready. A version that is missing does not say how large it is."""
    most: dict[str, int] = field(default_factory=dict)
    expected: dict[str, int] = field(default_factory=dict)
    """Release -> workers."""
    without_room: bool = False
    """No further worker becomes ready."""
    history: list[str] = field(default_factory=list)

    def distrust(self, release_id: str) -> None:
        self.long.add(release_id)
        self.history.append(f"distrust {release_id}")

    def place(self, release: Release, scale: Scale = USUAL) -> None:
        self.placed[release.id], self.scales[release.id] = release, scale
        self.history.append(f"place {release.id}")

    def remove(self, release_id: str) -> None:
        self.placed.pop(release_id, None)
        self.history.append(f"remove {release_id}")

    def expect(self, release_id: str, workers: int) -> None:
        self.expected[release_id] = workers
        self.history.append(f"expect {release_id} {workers}")

    def activate(self, release_id: str) -> None:
        self.at_zero.discard(self.placed[release_id].version)
        self.history.append(f"activate {release_id}")

    def holds(self, release: Release) -> bool:
        return release.artifact_digest not in self.lost

    def observe(self) -> Mapping[str, Placement]:
        if self.away:
            raise Unavailable("the host does not answer")
        return {r.id: self._placement(r) for r in self.placed.values()}

    def _placement(self, release: Release) -> Placement:
        loads = self.behaviours[release.version].loads
        up = PlacementState.SCALED_TO_ZERO if release.version in self.at_zero else PlacementState.READY
        state = up if loads else PlacementState.FAILED
        reason = self.unscaled.get(release.version, "") if loads else "ImportError"
        long = release.id in self.long
        way = "onnx" if release.compiled and not long else self.behaviours[release.version].way
        endpoint = f"/sockets/{release.id}"
        placed = Placement(release.id, state, reason, endpoint, 1, 100_000_000, load_seconds=0.1, warm_up_ms=1.0)
        scaled = release.version not in self.unscaled
        placed = replace(placed, scale=self.scales.get(release.id), scaled=scaled)
        placed = replace(placed, crashes=self.crashes.get(release.version, 0))
        placed = replace(placed, unsettled=self.unsettled.get(release.version, ""))
        placed = self._sized(placed, release.version)
        return replace(placed, way="mlflow" if long else way, long=long)

    def _sized(self, placed: Placement, version: str) -> Placement:
        """Those that are expected are ready at the next look."""
        workers, expected = self.workers.get(version), self.expected.get(placed.release, 0)
        if workers is None:
            return replace(placed, expected=expected)
        most = self.most.get(version, 10)
        if not self.without_room:
            self.workers[version] = max(workers, min(expected, most))
        return replace(placed, expected=expected, workers=workers, capacity=workers, most=most)


@dataclass
class FakeRecording:
    """Of what `target` was told to run, as Git and Argo CD keep it. `also`: what is in Git, and does not run."""

    target: FakeTarget
    also: dict[str, Recorded] = field(default_factory=dict)
    away: bool = False

    def recorded(self) -> Sequence[Recorded]:
        if self.away:
            raise Unavailable("the Git server does not answer")
        runs = {one.id: Recorded(one, self.target.scales.get(one.id, USUAL)) for one in self.target.placed.values()}
        return list({**self.also, **runs}.values())


@dataclass
class FakeRouter:
    routings: dict[str, Routing] = field(default_factory=dict)
    history: list[Routing] = field(default_factory=list)
    away: bool = False
    probed: dict[str, str] = field(default_factory=dict)
    retired: set[str] = field(default_factory=set)

    def apply(self, routing: Routing) -> None:
        if self.away:
            raise Unavailable("the router does not answer")
        self.routings[routing.model] = routing
        self.retired.discard(routing.model)
        self.history.append(routing)

    def in_force(self, model: str) -> Routing | None:
        if self.away:
            raise Unavailable("the router does not answer")
        return self.routings.get(model)

    def all_in_force(self) -> Mapping[str, Routing]:
        if self.away:
            raise Unavailable("the router does not answer")
        return dict(self.routings)

    def remove(self, model: str) -> None:
        self.routings.pop(model, None)
        self.retired.discard(model)

    def retire(self, model: str) -> None:
        if self.away:
            raise Unavailable("the router does not answer")
        self.routings.pop(model, None)
        self.retired.add(model)

    def probe(self, release: Release, endpoint: str, timeout_ms: int) -> str:
        if self.away:
            raise Unavailable("the router does not answer")
        self.probed[release.model] = release.id
        return f"/sockets/probe-{release.id}"

    def end_probe(self, model: str) -> None:
        self.probed.pop(model, None)


@dataclass
class FakeLog(MemoryLog):
    """Counts also what a seeded simulation of callers gives, where every request is another entity's."""

    counted: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)
    live: dict[str, dict[str, int]] = field(default_factory=dict)
    """Of followed releases."""
    by_hour: dict[tuple[int, str], dict[str, int]] = field(default_factory=dict)
    answered: list[AnsweredRequest] = field(default_factory=list)
    """What `sample` draws from as well."""
    away: bool = False
    blind: bool = False
    disturbed: Disturbance | None = None
    """What is served meanwhile is set aside."""
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(7))
    served: list[tuple[datetime, str, int, int]] = field(default_factory=list)
    """Time, release, requests, errors; also of what is set aside."""

    def counts_of_all(self, splits: Collection[str]) -> Mapping[str, Mapping[str, ArmCounts]]:
        self._answers()
        found = {} if self.blind else super().counts_of_all(splits)
        return {split: {**_arms(self.counted.get(split, {})), **counts} for split, counts in found.items()}

    def followed(self) -> Mapping[str, ArmCounts] | None:
        self._answers()
        simulated = {release: _live_counts(release, c) for release, c in self.live.items()}
        return None if self.blind else {**simulated, **(super().followed() or {})}

    def hours(self, releases: Collection[str], since: datetime) -> Sequence[HourCounts]:
        first = int(since.timestamp() // 3600)
        simulated = [
            HourCounts(hour, _live_counts(release, c))
            for (hour, release), c in sorted(self.by_hour.items())
            if release in releases and hour >= first
        ]
        return [*simulated, *super().hours(releases, since)]

    def disturbance(self, model: str) -> Disturbance | None:
        return self.disturbed or super().disturbance(model)

    def traffic(self, model: str, seconds: float) -> Mapping[str, Traffic]:
        """Simulated is that of `MODEL` alone, since the time that the clock tells, in whole minutes."""
        found = dict(super().traffic(model, seconds))
        first = 60 * (self.now().timestamp() // 60 - math.ceil(seconds / 60))
        since, seconds = datetime.fromtimestamp(first, UTC), self.now().timestamp() - first
        for at, release, requests, errors in self.served:
            if at >= since:
                was = found.get(release, Traffic(release, 0, seconds, 0, None, None))
                found[release] = replace(was, requests=was.requests + requests, errors=was.errors + errors)
        return found

    def traffic_of_all(self, seconds: float) -> Mapping[str, Mapping[str, Traffic]]:
        found = {**super().traffic_of_all(seconds), MODEL: self.traffic(MODEL, seconds)}
        return {model: traffic for model, traffic in found.items() if traffic}

    def sample(
        self, releases: Collection[str], after: Mark | None, most: int
    ) -> tuple[Mark, Sequence[AnsweredRequest]]:
        self._answers()
        new, self.answered = self.answered, []
        mark, found = super().sample(releases, after, most)
        return mark, [*found, *[request for request in new if request.release in releases][:most]]

    def _answers(self) -> None:
        if self.away:
            raise Unavailable("the prediction log does not answer")

    def serve(self, routing: Routing, requests: int, behaviours: Mapping[str, Behaviour], at: datetime) -> None:
        for arm in routing.arms:
            n = int(self.random.binomial(requests, arm.weight / WHOLE))
            how = behaviours[arm.release.rsplit("-", 2)[1]]
            if self.disturbed is not None:
                aside = self.counted.setdefault(routing.split, {}).setdefault(arm.release, {})
                cause = f"aside.{self.disturbed.cause}"
                aside[cause] = aside.get(cause, 0) + n
                self.served.append((at, arm.release, n, 0))
                continue
            drawn = {"errors": how.errors, "slow": how.slow, "alerts": how.alerts, "missing": how.missing}
            new = {kind: int(self.random.binomial(n, share)) for kind, share in drawn.items()} | {"requests": n}
            self.served.append((at, arm.release, n, new["errors"]))
            counted = [self.counted.setdefault(routing.split, {}).setdefault(arm.release, {})]
            if arm.release in self.follows:
                hour = int(at.timestamp() // 3600), arm.release
                counted += [self.live.setdefault(arm.release, {}), self.by_hour.setdefault(hour, {})]
            for counts in counted:
                for kind, many in new.items():
                    counts[kind] = counts.get(kind, 0) + many


def _arms(counted: Mapping[str, Mapping[str, int]]) -> Mapping[str, ArmCounts]:
    return {release: _arm_counts(release, c) for release, c in counted.items()}


def _live_counts(release: str, c: Mapping[str, int]) -> ArmCounts:
    counts = _arm_counts(release, c)
    windows = {kind: many for kind, many in counts.first_in_step.items() if kind != "entities"}
    return replace(counts, first_in_step={}, first_in_rollout={}, first_in_window=windows)


def _arm_counts(release: str, c: Mapping[str, int]) -> ArmCounts:
    first = {kind: c.get(kind, 0) for kind in ("errors", "slow", "alerts", "missing")}
    first |= {"fallbacks": 0, "entities": c.get("requests", 0)}
    requests = c.get("requests", 0)
    return ArmCounts(
        release=release,
        requests=requests,
        answered=requests - c.get("errors", 0),
        rows=requests,
        errors=c.get("errors", 0),
        slow=c.get("slow", 0),
        alerts=c.get("alerts", 0),
        missing=c.get("missing", 0),
        set_aside={name.removeprefix("aside."): n for name, n in c.items() if name.startswith("aside.")},
        first_in_step=first,
        first_in_rollout=first,
    )


@dataclass
class FakeFleet:
    specs: dict[str, str] = field(default_factory=dict)
    published: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    commits: list[tuple[str, str, str]] = field(default_factory=list)
    """(model, who, why)"""
    pushes: int = 0
    brought: list[Merged] = field(default_factory=list)
    covered: set[int] = field(default_factory=set)
    """Which of them Serinus has written over."""

    def read(self, model: str) -> str | None:
        return self.specs.get(model)

    def write(self, model: str, text: str, *, who: str, why: str) -> str:
        self.specs[model] = text
        return "c0"

    def publish(self, model: str, live: Mapping[str, Any], *, who: str, why: str) -> str:
        if self.published.get(model) != live:
            self.published[model] = dict(live)
            self.commits.append((model, who, why))
            live_ones = [(one.model, one.kind) == (model, MergedFile.LIVE) for one in self.brought]
            self.covered |= {number for number, is_live in enumerate(live_ones) if is_live}
        return f"c{len(self.commits)}"

    def push(self, model: str, live: Mapping[str, Any] | None) -> None:
        """By hand."""
        self.pushes += 1
        if live is None:
            self.published.pop(model, None)
        else:
            self.published[model] = live

    def changes(self, since: str | None) -> tuple[str, Collection[str] | None]:
        return self._head(), () if since == self._head() else None

    def live(self, model: str) -> Mapping[str, Any] | None:
        return self.published.get(model)

    def all_live(self) -> Mapping[str, Mapping[str, Any]]:
        return dict(self.published)

    def merge(self, one: Merged) -> None:
        """By a person, on the server."""
        self.brought.append(one)
        if one.kind is MergedFile.SPEC and one.text is not None:
            self.specs[one.model] = one.text
        elif one.kind is MergedFile.SPEC:
            self.specs.pop(one.model, None)
        else:
            self.push(one.model, yaml.safe_load(one.text) if one.text else None)

    def merged(self, since: str | None) -> tuple[str, Sequence[Merged]]:
        first = len(self.brought) if since is None else int(since.rpartition(".")[2])
        return self._head(), [one for n, one in enumerate(self.brought) if n >= first and n not in self.covered]

    def _head(self) -> str:
        return f"{self.pushes}.{len(self.commits)}.{len(self.brought)}"


def _version(artifact: str) -> str:
    """Of the model whose artifact has this digest."""
    return artifact.removeprefix("artifact-")


@dataclass
class FakeTrials:
    behaviours: Mapping[str, Behaviour]

    def scan(self, artifact: str) -> Mapping[str, Any]:
        imports = list(self.behaviours[_version(artifact)].pickles)
        return {"pickles": [{"file": "model.pkl", "imports": imports}], "other": []}

    def loads(self, environment: str, artifact: str) -> str | None:
        return None

    def reference(self, environment: str, artifact: str, columns: Any, rows: Any, score_output: Any) -> list[float]:
        return [score_of(self.behaviours[_version(artifact)], row) for row in rows]

    def golden(self, file: Path) -> ReadRows:
        return _read(lambda: rows_file.golden(file, BOUNDS))

    def evaluation(self, file: Path, label: str, entity: str, inputs: Sequence[str] | None) -> ReadRows:
        return _read(lambda: rows_file.evaluation(file, label, entity, inputs, BOUNDS))

    def rehearse(self, release: Release, given: GivenRows | None) -> Rehearsal:
        how = self.behaviours[release.version]
        if not how.asked or given is None:
            return Rehearsal(None, reason="it was logged without an example")
        rows = [list(row) for row in given.rows[:50]]
        document = {"dataframe_split": {"columns": list(given.columns), "data": rows}}
        answers = [(score_of(how, row),) for row in rows][: how.answers]
        question = Question(document, [{"name": "a", "shape": [len(rows)], "datatype": "FP64", "data": []}])
        return Rehearsal(question, given.source, len(rows), answers, versions=how.versions)


BOUNDS = rows_file.Bounds(1_000, 10_000, 1 << 20)


def _read(read: Callable[[], Mapping[str, Any]]) -> ReadRows:
    try:
        found = read()
    except StartFailure as error:
        raise InvalidInput(str(error)) from error
    return ReadRows(tuple(found["columns"]), found["rows"], found["scores"], found["labels"])


@dataclass(frozen=True)
class Rescored:
    answers: Sequence[OwnAnswer | None]
    seconds: float


@dataclass
class FakeRescorer:
    """The models' own predict, which is `score_of` plus what `noise` gives for each call."""

    behaviours: Mapping[str, Behaviour]
    seconds: float = 3.0
    noise: Callable[[], float] = lambda: 0.0
    refuses: bool = False
    broken: bool = False
    asked: list[tuple[str, int]] = field(default_factory=list)
    """Release and number of requests."""

    def rescore(self, release: Release, requests: Sequence[AnsweredRequest]) -> Rescored:
        self.asked.append((release.id, len(requests)))
        if self.broken:
            raise Unbuildable("The model does not load.")
        more = self.noise()
        how = self.behaviours[release.version]
        own = [OwnAnswer([score_of(how, row) + more for row in one.rows], "FP64") for one in requests]
        return Rescored([None] * len(own) if self.refuses else own, self.seconds)


@dataclass(frozen=True)
class Answer:
    scores: Sequence[float | None]
    seconds: float = 0.002

    @property
    def answers(self) -> Sequence[Sequence[Any]]:
        return [(score,) for score in self.scores]


@dataclass
class FakeScorer:
    behaviours: Mapping[str, Behaviour]
    wrong: Callable[[Sequence[Any]], float] = lambda _: 0.0
    """What the release adds to the right score of a row."""
    asked: list[tuple[str, str]] = field(default_factory=list)
    """(address, protocol)"""
    sizes: list[tuple[str, int]] = field(default_factory=list)
    """(address, rows)"""

    def score(self, endpoint: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], timeout: float) -> Answer:
        how = self.behaviours[endpoint.rsplit("-", 2)[1]]
        self.sizes.append((endpoint, len(rows)))
        return Answer([score_of(how, row) + self.wrong(row) for row in rows], how.seconds)

    def ask(self, address: str, release: Release, protocol: str, question: Question, timeout: float) -> Answer:
        self.asked.append((address, protocol))
        how = self.behaviours[release.version]
        if protocol in how.silent:
            raise TemporaryError(f"Release {release.id} failed on the rows: the model failed: ValueError")
        rows = question.document["dataframe_split"]["data"]
        self.sizes.append((address, len(rows)))
        moved = 0.25 if protocol in how.otherwise else 0.0
        return Answer([score_of(how, row) + self.wrong(row) + moved for row in rows][: how.answers], how.seconds)


SPEC = """
model: fraud
alerts: {budget: 25%}
gates: {evaluation: evaluation.csv}
rollout:
  steps:
    - {traffic: 5%, requests: 3000, for: 1m, at_most: 1h}
    - {traffic: 50%, requests: 10000, for: 1m, at_most: 1h}
"""

ADA = Actor("ada", Access.DEPLOY, "test")
GRACE = Actor("grace", Access.APPROVE, "test")


class Lab:
    """The world, and the engine in it. `restart` is what a new process sees after the old one died."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.clock = VirtualClock()
        self.behaviours: dict[str, Behaviour] = {}
        self.registry = FakeRegistry(directory / "files", self.behaviours)
        self.target = FakeTarget(self.behaviours)
        self.compiler = FakeCompiler()
        self.router = FakeRouter()
        self.log = FakeLog(now=self.clock.now)
        self.fleet = FakeFleet({MODEL: SPEC})
        self.store = SqlStore(f"sqlite:///{directory / 'store.db'}")
        self.per_second = 0
        self.executor: Executor = Inline()
        """Runs the long work of the engine that the next `restart` makes."""
        self.rescorer = FakeRescorer(self.behaviours)
        self.scorer = FakeScorer(self.behaviours)
        self.world = World(
            registry=self.registry,
            environments=FakeEnvironments(),
            compiler=self.compiler,
            target=self.target,
            router=self.router,
            log=self.log,
            fleet=self.fleet,
            trials=FakeTrials(self.behaviours),
            scorer=self.scorer,
            store=self.store,
            clock=self.clock,
            disk=directory,
        )
        self.restart()

    def restart(self, world: World | None = None) -> None:
        """A new engine with nothing but what is stored."""
        news = News()
        self.desk = Desk(world or self.world, news)
        self.engine = Engine(
            world or self.world,
            Jobs(self.executor, told=news.tell),
            deploy_by_alias=self.desk.deploy_by_alias,
            news=news,
            roll_back=self.desk.roll_back,
            take_merged=self.desk.take_merged,
        )
        self.rechecker = Rechecker(world or self.world, self.rescorer)

    def copied(self, directory: Path) -> Lab:
        """This lab as it is now, with a store of its own and a new engine. Neither reaches the other one."""
        shutil.copytree(self.directory, directory)
        store = SqlStore(f"sqlite:///{directory / 'store.db'}")
        files = directory / self.registry.files.name
        replaced = {id(self.directory): directory, id(self.registry.files): files, id(self.store): store}
        made_by_restart = ("desk", "engine", "rechecker")
        kept = {name: value for name, value in vars(self).items() if name not in made_by_restart}
        other = object.__new__(Lab)
        vars(other).update(deepcopy(kept, replaced))
        other.restart()
        return other

    def register(self, version: str, **behaviour: Any) -> None:
        self.registry.register(version, Behaviour(**behaviour))

    def live(self, version: str, **behaviour: Any) -> None:
        """Brings `version` to full traffic, as a first deployment."""
        self.register(version, **behaviour)
        self.desk.deploy(ref=f"{MODEL}@{version}", spec=None, actor=ADA)
        self.run(seconds=10)
        assert self.champion == version, self.store.rollouts()[0].status

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> float:
        """Ticks, with traffic, until it is so or the time has passed; the seconds that passed."""
        passed = 0.0
        while passed < seconds and not until():
            self.step()
            passed += TICK
        return passed

    def step(self) -> None:
        for routing in self.router.routings.values():
            if self.per_second:
                self.log.serve(routing, int(self.per_second * TICK), self.behaviours, self.clock.time)
        self.clock.time += timedelta(seconds=TICK)
        if isinstance(self.executor, Late):
            self.executor.answer()
        self.engine.tick()

    def routed_to(self, version: str) -> bool:
        """Whether it has all of the traffic."""
        whole = [arm.release for arm in self.router.routings[MODEL].arms if arm.weight == WHOLE]
        return [release.rsplit("-", 2)[1] for release in whole] == [version]

    @property
    def rollout(self) -> Rollout:
        return self.store.rollouts(MODEL, limit=1)[0]

    @property
    def phase(self) -> Phase:
        return self.rollout.status.phase

    @property
    def champion(self) -> str | None:
        champion = self.store.model(MODEL).champion
        return champion.version if champion else None

    def weights(self) -> dict[str, int]:
        """Version -> weight in force."""
        return {arm.release.rsplit("-", 2)[1]: arm.weight for arm in self.router.routings[MODEL].arms if arm.weight}

    def kinds(self) -> list[str]:
        """Of the events of the newest rollout, in order."""
        return [e.kind for e in self.store.events(model=MODEL, limit=1000) if e.rollout == self.rollout.id]

    def everything_agrees_on(self, version: str) -> None:
        """Routing, alias, Git and status say the same."""
        assert self.champion == version
        assert self.weights() == {version: WHOLE}
        assert self.registry.alias[MODEL].get("champion") == version
        assert self.fleet.published[MODEL]["version"] == version


READS = frozenset(
    {
        "recorded",
        "now",
        "observe",
        "in_force",
        "all_in_force",
        "changes",
        "merged",
        "models_after",
        "aliases",
        "all_live",
        "read",
        "live",
        "find",
        "who_set",
        "run_file",
        "counts",
        "counts_of_all",
        "followed",
        "hours",
        "disturbance",
        "traffic",
        "traffic_of_all",
        "orders",
        "orders_of",
        "pending",
        "setting",
        "settings",
        "models",
        "model",
        "in_flight",
        "rollout",
        "rollouts",
        "releases",
        "kept_rows",
        "models_with_kept_rows",
        "events",
    }
)
"""These change nothing: dying there is dying before the next act."""


class Breaking:
    """A port whose `at`-th call kills the process, before the call or after it."""

    def __init__(self, port: Any, counter: Counter) -> None:
        self._port, self._counter = port, counter

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        if not callable(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            return self._counter.call(name, lambda: found(*args, **kwargs))

        return call


@dataclass
class Counter:
    at: int
    after: bool
    seen: int = 0
    calls: list[str] = field(default_factory=list)

    def call(self, name: str, act: Callable[[], Any]) -> Any:
        if name in READS:
            return act()
        self.seen += 1
        self.calls.append(name)
        if self.seen == self.at and not self.after:
            raise Killed
        result = act()
        if self.seen == self.at and self.after:
            raise Killed
        return result


def breaking(world: World, counter: Counter) -> World:
    ports = ("registry", "environments", "target", "router", "log", "fleet", "trials", "store")
    return replace(world, **{name: Breaking(getattr(world, name), counter) for name in ports})
