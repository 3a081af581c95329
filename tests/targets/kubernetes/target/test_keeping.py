"""What releases need beside their manifests is made anew, also where nobody places a release."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from api_server import cluster_of
from object_server import ObjectServer
from waiting import wait_until

from serinus.backends.git import GitFleet, Remote
from serinus.backends.git.command import Git
from serinus.core.errors import Superseded, Unavailable
from serinus.core.release import Compiled, Release, Scale, ServingSettings
from serinus.targets.kubernetes import keeping
from serinus.targets.kubernetes.cluster import Cluster
from serinus.targets.kubernetes.cluster.kinds import kind_of
from serinus.targets.kubernetes.gitops import GitOps
from serinus.targets.kubernetes.keeping import Keeping
from serinus.targets.kubernetes.manifests import Collectors, Placed, Settings, manifests
from serinus.targets.kubernetes.target import KubernetesTarget
from serinus.wiring.gitops import build_git_applier

RELEASE = Release(
    "card-fraud-7-3f9a2c", "card-fraud", "7", "a" * 64, "b" * 64, ServingSettings(), datetime(2026, 1, 1, tzinfo=UTC)
)
OTHER = replace(RELEASE, id="card-fraud-8-0a1b2c", version="8", compiled=Compiled("c" * 64, "d" * 64))
IMAGE = "registry.example/x@sha256:" + "e" * 64
SETTINGS = Settings(collectors=Collectors(("192.0.2.10:7443",), "the authority"))
KEY = base64.b64encode(b"key of card-fraud-7-3f9a2c").decode()
SECRET, AUTHORITY, DISTRUSTED = ("secrets", RELEASE.id), ("configmaps", "serinus-collectors"), "serinus-distrusted"
GITOPS = GitOps("git://git.example/fleet.git", "east")

Targets = Callable[..., KubernetesTarget]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "RESYNC", 0.2)
    monkeypatch.setattr(keeping, "_BETWEEN", 0.02)


@pytest.fixture
def api() -> ObjectServer:
    return ObjectServer()


@pytest.fixture
def targets(api: ObjectServer) -> Iterator[Targets]:
    """Makes control planes, one after the other, in one cluster. `end` a target before the next one."""
    with ExitStack() as ended:

        def make(settings: Settings = SETTINGS, cluster: Cluster | None = None, **other: Any) -> KubernetesTarget:
            client = cluster or cluster_of(api)
            given = {"image_of": lambda _: IMAGE, "router_key": lambda release: f"key of {release}", **other}
            made = KubernetesTarget(client, settings, holds=lambda _: True, **given)
            ended.callback(client.close)
            ended.callback(made.close)
            return made

        yield make


@pytest.fixture
def anew() -> Iterator[Callable[[Release], str]]:
    """The `image_of` of a target that is told to place nothing, and must not do so by itself."""
    asked: list[Release] = []

    def image_of(release: Release) -> str:
        asked.append(release)
        return IMAGE

    yield image_of
    assert asked == []


def apply_as_argo_cd(api: ObjectServer, release: Release = RELEASE, **changes: Any) -> None:
    """All that is in Git of a release."""
    for one in manifests(Placed(release, Scale(), IMAGE, **changes), SETTINGS):
        api.put(kind_of(one).plural, release.id, **one)


def placed(target: KubernetesTarget, api: ObjectServer, release: Release = RELEASE) -> None:
    target.place(release)
    wait_until(lambda: ("poddisruptionbudgets", release.id) in api.objects, what="placed")
    wait_until(lambda: not target.observe()[release.id].reason)


# --- Secrets, and what releases mount ---------------------------------------------------------------------


@pytest.mark.parametrize("lost", [SECRET, AUTHORITY])
def test_what_is_deleted_while_the_engine_runs_is_made_anew(
    targets: Targets, api: ObjectServer, lost: tuple[str, str]
) -> None:
    target = targets()
    placed(target, api)
    before = api.objects[lost]["data"]
    api.delete(*lost)
    wait_until(lambda: lost in api.objects)
    assert api.objects[lost]["data"] == before
    assert target.warnings() == []


def test_what_was_deleted_while_the_engine_was_away_is_made_anew_and_no_release_is_placed(
    anew: Callable[[Release], str], targets: Targets, api: ObjectServer
) -> None:
    first = targets()
    placed(first, api)
    first.close()
    for lost in (SECRET, AUTHORITY):
        api.delete(*lost)
    targets(image_of=anew)
    wait_until(lambda: {SECRET, AUTHORITY} <= api.objects.keys())
    assert api.objects[SECRET]["data"] == {"router": KEY}
    assert api.objects[SECRET]["metadata"]["labels"]["serinus/model"] == "card-fraud"
    assert api.objects[AUTHORITY]["data"] == {"authority.pem": "the authority"}


def test_a_deployment_that_appears_gets_its_secret_at_once(
    anew: Callable[[Release], str], targets: Targets, api: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "RESYNC", 3600.0)
    targets(image_of=anew)
    wait_until(lambda: AUTHORITY in api.objects)  # it has looked once
    apply_as_argo_cd(api)
    wait_until(lambda: SECRET in api.objects)
    apply_as_argo_cd(api, OTHER)
    wait_until(lambda: ("secrets", OTHER.id) in api.objects)


def test_what_holds_something_else_is_set_right(targets: Targets, api: ObjectServer) -> None:
    apply_as_argo_cd(api)
    api.put(*SECRET, data={"router": "b2xk"})
    api.put(*AUTHORITY, data={"authority.pem": "another"})
    targets()
    wait_until(lambda: api.objects[SECRET]["data"] == {"router": KEY})
    wait_until(lambda: api.objects[AUTHORITY]["data"] == {"authority.pem": "the authority"})


def test_what_is_there_is_not_written_again(targets: Targets, api: ObjectServer) -> None:
    target = targets()
    placed(target, api)
    target._keeping.look()
    before = len(api.written)
    assert target._keeping.look()
    assert len(api.written) == before


def test_what_answers_everybody_has_no_secret(targets: Targets, api: ObjectServer) -> None:
    apply_as_argo_cd(api)
    target = targets(settings=Settings(), router_key=None)
    wait_until(target._keeping.look)
    assert not api.written


def test_a_deployment_that_says_no_release_is_left_alone(targets: Targets, api: ObjectServer) -> None:
    apply_as_argo_cd(api)
    labels, copied = {"serinus/role": "release"}, api.objects["deployments", RELEASE.id]["metadata"]["annotations"]
    said = {**copied, "serinus/release": copied["serinus/release"].replace(RELEASE.id, OTHER.id)}
    for name, its in {"somebodys": {}, "of-another-name": said}.items():
        api.put("deployments", name, metadata={"labels": labels, "annotations": its})
    target = targets()
    wait_until(target._keeping.look)
    assert [name for plural, name in api.objects if plural == "secrets"] == [RELEASE.id]


def test_a_right_that_is_missing_is_said_and_the_others_are_made(targets: Targets, api: ObjectServer) -> None:
    api.unreadable.add("secrets")
    apply_as_argo_cd(api)
    target = targets()
    [said] = wait_until(target.warnings)
    assert said.startswith("the Secrets of releases cannot be looked after: ")
    assert "lack the right to list secrets" in said
    assert AUTHORITY in api.objects
    assert SECRET not in api.objects
    api.unreadable.clear()
    wait_until(lambda: SECRET in api.objects)
    wait_until(lambda: not target.warnings())


def test_who_does_not_decide_makes_nothing(api: ObjectServer, targets: Targets) -> None:
    apply_as_argo_cd(api)
    client = cluster_of(api)

    def another_one_decides() -> None:
        raise Superseded("another control plane decides")

    client._may_write = another_one_decides
    target = targets(cluster=client)
    assert not target._keeping.look()
    assert not api.written
    assert target.warnings() == []


def test_the_secret_of_a_removed_release_does_not_come_back(targets: Targets, api: ObjectServer) -> None:
    target = targets()
    placed(target, api)
    target.remove(RELEASE.id)
    wait_until(lambda: SECRET not in api.objects)
    assert target._keeping.look()
    assert SECRET not in api.objects
    assert ("deployments", RELEASE.id) not in api.objects


# --- distrust ---------------------------------------------------------------------------------------------


def test_a_release_stays_distrusted_where_the_list_is_deleted_while_the_engine_runs(
    targets: Targets, api: ObjectServer
) -> None:
    target = targets()
    placed(target, api, OTHER)
    target.distrust(OTHER.id)
    wait_until(lambda: target.observe()[OTHER.id].long)
    api.delete("configmaps", DISTRUSTED)
    wait_until(lambda: ("configmaps", DISTRUSTED) in api.objects)
    assert api.objects["configmaps", DISTRUSTED]["data"] == {OTHER.id: OTHER.id}


def test_a_release_stays_distrusted_where_the_list_was_deleted_while_the_engine_was_away(
    anew: Callable[[Release], str], targets: Targets, api: ObjectServer
) -> None:
    apply_as_argo_cd(api, OTHER, long=True)
    targets(image_of=anew)
    wait_until(lambda: ("configmaps", DISTRUSTED) in api.objects)
    assert api.objects["configmaps", DISTRUSTED]["data"] == {OTHER.id: OTHER.id}


def test_another_scale_does_not_bring_back_what_is_distrusted(targets: Targets, api: ObjectServer) -> None:
    apply_as_argo_cd(api, OTHER, long=True)
    images: list[Release] = []

    def image_of(release: Release) -> str:
        images.append(release)
        return IMAGE

    target = targets(image_of=image_of)
    target._keeping.close()
    target.place(OTHER, Scale(max_workers=2))
    wait_until(lambda: images)
    assert images[0].compiled is None


# --- what was brought -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["services", "serviceaccounts", "networkpolicies", "horizontalpodautoscalers", "poddisruptionbudgets"]
)
def test_an_object_that_is_deleted_is_applied_again_where_nobody_else_does(
    targets: Targets, api: ObjectServer, kind: str
) -> None:
    target = targets()
    placed(target, api)
    api.delete(kind, RELEASE.id)
    wait_until(lambda: (kind, RELEASE.id) in api.objects)


def test_a_release_without_its_objects_is_placed_again_with_its_scale(targets: Targets, api: ObjectServer) -> None:
    target = targets()
    target.place(RELEASE, Scale(max_workers=3))
    wait_until(lambda: ("poddisruptionbudgets", RELEASE.id) in api.objects)
    wait_until(lambda: not target.observe()[RELEASE.id].reason)
    target.close()
    api.delete("services", RELEASE.id)
    again = targets()
    wait_until(lambda: ("services", RELEASE.id) in api.objects)
    wait_until(lambda: again.observe()[RELEASE.id].scale == Scale(max_workers=3))


# --- Argo CD ----------------------------------------------------------------------------------------------


@pytest.fixture
def by_git(
    anew: Callable[[Release], str], targets: Targets, api: ObjectServer, tmp_path: Path
) -> Callable[[], KubernetesTarget]:
    server = tmp_path / "server.git"
    Git.create(server)
    fleet = GitFleet(tmp_path / "fleet", Remote(str(server)))

    def make() -> KubernetesTarget:
        client = cluster_of(api)
        applier = build_git_applier(fleet, client, GITOPS, "serinus")
        return targets(cluster=client, applier=applier, image_of=anew)

    return make


@pytest.mark.parametrize("lost", [("applicationsets", GITOPS.name), ("appprojects", GITOPS.name)])
def test_argo_cd_is_told_of_serinus_without_a_commit_and_again_where_somebody_deletes_it(
    by_git: Callable[[], KubernetesTarget], api: ObjectServer, lost: tuple[str, str]
) -> None:
    first = by_git()
    wait_until(lambda: lost in api.objects)
    api.delete(*lost)
    wait_until(lambda: lost in api.objects)
    first.close()
    api.delete(*lost)
    by_git()
    wait_until(lambda: lost in api.objects)


def test_what_argo_cd_applied_of_a_release_waits_for_nothing(
    by_git: Callable[[], KubernetesTarget], api: ObjectServer
) -> None:
    apply_as_argo_cd(api)
    by_git()
    wait_until(lambda: SECRET in api.objects)
    assert not {plural for plural, _ in api.written} & {"deployments", "services"}


# --- the loop ---------------------------------------------------------------------------------------------


def test_a_mistake_in_one_part_does_not_stop_the_others() -> None:
    made: list[str] = []

    def wrong(_: object) -> None:
        raise ZeroDivisionError

    one = Keeping(dict, {"the first": wrong, "the second": lambda _: made.append("second")})
    assert not one.look()
    assert made == ["second"]
    assert one.troubles() == ["the first cannot be looked after: it could not be looked at: ZeroDivisionError"]


def test_nothing_is_made_where_deployments_cannot_be_read() -> None:
    def away() -> dict[str, Any]:
        raise Unavailable("The API server does not answer.")

    made: list[str] = []
    one = Keeping(away, {"the first": lambda _: made.append("first")})
    assert not one.look()
    assert made == []
