"""The target of a cluster does what every Target must do, and says in words why a release does not run."""

from __future__ import annotations

import itertools
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from clusters import Cluster as Lab
from clusters import eventually
from relays import as_bearer, relayed
from released import ROW, Released, made
from target_contract import TargetContract, ready

from serinus.backends.sql import SqlStore
from serinus.core.errors import Unavailable, Unbuildable
from serinus.core.home import Home
from serinus.core.keys import ROUTER_HEADER, router_key
from serinus.core.placement import Placement, PlacementState
from serinus.core.ports import Target
from serinus.core.release import Compiled, Release, Scale, ServingSettings
from serinus.targets.kubernetes.cluster import Cluster
from serinus.targets.kubernetes.cluster.kinds import DEPLOYMENT, KINDS, POD
from serinus.targets.kubernetes.manifests import Replicas, Settings, Sizing
from serinus.targets.kubernetes.target import KubernetesTarget
from serinus.wiring.kept_images import KeptImages
from serinus.wiring.kubernetes import build_target

pytestmark = pytest.mark.timeout(600)
_NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def released(cluster: Lab, tmp_path_factory: pytest.TempPathFactory) -> Released:
    return made(Home(tmp_path_factory.mktemp("released") / "home"), cluster.registry, cluster.plain)


@pytest.fixture
def release(released: Released) -> Release:
    return released.release()


@pytest.fixture
def own_namespace(cluster: Lab, namespace: str) -> Iterator[str]:
    """Of one test, so that nothing of another is observed."""
    name = f"{namespace}-{next(_NUMBERS)}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.apply("default", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def unbuilt() -> Release:
    """A release of which no image is needed."""
    settings, when = ServingSettings(), datetime(2026, 1, 1, tzinfo=UTC)
    return Release("card-fraud-6-0a1b2c", "card-fraud", "6", "a" * 64, "b" * 64, settings, when)


SMALL = Sizing(requested_share=0.05)
"""Of the processors, which are few where the lab runs."""
SIZE = Replicas(least=1, most=2, cpu_percent=100_000)
"""One pod, unless another one is expected: no load brings it."""
NOWHERE = "registry.invalid/x@sha256:" + "0" * 64


@pytest.fixture
def place_in(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., KubernetesTarget]]:
    """Makes targets: of the releases of `released`, as they are wired, or with another `image_of`. `home`: another one
    than that of `released`, of a control plane with the same store."""
    targets: list[tuple[KubernetesTarget, Cluster]] = []

    def make(kubeconfig: Path, namespace: str, home: Home | None = None, **other: Any) -> KubernetesTarget:
        client = Cluster.connected(kubeconfig)
        settings = Settings(namespace, replicas=SIZE, sizing=SMALL)
        if other:
            target = KubernetesTarget(client, settings, **{"holds": lambda _: True, **other})
        else:
            released = request.getfixturevalue("released")
            store = SqlStore(f"sqlite:///{tmp_path}/store.db")
            kept = KeptImages(home or released.home, released.image_of, store)
            target = build_target(home or released.home, client, settings, kept)
        targets.append((target, client))
        return target

    yield make
    for target, client in targets:
        target.close()
        client.close()


@pytest.fixture
def target(cluster: Lab, own_namespace: str, place_in: Callable[..., KubernetesTarget]) -> KubernetesTarget:
    return place_in(cluster.kubeconfig, own_namespace)


@pytest.fixture
def client(cluster: Lab) -> Iterator[Cluster]:
    one = Cluster.connected(cluster.kubeconfig)
    yield one
    one.close()


class TestKubernetes(TargetContract):
    @pytest.fixture
    def away(
        self, cluster: Lab, own_namespace: str, place_in: Callable[..., KubernetesTarget], tmp_path: Path
    ) -> Iterator[Target]:
        with relayed(cluster.kubeconfig, tmp_path) as (relay, file):
            relay.cut()
            yield place_in(file, own_namespace)


def test_a_control_plane_with_an_empty_disk_brings_releases_back_from_their_images(
    cluster: Lab,
    own_namespace: str,
    place_in: Callable[..., KubernetesTarget],
    released: Released,
    release: Release,
    tmp_path: Path,
) -> None:
    first = place_in(cluster.kubeconfig, own_namespace)
    first.place(release)
    ready(first, release)
    first.close()
    cluster.kubectl("delete", "deployment", "--all", "--namespace", own_namespace, "--wait=true")
    empty = Home(tmp_path / "empty")
    empty.path.mkdir()
    empty.secret.write_text(released.home.secret.read_text())
    second = place_in(cluster.kubeconfig, own_namespace, home=empty)
    assert second.holds(release)
    second.place(release)
    ready(second, release)
    assert [path.name for path in empty.path.iterdir()] == ["secret"]
    unknown = replace(release, id="card-fraud-9-ffffff", version="9")
    assert not second.holds(unknown)
    second.place(unknown)
    words = "no image of it is known. Deploy card-fraud@9 again."
    reason(second, unknown, words, PlacementState.FAILED)


