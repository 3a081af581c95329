"""What the control plane costs: a tick of the engine with many models at rest, and a look at the status.

Real are the engine, the store, the router and its files, Git, the counts of the prediction log and MLflow's client.
What the host, Envoy and MLflow answer comes from a process beside it (`controlpeers.py`), whose time is not counted.
Virtual time: each tick comes half a second after the one before, so that what is due every few seconds has its share.
What the engine has others do beside its loop is done within its tick, and counts.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import yaml
from sqlalchemy import case

from bench import ROOT, SCRATCH
from bench.processes import DidNotStart
from bench.results import Results
from serinus.backends.envoy import EnvoyRouter, admin_socket, names, xds
from serinus.backends.git import GitFleet
from serinus.backends.git.command import Git
from serinus.backends.mlflow import MlflowRegistry
from serinus.backends.sql import SqlStore
from serinus.core.home import Home
from serinus.core.people import Access, Actor
from serinus.core.release import Release, ServingSettings
from serinus.core.rollout import Kind, ModelState, Phase, Plan, Policy, Rollout, Status, Step, StepRecord
from serinus.delivery import routing_of, split_token
from serinus.engine import Engine, Report, World
from serinus.engine.news import News
from serinus.engine.reconcile.converge import live_of
from serinus.engine.reconcile.jobs import Jobs
from serinus.lib import garbage
from serinus.predictions import DeltaPredictionLog
from serinus.predictions.counts import schema as counted
from serinus.predictions.counts.counting import KINDS, TOTALS
from serinus.predictions.database import Database
from serinus.predictions.paths import counts_path
from serinus.predictions.status import write_status
from serinus.targets.local.host import HostTarget

MODELS, IN_FLIGHT = 1_000, 50
LOOKED_AT, HISTORY, LOOKS = 50, 600, 30
"""Models and rollouts of the fleet whose status is asked for, and how often it is."""
TICK = timedelta(seconds=0.5)
TICKS = 240
"""Two minutes: four times the resync, a dozen looks at the router."""
_ANNA = Actor("anna", Access.DEPLOY, "bench")
_START = datetime(2026, 3, 1, 12, tzinfo=UTC)
_STEPS = (Step(500, 1_000_000, 3600, 86_400), Step(5_000, 1_000_000, 3600, 86_400))


class Clock:
    def __init__(self) -> None:
        self.time = _START

    def now(self) -> datetime:
        return self.time


def model_name(number: int) -> str:
    return f"model-{number:04d}"


def release_of(model: str, version: str) -> Release:
    digest = f"{int(model[6:]) * 16 + int(version):06x}"
    settings = ServingSettings()
    return Release(f"{model}-{version}-{digest}", model, version, "a" * 64, "e" * 64, settings, _START)


def state_of(model: str) -> ModelState:
    champion, previous = release_of(model, "6"), release_of(model, "5")
    aliases = {"champion": "6"}
    return ModelState(model, champion, 0.5, previous, _START, aliases, who="anna", why="it is better")


class Fleet:
    """A home with `models` at rest, of which `in_flight` have a canary."""

    def __init__(self, directory: Path, models: int, in_flight: int) -> None:
        self.home = Home(directory / "h")
        for made in (*self.home.directories, names.xds_directory(self.home)):
            made.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.home.secret.write_text("0" * 64)
        self.models = [model_name(number) for number in range(models)]
        self.flying = self.models[:in_flight]
        self.clock = Clock()
        self.store = SqlStore(f"sqlite:///{self.home.store}")
        self.log = DeltaPredictionLog(self.home, now=lambda: self.clock.time.timestamp())
        self._counts = Database(counts_path(self.home), counted.metadata)
        self._fill()
        self._route()
        self._publish()

    def _fill(self) -> None:
        self.store.set_setting("aliases-baseline", self.clock.time.isoformat())
        for model in self.models:
            self.store.save_model(state_of(model))
        for model in self.flying:
            self.store.create(_canary(model))
            self._count(model)

    def _route(self) -> None:
        """What the engine would have the router write, one model after the other."""
        routings, endpoints = {}, {}
        for model in self.models:
            tried = _canary(model) if model in self.flying else None
            releases = [release_of(model, version).id for version in ("6", "7")[: 1 + (tried is not None)]]
            ready = {release: str(self.home.release_socket(release)) for release in releases}
            routing = routing_of(state_of(model), tried, ready)
            assert routing is not None
            routings[model] = routing
            endpoints.update(ready)
        names.clusters_file(self.home).write_text(xds.render_clusters(endpoints))
        routes = xds.Routes(routings=routings)
        names.routes_file(self.home).write_text(xds.render_routes(routes, names.key_of(self.home)))

    def _publish(self) -> None:
        """What the engine would publish, in one commit."""
        stream = "commit refs/heads/main\ncommitter bench <bench@localhost> now\ndata 0\n\n"
        for model in self.models:
            text = yaml.safe_dump(dict(live_of(state_of(model)) or {}), sort_keys=False, allow_unicode=True)
            stream += f'M 100644 inline "live/{model}.yaml"\ndata {len(text.encode())}\n{text}\n'
        GitFleet(self.home.fleet)
        Git(self.home.fleet).run("fast-import", "--quiet", "--date-format=now", given=stream.encode())

    def _count(self, model: str) -> None:
        split = split_token(f"{model}-r1", 0)
        rows = []
        for version, requests in (("6", 190_000), ("7", 10_000)):
            found = dict.fromkeys(("requests", "answered", "rows"), requests) | {
                "errors": 3,
                "slow": requests // 100,
            }
            found |= {f"{scope}.{kind}": found.get(kind, 0) for scope in ("step", "rollout") for kind in KINDS}
            found |= {f"{scope}.entities": requests // 2 for scope in ("step", "rollout")}
            release = release_of(model, version).id
            named = {name: found.get(name, 0) for name in {*TOTALS, *found}}
            rows += [{"split": split, "release": release, "name": name, "value": n} for name, n in named.items()]
        with self._counts.write() as connection:
            connection.execute(counted.counts.insert(), rows)
            watched = {"split": split, "rollout": f"{model}-r1", "model": model, "slow_ms": 50.0}
            thresholds = {release_of(model, version).id: 0.5 for version in ("6", "7")}
            connection.execute(counted.watches.insert(), {**watched, "thresholds": json.dumps(thresholds)})

    def world(self, registry: str) -> World:
        return World(
            registry=MlflowRegistry(registry, self.home.artifacts),
            environments=cast(Any, None),
            compiler=cast(Any, None),
            target=HostTarget(self.home),
            router=EnvoyRouter(self.home, admin_socket(self.home)),
            log=self.log,
            fleet=GitFleet(self.home.fleet),
            trials=cast(Any, None),
            scorer=cast(Any, None),
            store=self.store,
            clock=self.clock,
            disk=self.home.path,
        )

    def pass_time(self) -> None:
        """With requests to every model that has a canary, so that there is something to judge."""
        self.clock.time += TICK
        at = counted.counts.c
        more = case((at.release.like("%-7-%"), 5), else_=95)
        requests = at.name.in_(("requests", "answered", "rows"))
        with self._counts.write() as connection:
            connection.execute(counted.counts.update().where(requests).values(value=at.value + more))
        write_status(self.home, {"at": self.clock.time.timestamp()})

    def add_history(self, rollouts: int) -> None:
        """So many rollouts that have ended, in turn of all models, each of a release of its own, with what the judge
        has said of the one in flight."""
        (judged,) = self.store.in_flight()
        for number in range(rollouts):
            model = self.models[number % len(self.models)]
            phase = Phase.ABORTED if number % 5 else Phase.PROMOTED
            candidate = replace(release_of(model, "7"), id=f"{model}-7-{number:06x}")
            self.store.add_release(candidate)
            ended = replace(judged, model=model, candidate=candidate, status=Status(phase, _START))
            self.store.create(replace(ended, id=f"{model}-r{100 + number}"))

    def close(self) -> None:
        self.store.close()
        self.log.close()
        self._counts.close()


def _canary(model: str) -> Rollout:
    plan = Plan(release_of(model, "6").id, "6", _STEPS, Policy(), False, ServingSettings(), slow_ms=50.0)
    return Rollout(
        id=f"{model}-r1",
        model=model,
        kind=Kind.DEPLOY,
        version="7",
        asked_as=f"{model}@7",
        actor=_ANNA,
        why="bench",
        created_at=_START,
        spec=f"model: {model}\n",
        salt="5a17",
        plan=plan,
        status=Status(Phase.CANARY, _START),
        candidate=release_of(model, "7"),
        threshold=0.5,
        champion_threshold=0.5,
        steps=(StepRecord(0, 500, split_token(f"{model}-r1", 0), _START),),
    )


@contextmanager
def peers(fleet: Fleet) -> Iterator[str]:
    """Host, Envoy and MLflow, as far as the engine asks them; MLflow's address."""
    wanted = {"models": fleet.models, "flying": fleet.flying}
    command = [sys.executable, "-m", "bench.controlpeers", str(fleet.home.path), json.dumps(wanted)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = process.stdout.readline().strip()
            if not port:
                raise DidNotStart("what answers for the host, Envoy and MLflow did not come up")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)


