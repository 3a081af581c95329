"""What a control plane with an empty disk knows of the images of its releases."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from serinus.backends.sql import SqlStore
from serinus.core.errors import Unbuildable
from serinus.core.home import Home
from serinus.core.release import Compiled, Release, ServingSettings
from serinus.wiring.kept_images import KeptImages

PLAIN = Release(
    id="card-fraud-7-3f9a2c",
    model="card-fraud",
    version="7",
    artifact_digest="artifact",
    environment_digest="environment",
    settings=ServingSettings(),
    created_at=datetime(2026, 3, 1, tzinfo=UTC),
)
COMPILED = replace(PLAIN, compiled=Compiled("graph", "small"))


class Registry:
    """Builds images, as long as it is allowed to."""

    def __init__(self) -> None:
        self.built: list[str] = []
        self.base = "1"

    def build(self, release: Release) -> str:
        of = release.compiled.digest if release.compiled else release.artifact_digest
        self.built.append(of)
        return f"registry.example/models/{release.model}@sha256:{of}-{self.base}"


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    for directory in (made.artifact("artifact"), made.graph("graph")):
        directory.mkdir(parents=True)
    for environment in ("environment", "small"):
        made.interpreter(environment).parent.mkdir(parents=True)
        made.interpreter(environment).touch()
    return made


@pytest.fixture
def images(home: Home, registry: Registry, tmp_path: Path) -> Callable[[], KeptImages]:
    """Those of a control plane that has just started, on the same store."""
    return lambda: KeptImages(home, registry.build, SqlStore(f"sqlite:///{tmp_path}/store.db"))


@pytest.mark.parametrize("release", [PLAIN, COMPILED], ids=["plain", "compiled"])
def test_a_release_whose_files_are_gone_has_the_image_that_was_pushed(
    release: Release, home: Home, registry: Registry, images: Callable[[], KeptImages]
) -> None:
    pushed = images().image_of(release)
    shutil.rmtree(home.path)
    assert images().image_of(release) == pushed
    assert images().holds(release)
    assert len(registry.built) == 1


def test_where_the_files_are_here_the_image_follows_what_it_is_built_on(
    home: Home, registry: Registry, images: Callable[[], KeptImages]
) -> None:
    images().image_of(PLAIN)
    registry.base = "2"
    newer = images().image_of(PLAIN)
    assert newer.endswith("-2")
    shutil.rmtree(home.path)
    assert images().image_of(PLAIN) == newer


def test_a_graph_and_its_model_have_an_image_each(home: Home, images: Callable[[], KeptImages]) -> None:
    graph = images().image_of(COMPILED)
    model = images().image_of(replace(COMPILED, compiled=None))
    assert graph != model
    shutil.rmtree(home.path)
    assert (images().image_of(COMPILED), images().image_of(replace(COMPILED, compiled=None))) == (graph, model)


def test_what_has_neither_files_nor_an_image_is_told(home: Home, images: Callable[[], KeptImages]) -> None:
    assert images().holds(COMPILED)
    shutil.rmtree(home.artifacts)
    assert not images().holds(COMPILED)  # Its model could not be served, were the graph distrusted.
    shutil.rmtree(home.path)
    with pytest.raises(Unbuildable, match=r"no image of it is known") as told:
        images().image_of(COMPILED)
    assert told.value.hint == "Deploy card-fraud@7 again."


def test_where_the_store_was_lost_the_image_is_the_one_by_which_the_release_runs(
    home: Home, registry: Registry, tmp_path: Path
) -> None:
    store = SqlStore(f"sqlite:///{tmp_path}/store.db")
    running = {COMPILED: "registry.example/x@sha256:graph"}
    kept = KeptImages(home, registry.build, store, running.get)
    shutil.rmtree(home.graph("graph"))
    shutil.rmtree(home.artifact("artifact"))
    assert kept.holds(COMPILED)
    assert kept.image_of(COMPILED) == "registry.example/x@sha256:graph"
    assert registry.built == []
    running.clear()
    assert kept.image_of(COMPILED) == "registry.example/x@sha256:graph", "the store has it from then on"
    assert not kept.holds(PLAIN)
    with pytest.raises(Unbuildable):
        kept.image_of(PLAIN)