def reason(target: Target, release: Release, words: str, state: PlacementState = PlacementState.STARTING) -> Placement:
    """What it says once it says this."""

    def said() -> bool:
        found = target.observe()[release.id]
        assert (found.state, words in found.reason) == (state, True), found
        return True

    eventually(words, said)
    return target.observe()[release.id]


def test_a_placed_release_answers_those_who_show_its_key(
    cluster: Lab, own_namespace: str, target: KubernetesTarget, release: Release, released: Released
) -> None:
    target.place(release)
    found = ready(target, release)
    service = found.endpoint.partition(".")[0]
    assert found.endpoint == f"{service}.{own_namespace}.svc:8080"
    with cluster.reach(own_namespace, service, 8080) as address:
        assert asked(address, key_of(released, release))["predictions"]
        with pytest.raises(urllib.error.HTTPError):
            asked(address, "")


def key_of(released: Released, release: Release) -> str:
    return router_key(released.home.secret.read_text(), release.id)


def asked(address: str, key: str) -> Any:
    content = {"Content-Type": "application/json", ROUTER_HEADER: key}
    request = urllib.request.Request(f"http://{address}/invocations", json.dumps(ROW).encode(), content)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def test_a_compiled_release_is_held_with_its_graph_alone(
    target: KubernetesTarget, release: Release, released: Released
) -> None:
    graph = released.home.graph("c" * 64)
    compiled = replace(release, compiled=Compiled(graph.name, release.environment_digest))
    assert not target.holds(compiled)
    graph.mkdir(parents=True)
    assert target.holds(compiled)
    graph.rmdir()
    assert not target.holds(replace(release, compiled=Compiled(graph.name, "gone")))


def test_everything_of_a_removed_release_goes_once_its_pods_have_drained(
    client: Cluster, own_namespace: str, target: KubernetesTarget, release: Release
) -> None:
    target.place(release)
    ready(target, release)
    target.remove(release.id)
    assert target.observe() == {}

    while "Pod" in (there := left(client, own_namespace)):
        assert {"NetworkPolicy", "ServiceAccount"} <= there or "Pod" not in left(client, own_namespace)
    eventually("nothing is left", lambda: not left(client, own_namespace))


_NAMES = (
    "Deployment",
    "HorizontalPodAutoscaler",
    "NetworkPolicy",
    "Pod",
    "PodDisruptionBudget",
    "Secret",
    "Service",
    "ServiceAccount",
)
OWN = [kind for kind in KINDS if kind.name in _NAMES]


def left(client: Cluster, namespace: str) -> set[str]:
    """The kinds of which a release still has an object."""
    return {kind.name for kind in OWN if client.list(kind, namespace, labels={"serinus/role": "release"}).items}


def test_what_a_killed_process_has_left_is_taken_away_by_the_next(
    cluster: Lab,
    client: Cluster,
    own_namespace: str,
    place_in: Callable[..., KubernetesTarget],
    unbuilt: Release,
) -> None:
    first = place_in(cluster.kubeconfig, own_namespace, image_of=lambda _: NOWHERE)
    first.place(unbuilt)
    eventually("it is placed", lambda: client.find(DEPLOYMENT, unbuilt.id, own_namespace))
    first.close()
    client.delete(DEPLOYMENT, unbuilt.id, own_namespace, foreground=True)
    place_in(cluster.kubeconfig, own_namespace, image_of=lambda _: NOWHERE)
    eventually("nothing is left", lambda: not left(client, own_namespace))


def test_a_process_that_was_not_there_observes_the_same(
    cluster: Lab,
    own_namespace: str,
    target: KubernetesTarget,
    place_in: Callable[..., KubernetesTarget],
    release: Release,
) -> None:
    scale = Scale(max_workers=1, keep_warm=True)
    target.place(release, scale)
    before = ready(target, release)
    other = place_in(cluster.kubeconfig, own_namespace)
    found = other.observe()[release.id]
    assert (found.state, found.endpoint, found.scale) == (PlacementState.READY, before.endpoint, scale)
    other.distrust(release.id)
    eventually("the other one sees it", lambda: target.observe()[release.id].long)
    eventually("the long way", lambda: other.observe()[release.id].way == "mlflow")


