"""What Deployments say of releases, in Git and in the cluster, is what was placed."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from api_server import cluster_of
from object_server import ObjectServer

from serinus.backends.git import GitFleet, Remote
from serinus.backends.git.command import Git
from serinus.core.errors import Refused
from serinus.core.release import CacheSettings, Compiled, Release, Scale, ServingSettings, WarmHours
from serinus.targets.kubernetes.applying import Applier, DirectApplier
from serinus.targets.kubernetes.cluster.kinds import kind_of
from serinus.targets.kubernetes.gitops import GitOps
from serinus.targets.kubernetes.gitops.manifests import files_of
from serinus.targets.kubernetes.manifests import Placed, Settings, manifests
from serinus.targets.kubernetes.manifests.placed import identity
from serinus.targets.kubernetes.recording import DeploymentRecords
from serinus.wiring.gitops import build_git_applier

SERVING = ServingSettings(timeout_ms=90, fallback_score=0.25, cache=CacheSettings(5.0), protocols=("invocations",))
MADE = datetime(2026, 1, 1, tzinfo=UTC)
PLAIN = Release("card-fraud-7-3f9a2c", "card-fraud", "7", "a" * 64, "b" * 64, SERVING, MADE)
COMPILED = replace(PLAIN, id="Card_Fraud-8-0a1b2c", model="Card_Fraud", version="8", compiled=Compiled("c", "d"))
SCALE = Scale(max_workers=3, warm_hours=(WarmHours(480, 1080, (0, 1)),), memory_limit_bytes=2**28)
ONE, TWO = (f"registry.example/x@sha256:{digit * 64}" for digit in "12")
GITOPS = GitOps("git://git.example/fleet.git", "east")

Placing = Callable[[Placed], None]


@pytest.fixture(params=["in Git", "in the cluster"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Applier, Placing]:
    """An `Applier`, and how something is placed by it."""
    api = ObjectServer()
    cluster = cluster_of(api)
    if request.param == "in the cluster":

        def apply(placed: Placed) -> None:
            for one in manifests(placed, Settings()):
                api.put(kind_of(one).plural, one["metadata"]["name"], **one)

        return DirectApplier(cluster, "serinus"), apply
    server = tmp_path / "server.git"
    Git.create(server)
    there, here = (GitFleet(tmp_path / name, Remote(str(server))) for name in ("there", "here"))

    def commit(placed: Placed) -> None:
        """By another control plane."""
        files, _ = files_of(manifests(placed, Settings()))
        name = manifests(placed, Settings())[0]["metadata"]["name"]
        folder = f"rendered/east/{placed.release.model}/{name}"
        there.repository.commit(lambda _: {f"{folder}/{file}": text for file, text in files.items()}, "Place", who="s")

    return build_git_applier(here, cluster, GITOPS, "serinus"), commit


def test_releases_are_read_back_with_their_scales(place: tuple[Applier, Placing]) -> None:
    applier, put = place
    records = DeploymentRecords(applier.recorded)
    assert records.recorded() == []
    put(Placed(PLAIN, SCALE, ONE))
    put(Placed(COMPILED, Scale(), TWO))
    found = {one.release.id: one for one in records.recorded()}
    assert {name: one.scale for name, one in found.items()} == {PLAIN.id: SCALE, COMPILED.id: Scale()}
    for release in (PLAIN, COMPILED):
        assert replace(found[release.id].release, created_at=MADE) == release
        assert identity(found[release.id].release) == identity(release)


def test_the_image_is_that_of_the_graph_or_of_the_model(place: tuple[Applier, Placing]) -> None:
    applier, put = place
    records = DeploymentRecords(applier.recorded)
    put(Placed(COMPILED, Scale(), ONE))
    assert records.image_of(COMPILED) == ONE
    assert records.image_of(replace(COMPILED, compiled=None)) is None
    assert records.image_of(PLAIN) is None
    put(Placed(COMPILED, Scale(), TWO, long=True))
    assert [one.long for one in records.recorded()] == [True]
    assert records.image_of(COMPILED) is None
    assert records.image_of(replace(COMPILED, compiled=None)) == TWO


def test_the_memory_of_a_worker_is_that_of_the_gate(place: tuple[Applier, Placing]) -> None:
    applier, put = place
    records = DeploymentRecords(applier.recorded)
    put(Placed(PLAIN, Scale(), ONE, worker_bytes=200 * 2**20))
    put(Placed(COMPILED, Scale(), TWO))
    assert records.worker_bytes(PLAIN.id) == 200 * 2**20
    assert records.worker_bytes(COMPILED.id) is None
    assert records.worker_bytes("another") is None


def deployments(*annotations: dict[str, str]) -> Callable[[], Sequence[dict[str, Any]]]:
    return lambda: [{"metadata": {"name": "odd", "annotations": one}} for one in annotations]


def test_a_release_that_cannot_be_read_is_named_and_others_deployments_are_none() -> None:
    assert DeploymentRecords(deployments({"somebodys": "own"})).recorded() == []
    for wrong in ("no JSON", "[]", '{"id": "fraud-1-abcdef"}'):
        with pytest.raises(Refused, match="What the Deployment odd says of its release cannot be read"):
            DeploymentRecords(deployments({"serinus/release": wrong})).recorded()


@pytest.mark.parametrize(
    ("text", "words"), [("a: b: c", "is not YAML"), ("- a", "is no Deployment"), ("", "is no Deployment")]
)
def test_a_file_that_somebody_has_spoiled_is_named(tmp_path: Path, text: str, words: str) -> None:
    server = tmp_path / "server.git"
    Git.create(server)
    fleet = GitFleet(tmp_path / "fleet", Remote(str(server)))
    path = "rendered/east/fraud/fraud-1-abcdef/deployment.yaml"
    fleet.repository.commit(lambda _: {path: text}, "By hand", who="carla")
    applier = build_git_applier(fleet, cluster_of(ObjectServer()), GITOPS, "serinus")
    with pytest.raises(Refused, match=f"{path} in the fleet repository {words}"):
        applier.recorded()


def test_other_clusters_and_other_files_are_none_of_it(tmp_path: Path) -> None:
    server = tmp_path / "server.git"
    Git.create(server)
    fleet = GitFleet(tmp_path / "fleet", Remote(str(server)))
    others = ("rendered/west/fraud/fraud-1-a/deployment.yaml", "rendered/east/fraud/fraud-1-a/service.yaml")
    fleet.repository.commit(lambda _: dict.fromkeys(others, "a: 1\n"), "By hand", who="carla")
    assert subprocess.run(["git", "-C", server, "rev-parse", "main"], check=True, capture_output=True).stdout
    assert build_git_applier(fleet, cluster_of(ObjectServer()), GITOPS, "serinus").recorded() == []