class Beside(ThreadPoolExecutor):
    """Threads for the jobs of the engine, which can be waited for."""

    def __init__(self) -> None:
        super().__init__(max_workers=4)
        self._submitted: list[Future[Any]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future = super().submit(fn, *args, **kwargs)
        self._submitted.append(future)
        return future

    def finish(self) -> bool:
        """Waits for the jobs that were submitted since the last call. Returns whether there were any."""
        submitted, self._submitted = self._submitted, []
        wait(submitted)
        return bool(submitted)


class Loop:
    """The engine of a fleet, without the pauses between its ticks."""

    def __init__(self, fleet: Fleet, registry: str) -> None:
        news = News()
        self._fleet, self._beside = fleet, Beside()
        self.engine = Engine(fleet.world(registry), Jobs(self._beside, told=news.tell), news=news)

    def tick(self) -> float:
        """Runs what a tick begins to its end. Returns its processor time, in milliseconds."""
        self._fleet.pass_time()
        began = time.process_time()
        self.engine.tick()
        while self._beside.finish():  # An answer is news, for which the engine does not wait half a second.
            self.engine.tick()
        return 1e3 * (time.process_time() - began)

    def close(self) -> None:
        self._beside.shutdown()
        self._fleet.close()


def ticks(models: int, in_flight: int, count: int = TICKS) -> dict[str, float]:
    """Milliseconds of processor time of a tick: their mean, their median and the longest; of the first one as well."""
    directory = Path(tempfile.mkdtemp(prefix="serinus-bench-control-", dir=_fast()))
    try:
        fleet = Fleet(directory, models, in_flight)
        with peers(fleet) as registry:
            return _ticks(fleet, registry, count)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _ticks(fleet: Fleet, registry: str, count: int) -> dict[str, float]:
    loop = Loop(fleet, registry)
    garbage.collect_rarely()  # as the control process
    first = loop.tick()
    if loop.engine.trouble:
        raise DidNotStart(f"the fleet is not as it should be: {next(iter(loop.engine.trouble.items()))}")
    for _ in range(20):  # what the first tick has changed is news once more
        loop.tick()
    if not loop.engine.registry_answers:
        raise DidNotStart("the engine has not read the aliases")
    found = [loop.tick() for _ in range(count)]
    if loop.engine.trouble or len(fleet.store.in_flight()) != len(fleet.flying):
        raise DidNotStart(f"the fleet did not stay as it was: {loop.engine.trouble}")
    loop.close()
    return {
        "first_ms": round(first, 1),
        "mean_ms": round(statistics.fmean(found), 2),
        "median_ms": round(statistics.median(found), 2),
        "most_ms": round(max(found), 2),
        "ticks": count,
    }


def _fast() -> Path:
    """Thousands of commits with an fsync each say nothing of the processor."""
    memory = Path("/dev/shm")  # noqa: S108
    return memory if memory.is_dir() else SCRATCH


def looks(models: int, rollouts: int, count: int = LOOKS) -> dict[str, float]:
    """Milliseconds of processor time, medians: of the status, and of all that the page asks for each time."""
    directory = Path(tempfile.mkdtemp(prefix="serinus-bench-looks-", dir=_fast()))
    try:
        fleet = Fleet(directory, models, 1)
        with peers(fleet) as registry:
            loop = Loop(fleet, registry)
            for _ in range(8):
                loop.tick()
            fleet.add_history(rollouts)
            try:
                return _looks(fleet, registry, count)
            finally:
                loop.close()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _looks(fleet: Fleet, registry: str, count: int) -> dict[str, float]:
    world = fleet.world(registry)
    report = Report(world, dict, list, {}, list)

    def page() -> None:
        report.status()
        for flying in (True, False):
            for one in world.store.rollouts(limit=200 if flying else 40, in_flight=flying):
                report.rollout(one)
        report.releases(None, 20)
        world.store.events(limit=25)

    found = {}
    for name, look in (("status_ms", report.status), ("page_ms", page)):
        taken = []
        for _ in range(count):
            fleet.pass_time()
            began = time.process_time()
            look()
            taken.append(1e3 * (time.process_time() - began))
        found[name] = round(statistics.median(taken), 1)
    return {**found, "looks": count}


def control(
    results: Results,
    models: int = MODELS,
    in_flight: int = IN_FLIGHT,
    count: int = TICKS,
    looked_at: int = LOOKED_AT,
    rollouts: int = HISTORY,
) -> None:
    """Adds the fact `control` to the results."""
    found: dict[str, Any] = {"models": models, "in_flight": in_flight, "load_before": round(os.getloadavg()[0], 1)}
    found["rest"] = ticks(models, 0, count)
    print(f"  {models} models at rest: {found['rest']['mean_ms']:.1f} ms a tick", flush=True)
    found["flight"] = ticks(models, in_flight, count)
    print(f"  {in_flight} rollouts in flight among them: {found['flight']['mean_ms']:.1f} ms a tick", flush=True)
    found |= {"looked_at": looked_at, "rollouts": rollouts, **looks(looked_at, rollouts)}
    print(f"  {rollouts} rollouts: status {found['status_ms']:.1f} ms, page {found['page_ms']:.1f} ms", flush=True)
    results.facts["control"] = found