def test_no_request_fails_while_pods_get_another_size(
    cluster: Lab,
    client: Cluster,
    own_namespace: str,
    target: KubernetesTarget,
    release: Release,
    released: Released,
) -> None:
    key = key_of(released, release)
    target.place(release)
    ready(target, release)
    before = pods(client, own_namespace)
    target.place(release, Scale(max_workers=2))
    with cluster.reach(own_namespace, release.id, 8080) as address:

        def replaced() -> bool:
            assert asked(address, key)["predictions"]
            assert target.observe()[release.id].state is PlacementState.READY
            return not before & pods(client, own_namespace)

        deadline = itertools.count()
        while not replaced():
            assert next(deadline) < 5000
    assert target.observe()[release.id].workers == 2


def pods(client: Cluster, namespace: str) -> set[str]:
    found = client.list(POD, namespace, labels={"serinus/role": "release"}).items
    return {one["metadata"]["name"] for one in found}


def test_an_image_that_the_registry_does_not_have_is_said(
    cluster: Lab, own_namespace: str, place_in: Callable[..., KubernetesTarget], unbuilt: Release
) -> None:
    gone = f"{cluster.registry}/serinus/gone@sha256:" + "0" * 64
    target = place_in(cluster.kubeconfig, own_namespace, image_of=lambda _: gone)
    target.place(unbuilt)
    assert gone in reason(target, unbuilt, "cannot be pulled: the registry does not have it").reason


def test_an_image_whose_registry_is_not_there_is_said(
    cluster: Lab, own_namespace: str, place_in: Callable[..., KubernetesTarget], unbuilt: Release
) -> None:
    target = place_in(cluster.kubeconfig, own_namespace, image_of=lambda _: NOWHERE)
    target.place(unbuilt)
    reason(target, unbuilt, "cannot be pulled: the node does not reach the registry")


def test_an_image_that_cannot_be_built_fails_and_a_registry_that_is_away_is_waited_for(
    cluster: Lab, own_namespace: str, place_in: Callable[..., KubernetesTarget], released: Released, release: Release
) -> None:
    away = [True]

    def image_of(one: Release) -> str:
        if one.version == "8":
            raise Unbuildable("'torch' has no wheel for linux/arm64.")
        if away[0]:
            raise Unavailable("The registry does not answer.", delay=0.5)
        return released.image_of(one)

    target = place_in(cluster.kubeconfig, own_namespace, image_of=image_of)
    other = released.release(version="8")
    target.place(other)
    target.place(release)
    reason(target, other, "no wheel", PlacementState.FAILED)
    reason(target, release, "The registry does not answer.")
    away[0] = False
    ready(target, release)


def test_a_pod_that_no_node_has_room_for_is_said(target: KubernetesTarget, release: Release) -> None:
    target.place(release, Scale(memory_limit_bytes=2**45))
    reason(target, release, "Insufficient memory")


def test_a_quota_is_said_and_the_release_runs_once_it_is_raised(
    cluster: Lab, own_namespace: str, target: KubernetesTarget, release: Release
) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team"}}
    cluster.apply(own_namespace, {**quota, "spec": {"hard": {"pods": "0"}}})
    eventually(
        "it is in force",
        lambda: cluster.get("resourcequota", "team", f"--namespace={own_namespace}").get("status", {}).get("hard"),
    )
    target.place(release)
    reason(target, release, "the quota 'team' of the namespace is used up")
    cluster.kubectl("delete", "resourcequota", "team", f"--namespace={own_namespace}")
    ready(target, release)


def test_a_model_that_does_not_start_fails_with_its_last_words(target: KubernetesTarget, release: Release) -> None:
    refused = replace(release, settings=ServingSettings(unlogged="refuse"))  # a pod sends no records
    target.place(refused)
    reason(target, refused, "unlogged", PlacementState.FAILED)


def test_a_pod_that_needs_more_memory_than_it_has_fails(
    cluster: Lab, own_namespace: str, place_in: Callable[..., KubernetesTarget], release: Release, released: Released
) -> None:
    client = Cluster.connected(cluster.kubeconfig)
    small = Settings(
        own_namespace, replicas=Replicas(least=1), sizing=replace(SMALL, worker_bytes=2**20, base_bytes=2**24)
    )
    target = KubernetesTarget(client, small, released.image_of, lambda _: True)
    try:
        target.place(release)
        reason(target, release, "needed more memory than the 17Mi of its pod", PlacementState.FAILED)
    finally:
        target.close()
        client.close()


