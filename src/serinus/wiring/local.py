"""One machine: models as processes, Envoy in front, and all state in the home."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from serinus.backends.envoy import Crowding, EnvoyRouter, admin_socket, places
from serinus.backends.git import GitFleet
from serinus.backends.mlflow import MlflowRegistry
from serinus.backends.onnx import OnnxCompiler
from serinus.backends.sql import SqlStore
from serinus.backends.uv import UvEnvironments
from serinus.core.home import Home
from serinus.core.ports import Store
from serinus.engine import Disk, World
from serinus.predictions.table.places import size_of
from serinus.targets.local.host import HostTarget, SocketScorer, Trials
from serinus.targets.local.host.limits import Limits
from serinus.targets.local.host.logs import ReleaseLogs
from serinus.targets.local.host.trial_limits import TrialLimits
from serinus.targets.local.host.trial_zygotes import TrialZygotes
from serinus.targets.local.supervisor.settings import Settings
from serinus.wiring.place import Place
from serinus.wiring.predictions import build_log, table_place

COMPILE_SECONDS = 60.0
"""The time limit of writing a graph, and of proving it. A model that takes longer is served by its own libraries."""


RECHECK_SECONDS = 300.0
"""The time limit of a process of the recheck. It takes seconds, but minutes where others use all processors."""
RECHECK_BYTES = 4 * 1024**3


class SystemClock:
    """The clock of the system."""

    def now(self) -> datetime:
        """Returns the present time in UTC."""
        return datetime.now(UTC)


def place_here(home: Home, settings: Settings) -> Place:
    """Releases as processes of this machine, with Envoy in front."""
    usual = Limits()
    idle = usual.idle if settings.idle is None else settings.idle
    busiest = usual.busiest if settings.busiest is None else settings.busiest
    return Place(
        target=HostTarget(home),
        router=EnvoyRouter(home, admin_socket(home)),
        scorer=SocketScorer(home),
        fleet=GitFleet(home.fleet),
        asks_keys=settings.api_keys != "none",
        fields={
            "serving.workers": f"at most {usual.cores}, the processors of this machine",
            "serving.warm": f"scaled to zero after {idle:g} s without a request, unless it is one of the {busiest} "
            "busiest (`serinus up --idle`, `--busiest`)",
        },
        loops={"crowding": Crowding(home, admin_socket(home), places()).run},
    )


def build_rescorer(home: Home) -> Trials:
    """Returns the trials of the recheck, whose processes only use idle processors."""
    return Trials(home, limits=TrialLimits(RECHECK_SECONDS, RECHECK_BYTES, background=True))


def build_store(home: Home) -> SqlStore:
    """Opens the store of the home."""
    return SqlStore(f"sqlite:///{home.store}")


def build_world(home: Home, settings: Settings, store: Store, place: Place) -> World:
    """Returns all ports: those of `place`, and the backends in the home for the others. Nothing is started."""
    interpreters = [Path(path) for path in settings.interpreters]
    zygotes = TrialZygotes(home)
    return World(
        registry=MlflowRegistry(
            settings.registry,
            home.artifacts,
            indexes=settings.indexes,
            bundled=settings.mlflow_uri is None,
            proposals=home.mlflow_proposals if settings.mlflow_uri is None else None,
        ),
        environments=UvEnvironments(
            home.environments,
            interpreters=interpreters,
            build_from_source=settings.allow_builds,
            confined=settings.confined,
            indexes=settings.indexes,
        ),
        compiler=OnnxCompiler(
            home.compiled,
            UvEnvironments(home.environments, interpreters=interpreters, always=(), confined=settings.confined),
            place.ask or Trials(home, limits=TrialLimits(seconds=COMPILE_SECONDS), zygotes=zygotes).ask,
        ),
        target=place.target,
        router=place.router,
        log=build_log(home, settings),
        fleet=place.fleet,
        trials=place.trials or Trials(home, zygotes=zygotes),
        scorer=place.scorer,
        store=store,
        clock=SystemClock(),
        disk=home.path,
        recording=place.recording,
    )


def build_disk(home: Home, settings: Settings, world: World) -> Disk:
    """Returns the disk usage of the backends of `world`, which `build_world` has made."""
    environments, registry, compiler = world.environments, world.registry, world.compiler
    assert isinstance(environments, UvEnvironments)
    assert isinstance(registry, MlflowRegistry)
    assert isinstance(compiler, OnnxCompiler)

    def always() -> list[str]:
        return [compiler.environment] if compiler.environment else []

    others = {
        "MLflow": [home.mlflow],
        "shared by environments": [home.environments / "accelerators", home.environments / "built"],
        "prediction log": [home.predictions],
        "scratch": [home.scratch],
        "store": [home.store, home.store.with_name(f"{home.store.name}-wal")],
    }
    storages = (environments, registry, compiler, ReleaseLogs(home))
    place = table_place(home, settings)
    elsewhere = {} if place.directory else {"prediction log in its bucket": partial(size_of, place)}
    return Disk(world, storages, others, always, settings.disk_budget, elsewhere)
