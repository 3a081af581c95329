"""Releases by way of Git: real repositories, and an API server that keeps what it is given, as Kubernetes answers."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from api_server import cluster_of
from object_server import ObjectServer
from waiting import wait_until

from serinus.backends.git import GitFleet, Remote
from serinus.backends.git.command import Git
from serinus.core.errors import Unavailable
from serinus.core.placement import Placement, PlacementState
from serinus.core.release import USUAL, Release, ServingSettings
from serinus.targets.kubernetes.cluster import Cluster
from serinus.targets.kubernetes.gitops import GitApplier, GitOps
from serinus.targets.kubernetes.manifests import Placed, Settings, manifests
from serinus.targets.kubernetes.target import KubernetesTarget
from serinus.wiring.gitops import build_git_applier

RELEASE = Release(
    "card-fraud-7-3f9a2c", "card-fraud", "7", "a" * 64, "b" * 64, ServingSettings(), datetime(2026, 1, 1, tzinfo=UTC)
)
IMAGE = "registry.example/x@sha256:" + "e" * 64
GITOPS = GitOps("git://git.example/fleet.git", "east")
APPLICATION = GITOPS.application(RELEASE.id)
FOLDER = f"rendered/east/card-fraud/{RELEASE.id}"


@pytest.fixture
def api() -> ObjectServer:
    return ObjectServer()


@pytest.fixture
def cluster(api: ObjectServer) -> Iterator[Cluster]:
    client = cluster_of(api)
    yield client
    client.close()


@pytest.fixture
def server(tmp_path: Path) -> Path:
    path = tmp_path / "server.git"
    Git.create(path)
    return path


@pytest.fixture
def applier(tmp_path: Path, server: Path, cluster: Cluster) -> Iterator[GitApplier]:
    fleet = GitFleet(tmp_path / "fleet", Remote(str(server)))
    made = build_git_applier(fleet, cluster, GITOPS, "serinus")
    made.start()
    yield made
    made.close()


def git(server: Path, *arguments: str) -> str:
    told = subprocess.run(["git", "-C", server, *arguments], capture_output=True, text=True, check=True)
    return told.stdout.strip()


def files(server: Path) -> list[str]:
    return git(server, "ls-tree", "-r", "--name-only", "main").splitlines()


def reason(applier: GitApplier) -> str:
    """Why it is not there yet. Empty: it is."""
    try:
        applier.bring(RELEASE, manifests(Placed(RELEASE, USUAL, IMAGE), Settings()))
    except Unavailable as error:
        return str(error)
    return ""


def told(applier: GitApplier, words: str) -> str:
    """What it says once it says this."""
    return wait_until(lambda: found if words in (found := reason(applier)) else "", what=words)


def apply_from_git(server: Path, api: ObjectServer) -> None:
    """As Argo CD does."""
    for path in files(server):
        document = yaml.safe_load(git(server, "show", f"main:{path}"))
        if document["kind"] == "Deployment":
            document["metadata"]["managedFields"] = [{"manager": "argocd-controller"}]
            api.put("deployments", document["metadata"]["name"], **document)


def test_a_release_is_committed_and_argo_cd_is_told_of_the_commit(
    applier: GitApplier, api: ObjectServer, server: Path
) -> None:
    api.put("applications", APPLICATION, status={"sync": {"status": "OutOfSync"}, "health": {"status": "Missing"}})
    told(applier, f"Argo CD has not applied it yet: {APPLICATION} is OutOfSync, Missing.")
    assert f"{FOLDER}/deployment.yaml" in files(server)
    commit = git(server, "rev-parse", "main")
    wait_until(lambda: len(api.nudges) == 2)
    assert set(api.nudges) == {
        ("applicationsets", "argocd.argoproj.io/application-set-refresh", commit),
        ("applications", "argocd.argoproj.io/refresh", commit),
    }
    assert {"applicationsets", "appprojects"} <= {plural for plural, _ in api.objects}
    apply_from_git(server, api)
    assert reason(applier) == ""
    assert git(server, "rev-parse", "main") == commit


def test_a_deployment_of_other_files_is_not_taken_for_it(applier: GitApplier, api: ObjectServer, server: Path) -> None:
    told(applier, "Argo CD has no Application")
    apply_from_git(server, api)
    api.objects["deployments", RELEASE.id]["metadata"]["annotations"]["serinus/rendered"] = "0" * 64
    api.put("applications", APPLICATION, status={"sync": {"status": "Synced"}})
    told(applier, "Argo CD has not applied it in its new form yet")


def test_the_server_that_refuses_is_the_reason_until_it_does_not(
    applier: GitApplier, server: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serinus.backends.git.remote._PATIENCE", 0.1)
    monkeypatch.setattr("serinus.backends.git.repository._QUIET", 0.0)
    hook = server / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'main is protected' >&2\nexit 1\n")
    hook.chmod(0o755)
    told(applier, "The Git server refuses commits of Serinus to 'main'")
    assert "main is protected" in reason(applier)
    hook.unlink()
    told(applier, "Argo CD has no Application")


def test_why_argo_cd_does_not_apply_it_is_the_reason(applier: GitApplier, api: ObjectServer) -> None:
    told(applier, "Argo CD has no Application")
    api.put("applications", APPLICATION, status={"operationState": {"phase": "Failed", "message": "no such kind"}})
    told(applier, "Argo CD cannot apply it: no such kind")


def test_why_argo_cd_makes_no_application_is_the_reason(applier: GitApplier, api: ObjectServer) -> None:
    told(applier, "It makes one from what is committed")
    wrong = {"type": "ErrorOccurred", "status": "True", "message": "authentication required"}
    api.put("applicationsets", GITOPS.name, status={"conditions": [wrong]})
    told(applier, "Argo CD reports ErrorOccurred: authentication required")


def test_argo_cd_that_may_not_be_told_is_waited_for(applier: GitApplier, api: ObjectServer, server: Path) -> None:
    api.refused.add("applicationsets")
    told(applier, "lack the right to patch applicationsets.argoproj.io 'serinus-east'")
    apply_from_git(server, api)
    assert reason(applier) == ""


def test_what_somebody_takes_away_before_it_is_applied_is_committed_again(
    applier: GitApplier, server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told(applier, "Argo CD has no Application")
    clone = tmp_path / "clone"
    git(server, "clone", "--quiet", str(server), str(clone))
    git(clone, "rm", "-r", "--quiet", "rendered")
    who = ("-c", "user.name=Carla", "-c", "user.email=carla@example.org")
    git(clone, *who, "commit", "--quiet", "-m", "By hand")
    git(clone, "push", "--quiet", "origin", "HEAD:main")
    monkeypatch.setattr("serinus.targets.kubernetes.gitops.applier._LOOKED_AT_AGAIN", 0.5)
    wait_until(lambda: reason(applier) and f"{FOLDER}/deployment.yaml" in files(server))


def test_a_removed_release_leaves_the_repository_and_argo_cd_is_told(
    applier: GitApplier, api: ObjectServer, server: Path
) -> None:
    told(applier, "Argo CD has no Application")
    applier.remove(RELEASE.id)
    wait_until(lambda: not files(server))
    commit = git(server, "rev-parse", "main")
    wait_until(lambda: ("applicationsets", "argocd.argoproj.io/application-set-refresh", commit) in api.nudges)
    assert git(server, "log", "-1", "--format=%s", "main") == f"Remove {RELEASE.id}"


def test_what_is_wanted_last_holds(applier: GitApplier, server: Path) -> None:
    for _ in range(3):
        applier.remove(RELEASE.id)
        reason(applier)
    told(applier, "Argo CD has no Application")
    assert f"{FOLDER}/deployment.yaml" in files(server)
    reason(applier)
    applier.remove(RELEASE.id)
    wait_until(lambda: not files(server))


# --- behind the target ------------------------------------------------------------------------------------


@pytest.fixture
def target(tmp_path: Path, server: Path, cluster: Cluster) -> Iterator[KubernetesTarget]:
    fleet = GitFleet(tmp_path / "fleet", Remote(str(server)))
    applier = build_git_applier(fleet, cluster, GITOPS, "serinus")
    made = KubernetesTarget(
        cluster, Settings(), lambda _: IMAGE, lambda _: True, router_key=lambda _: "0123456789abcdef", applier=applier
    )
    yield made
    made.close()


def seen(target: KubernetesTarget, holds: Callable[[Placement | None], object]) -> Placement | None:
    wait_until(lambda: holds(target.observe().get(RELEASE.id)))
    return target.observe().get(RELEASE.id)


def test_the_router_key_is_applied_directly_and_is_not_in_git(
    target: KubernetesTarget, api: ObjectServer, server: Path
) -> None:
    target.place(RELEASE)
    found = seen(target, lambda one: one and "Argo CD has no Application" in one.reason)
    assert found is not None
    assert found.state is PlacementState.STARTING
    assert ("secrets", RELEASE.id) in api.objects
    everything = git(server, "log", "--patch", "main")
    assert "kind: Deployment" in everything
    assert "kind: Secret" not in everything
    assert "0123456789abcdef" not in everything
    assert "MDEyMzQ1Njc4OWFiY2RlZg" not in everything


def test_what_argo_cd_says_of_a_release_that_is_there_is_its_reason(
    target: KubernetesTarget, api: ObjectServer, server: Path
) -> None:
    target.place(RELEASE)
    seen(target, lambda one: one and "Argo CD has no Application" in one.reason)
    apply_from_git(server, api)
    seen(target, lambda one: one and not one.reason)
    status = {"conditions": [{"type": "ComparisonError", "message": "the repository is gone"}]}
    api.put("applications", APPLICATION, status=status)
    found = seen(target, lambda one: one and one.reason == "Argo CD reports ComparisonError: the repository is gone")
    assert found is not None
    assert found.unsettled == found.reason


def test_a_removed_release_is_not_seen_any_more_and_one_that_is_placed_again_in_time_is(
    target: KubernetesTarget, api: ObjectServer, server: Path
) -> None:
    target.place(RELEASE)
    seen(target, lambda one: one and "Argo CD has no Application" in one.reason)
    apply_from_git(server, api)
    seen(target, lambda one: one and not one.reason)
    target.remove(RELEASE.id)
    assert target.observe() == {}
    wait_until(lambda: not files(server))
    target.place(RELEASE)  # before Argo CD has looked
    seen(target, lambda one: one and not one.reason)
    wait_until(lambda: files(server))
    assert ("deployments", RELEASE.id) in api.objects
