"""Pods are there before the load that needs them, and no request fails while they come and go."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from clusters import Cluster as Lab
from clusters import eventually
from gateways import gateways
from lab import ADA, MODEL, FakeRouter, FakeScorer
from lab import SPEC as COMMON
from lab import Lab as World
from released import Released, made
from steady_load import Steady
from target_contract import ready

from serinus.core.home import Home
from serinus.core.keys import router_key
from serinus.core.release import Release, Scale
from serinus.core.rollout import Kind, Phase
from serinus.core.routing import WHOLE, Arm, Role, Routing
from serinus.targets.kubernetes.cluster import Cluster
from serinus.targets.kubernetes.cluster.kinds import HORIZONTAL_POD_AUTOSCALER
from serinus.targets.kubernetes.gateway.cluster_board import Places
from serinus.targets.kubernetes.gateway.counting import Standing
from serinus.targets.kubernetes.gateway.router import ClusterRouter
from serinus.targets.kubernetes.gateway.settings import GatewaySettings
from serinus.targets.kubernetes.manifests import Replicas, Settings, Sizing
from serinus.targets.kubernetes.target import KubernetesTarget
from serinus.wiring.gateways import build_cluster_router

pytestmark = pytest.mark.timeout(840)
INFER = f"/v2/models/{MODEL}/infer"
ROW = json.dumps(
    {
        "inputs": [
            {"name": "amount", "shape": [1], "datatype": "FP64", "data": [12.5]},
            {"name": "hour", "shape": [1], "datatype": "FP64", "data": [3.0]},
        ]
    }
)
REPLICAS = Replicas(least=1, most=4, scale_down_after=5)
SIZING = Sizing(requested_share=0.05, worker_bytes=256 * 2**20)
"""A pod is busy from 35 requests or so a second on."""
BUSY, QUIET = 300, 4
"""Requests a second."""


@dataclass
class Serving:
    namespace: str
    target: KubernetesTarget
    router: ClusterRouter
    callers: str
    client: Cluster
    _turn: int = 0

    def route(self, release: Release) -> None:
        """All requests to it."""
        self._turn += 1
        arm = Arm(release.id, WHOLE, Role.CHAMPION, self.target.observe()[release.id].endpoint)
        self.router.apply(Routing(MODEL, (arm,), f"split-{self._turn}", "", 5_000))

    def load(self, rate: int) -> Steady:
        return Steady(self.callers, INFER, rate=rate, body=ROW)

    def capacity(self, release: Release) -> int:
        return self.target.observe()[release.id].capacity or 0

    def floor(self, release: Release) -> int:
        return int(self.client.get(HORIZONTAL_POD_AUTOSCALER, release.id, self.namespace)["spec"]["minReplicas"])


@pytest.fixture(scope="module")
def released(cluster: Lab, tmp_path_factory: pytest.TempPathFactory) -> Released:
    return made(Home(tmp_path_factory.mktemp("released") / "home"), cluster.registry, cluster.plain)


@pytest.fixture(scope="module")
def serving(cluster: Lab, namespace: str, gateway_image: str, released: Released) -> Iterator[Serving]:
    """A target and two gateways. Every release is served by the same model."""
    client = Cluster.connected(cluster.kubeconfig)
    secret, image = released.home.secret.read_text(), released.image_of(released.release())
    target = KubernetesTarget(
        client,
        Settings(namespace, replicas=REPLICAS, sizing=SIZING),
        lambda _: image,
        lambda _: True,
        router_key=lambda release: router_key(secret, release),
    )
    settings = GatewaySettings(
        gateway_image, namespace, models=namespace, cpu_request="50m", control_planes=("10.0.0.0/8",)
    )
    with ExitStack() as undo:
        undo.callback(client.close)
        undo.callback(target.close)
        callers, probes = undo.enter_context(gateways(cluster, client, settings))
        router = build_cluster_router(client, Places(namespace, namespace), secret, probes)
        eventually("two gateways", lambda: both_count(router), seconds=240)
        yield Serving(namespace, target, router, callers, client)


def both_count(router: ClusterRouter) -> bool:
    found = router.gateways()
    assert [one.standing for one in found] == [Standing.COUNTED] * 2, found
    return True


@pytest.fixture
def release(serving: Serving, released: Released) -> Iterator[Release]:
    one = released.release(MODEL, "1")
    serving.target.place(one)
    ready(serving.target, one)
    serving.target.expect(one.id, 0)
    yield one
    serving.target.remove(one.id)
    eventually("it is gone", lambda: serving.client.find(HORIZONTAL_POD_AUTOSCALER, one.id, serving.namespace) is None)


def test_no_request_fails_while_the_autoscaler_makes_four_pods_of_one_and_one_of_four(
    cluster: Lab, serving: Serving, release: Release
) -> None:
    serving.route(release)
    with serving.load(BUSY) as load:
        eventually("four pods", lambda: serving.capacity(release) == 4, seconds=240)
    print(f"1 -> 4 pods: {load}")
    assert load.failed == 0, str(load)
    with serving.load(QUIET) as rest:
        eventually("one pod", lambda: serving.capacity(release) == 1, seconds=300)
    print(f"4 -> 1 pods: {rest}")
    assert rest.failed == 0, str(rest)
    print(rescaled(cluster, serving))


def rescaled(cluster: Lab, serving: Serving) -> str:
    """What the autoscaler says it did."""
    return cluster.kubectl(
        "get", "events", f"--namespace={serving.namespace}", "--field-selector=reason=SuccessfulRescale"
    )


def test_pods_that_are_expected_come_without_load_and_go_when_they_are_not_expected_any_more(
    serving: Serving, release: Release
) -> None:
    began = time.monotonic()
    serving.target.expect(release.id, 3)
    found = serving.target.observe()[release.id]
    assert (found.expected, found.most) == (3, 4)
    eventually("three pods", lambda: serving.capacity(release) == 3)
    print(f"1 -> 3 pods before their load: {time.monotonic() - began:.1f} s")
    eventually("the autoscaler wants fewer", lambda: limited(serving, release) == "TooFewReplicas")
    assert serving.capacity(release) == 3
    serving.target.expect(release.id, 9)
    assert serving.floor(release) == 4, "no more than there may be"
    serving.target.expect(release.id, 0)
    assert (serving.floor(release), serving.target.observe()[release.id].expected) == (1, 0)
    eventually("one pod", lambda: serving.capacity(release) == 1, seconds=240)


def limited(serving: Serving, release: Release) -> str:
    """Why the autoscaler does not do what the load asks for. Empty: it does."""
    found = serving.client.get(HORIZONTAL_POD_AUTOSCALER, release.id, serving.namespace)
    conditions = {one["type"]: one for one in (found.get("status") or {}).get("conditions") or ()}
    limit = conditions.get("ScalingLimited", {})
    return str(limit.get("reason", "")) if limit.get("status") == "True" else ""


def test_a_floor_that_a_change_of_scale_has_overwritten_is_not_expected_any_more(
    serving: Serving, release: Release
) -> None:
    serving.target.expect(release.id, 2)
    serving.target.place(release, Scale(keep_warm=True))
    eventually("it was applied anew", lambda: serving.floor(release) == 1)
    eventually("it is seen", lambda: serving.target.observe()[release.id].expected == 0)
    serving.target.expect(release.id, 2)
    assert (serving.floor(release), serving.target.observe()[release.id].expected) == (2, 2)


# --- a whole rollout ----------------------------------------------------------------------------------------


@dataclass
class Routed(FakeRouter):
    """The gateways' router; probes are not needed."""

    gateways: Any = None
    told: Callable[[Routing], None] = lambda _: None

    def apply(self, routing: Routing) -> None:
        self.told(routing)
        self.gateways.apply(routing)
        super().apply(routing)