def test_a_person_who_scales_to_nothing_is_told_how_to_undo_it(
    cluster: Lab, own_namespace: str, target: KubernetesTarget, release: Release
) -> None:
    target.place(release)
    ready(target, release)
    scale = ("scale", f"--namespace={own_namespace}", f"deployment/{release.id}")
    cluster.kubectl(*scale, "--replicas=0")
    reason(target, release, "kubectl scale --replicas=1")
    cluster.kubectl(*scale, "--replicas=1")
    ready(target, release)


def test_a_distrusted_compiled_release_gets_an_image_with_the_models_own_environment(
    cluster: Lab, client: Cluster, own_namespace: str, place_in: Callable[..., KubernetesTarget], unbuilt: Release
) -> None:
    asked_for: list[Release] = []

    def image_of(one: Release) -> str:
        asked_for.append(one)
        return f"registry.invalid/{'graph' if one.compiled else 'model'}@sha256:" + "0" * 64

    target = place_in(cluster.kubeconfig, own_namespace, image_of=image_of)
    compiled = replace(unbuilt, compiled=Compiled("c" * 64, "d" * 64))
    target.place(compiled)
    eventually("it is placed", lambda: client.find(DEPLOYMENT, unbuilt.id, own_namespace))
    target.distrust(unbuilt.id)
    assert target.observe()[unbuilt.id].long

    def image() -> str:
        spec = client.get(DEPLOYMENT, unbuilt.id, own_namespace)["spec"]["template"]["spec"]
        return str(spec["containers"][0]["image"])

    eventually("it has another image", lambda: "/model@" in image())
    assert [one.compiled is None for one in asked_for] == [False, True]


RULES = """
- {apiGroups: [apps], resources: [deployments], verbs: [get, list, watch, create, patch, delete]}
- {apiGroups: [autoscaling], resources: [horizontalpodautoscalers], verbs: [list, watch, create, patch, delete]}
- {apiGroups: [policy], resources: [poddisruptionbudgets], verbs: [list, create, patch, delete]}
- {apiGroups: [networking.k8s.io], resources: [networkpolicies], verbs: [list, create, patch, delete]}
- {apiGroups: [''], resources: [services, secrets, serviceaccounts], verbs: [list, create, patch, delete]}
- {apiGroups: [''], resources: [pods, events], verbs: [list, watch]}
- {apiGroups: [''], resources: [configmaps], verbs: [get, create, patch]}
- {apiGroups: [metrics.k8s.io], resources: [pods], verbs: [list]}
"""


@contextmanager
def someone(cluster: Lab, namespace: str, rules: list[dict[str, Any]], directory: Path) -> Iterator[Path]:
    """A kubeconfig of a service account with these rights."""
    api, metadata = "rbac.authorization.k8s.io/v1", {"name": "engine"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "engine"}
    subject = {"kind": "ServiceAccount", "name": "engine", "namespace": namespace}
    cluster.apply(
        namespace,
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {"apiVersion": api, "kind": "Role", "metadata": metadata, "rules": rules},
        {"apiVersion": api, "kind": "RoleBinding", "metadata": metadata, "roleRef": role, "subjects": [subject]},
    )
    token = cluster.kubectl("create", "token", "engine", f"--namespace={namespace}").strip()
    yield as_bearer(cluster.kubeconfig, token, directory)


def test_the_documented_rights_suffice(
    cluster: Lab,
    own_namespace: str,
    place_in: Callable[..., KubernetesTarget],
    release: Release,
    tmp_path: Path,
) -> None:
    with someone(cluster, own_namespace, yaml.safe_load(RULES), tmp_path) as file:
        target = place_in(file, own_namespace)
        target.distrust(release.id)
        target.place(release)
        assert ready(target, release).long
        target.remove(release.id)
        client = Cluster.connected(file)
        eventually("nothing is left", lambda: not left(client, own_namespace), seconds=180)
        client.close()


def test_a_right_that_is_missing_is_named_while_the_release_waits(
    cluster: Lab, own_namespace: str, place_in: Callable[..., KubernetesTarget], unbuilt: Release, tmp_path: Path
) -> None:
    rules = [one for one in yaml.safe_load(RULES) if one["apiGroups"] != ["policy"]]
    with someone(cluster, own_namespace, rules, tmp_path) as file:
        target = place_in(file, own_namespace, image_of=lambda _: NOWHERE)
        target.place(unbuilt)
        found = reason(target, unbuilt, "lack the right to patch poddisruptionbudgets.policy")
        assert "Grant the verb 'patch' on 'poddisruptionbudgets.policy'" in found.reason