@dataclass
class Scored(FakeScorer):
    """Takes the version from the name of a Service."""

    def score(self, endpoint: str, *rest: Any) -> Any:
        return super().score(endpoint.partition(".")[0], *rest)


@dataclass
class Seen:
    """The capacity of the candidate at each of its shares, before the gateways had that share."""

    capacity: dict[int, int] = field(default_factory=dict)


# metrics-server measures a pod later than the gates ask.
SPEC = COMMON.replace("{evaluation: evaluation.csv}", "{accept: [inconclusive-memory]}") + "serving: {timeout: 5s}\n"


def test_no_request_fails_from_the_first_step_to_the_promotion_and_back(serving: Serving, tmp_path: Path) -> None:
    """The engine is real, and so are target, gateways and requests. What the log counts is simulated, in virtual
    time."""
    world, seen = World(tmp_path), Seen()
    versions: dict[str, str] = {}

    def told(routing: Routing) -> None:
        placements = serving.target.observe()
        for arm in routing.arms:
            if arm.release == versions.get("8"):
                seen.capacity.setdefault(arm.weight, placements[arm.release].capacity or 0)

    world.router = Routed(gateways=serving.router, told=told)
    world.target = serving.target  # type: ignore[assignment]
    world.scorer = Scored(world.behaviours)
    world.world = replace(world.world, router=world.router, target=world.target, scorer=world.scorer)
    world.fleet.specs[MODEL] = SPEC
    world.restart()

    def go_on(what: str, until: Callable[[], bool], seconds: float = 300) -> None:
        """A tick of four virtual seconds at a time."""

        def step() -> bool:
            world.step()
            candidate = world.rollout.candidate
            if candidate is not None:
                versions[candidate.version] = candidate.id
            return until()

        eventually(what, step, seconds=seconds)

    try:
        deploy(world, "7")
        go_on("the first deployment has ended", lambda: world.phase.ended)
        assert world.phase is Phase.PROMOTED, world.rollout.status
        world.per_second = BUSY
        with serving.load(BUSY) as load:
            champion = serving.target.observe()[versions["7"]].release
            eventually("four pods", lambda: serving.target.observe()[champion].capacity == 4, seconds=240)
            world.run(130)
            deploy(world, "8")
            go_on("the second deployment has ended", lambda: world.phase.ended)
            assert world.phase is Phase.PROMOTED, world.rollout.status
            world.desk.rollback(MODEL, to=None, actor=ADA)
            before = serving.target.observe()[champion].capacity
            go_on("the rollback has ended", lambda: world.rollout.kind is Kind.ROLLBACK and world.phase.ended)
        print(f"canary, promotion and rollback: {load}; pods of the candidate at each share: {seen.capacity}")
        assert load.failed == 0, str(load)
        assert world.champion == "7"
        assert before == 4
        assert seen.capacity[5_000] >= 2
        assert seen.capacity[WHOLE] == 4
    finally:
        for release in versions.values():
            serving.target.remove(release)


def deploy(world: World, version: str) -> None:
    world.register(version)
    world.desk.deploy(ref=f"{MODEL}@{version}", spec=None, actor=ADA)
