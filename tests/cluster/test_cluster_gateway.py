"""Gateways as pods: a split reaches all of them in seconds, and no request fails whichever pod goes."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from clusters import Cluster, eventually
from gateways import gateways
from steady_load import Steady

from serinus.core.keys import router_key
from serinus.core.release import Release, ServingSettings
from serinus.core.routing import WHOLE, Arm, Role, Routing
from serinus.targets.kubernetes.cluster import Cluster as Api
from serinus.targets.kubernetes.cluster import Denied
from serinus.targets.kubernetes.cluster.kinds import LEASE, POD
from serinus.targets.kubernetes.gateway.cluster_board import Places, lease_of, pod_of
from serinus.targets.kubernetes.gateway.counting import Report, Standing
from serinus.targets.kubernetes.gateway.manifests import all_of
from serinus.targets.kubernetes.gateway.router import ClusterRouter
from serinus.targets.kubernetes.gateway.settings import GatewaySettings, ServiceType
from serinus.wiring.gateways import build_cluster_router

CHAMPION, CANARY = "fraud-1-aaaaaa", "fraud-2-bbbbbb"
INFER = "/v2/models/fraud/infer"
SECRET_OF_THE_HOME = "secret of the home"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
RATE = 500
"""Requests a second."""


class Installed:
    def __init__(self, cluster: Cluster, api: Api, settings: GatewaySettings, callers: str, probes: str) -> None:
        self.cluster, self.api, self.settings, self.callers = cluster, api, settings, callers
        self.namespace = settings.namespace
        self.router = self.control_plane(probes)
        self._probes = probes
        self._turn = 0

    def control_plane(self, probes: str) -> ClusterRouter:
        return build_cluster_router(self.api, Places(self.namespace, self.settings.models), SECRET_OF_THE_HOME, probes)

    def arm(self, release: str, weight: int = WHOLE, role: Role = Role.CHAMPION) -> Arm:
        return Arm(release, weight, role, f"{release}.{self.settings.models}.svc:8080")

    def split(self, canary: int) -> float:
        """Seconds until the split was in force on all gateways."""
        self._turn += 1
        arms = (self.arm(CHAMPION, WHOLE - canary), self.arm(CANARY, canary, Role.CANARY))
        began = time.monotonic()
        self.router.apply(Routing("fraud", arms, f"split-{self._turn}", "rollout", 2_000))
        return time.monotonic() - began

    def pods(self, role: str = "gateway") -> list[str]:
        found = self.api.list(POD, self.namespace, labels={"serinus/role": role}).items
        return [one["metadata"]["name"] for one in found if "deletionTimestamp" not in one["metadata"]]

    def all_ready(self, number: int = 2) -> bool:
        counted = [one for one in self.router.gateways() if one.standing is Standing.COUNTED and one.running]
        return len(counted) == number

    def load(self) -> Steady:
        return Steady(self.callers, INFER, rate=RATE)


@pytest.fixture(scope="module")
def api(cluster: Cluster) -> Iterator[Api]:
    api = Api.connected(cluster.kubeconfig)
    yield api
    api.close()


@pytest.fixture(scope="module")
def installed(cluster: Cluster, api: Api, namespace: str, gateway_image: str, answer_image: str) -> Iterator[Installed]:
    """Two gateways, and two releases of two pods each."""
    settings = GatewaySettings(
        gateway_image, namespace, models=namespace, cpu_request="50m", control_planes=("10.0.0.0/8",)
    )
    with ExitStack() as undo:
        for release in (CHAMPION, CANARY):
            for manifest in release_of(release, namespace, answer_image):
                api.apply(manifest)
        callers, probes = undo.enter_context(gateways(cluster, api, settings))
        installed = Installed(cluster, api, settings, callers, probes)
        eventually("two gateways", installed.all_ready)
        eventually("two releases", lambda: installed.split(0) > 0)
        yield installed


def release_of(name: str, namespace: str, image: str) -> list[dict[str, Any]]:
    labels = {"serinus/release": name}
    container = {
        "name": "answer",
        "image": image,
        "ports": [{"name": "http", "containerPort": 8080}],
        "resources": {"requests": {"cpu": "20m", "memory": "16Mi"}},
        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
        "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }
    pod = {
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "automountServiceAccountToken": False,
        "containers": [container],
    }
    metadata = {"name": name, "namespace": namespace}
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": labels, "ports": [{"name": "http", "port": 8080, "targetPort": "http"}]},
        },
    ]


# --- a change -----------------------------------------------------------------------------------------------


def test_a_split_is_in_force_on_all_gateways_within_three_seconds(installed: Installed) -> None:
    took = [installed.split(canary) for canary in range(500, 10_500, 500)]
    print(f"split in force on two gateways: median {sorted(took)[10]:.2f} s, most {max(took):.2f} s")
    assert max(took) <= 3
    assert all(ask(installed.callers).text.startswith(CANARY) for _ in range(20))


def ask(address: str) -> httpx.Response:
    return httpx.post(f"http://{address}{INFER}", json={}, timeout=10)


def test_what_is_in_force_is_read_back_by_another_control_plane(installed: Installed) -> None:
    installed.split(2_500)
    found = installed.control_plane("").in_force("fraud")
    assert found is not None
    assert [arm.weight for arm in found.arms] == [7_500, 2_500]


def test_a_probe_reaches_a_release_that_has_no_traffic(installed: Installed) -> None:
    arm = installed.arm(CANARY)
    release = Release(CANARY, "probed", "2", "a", "e", ServingSettings(), NOW)
    address = installed.router.probe(release, arm.endpoint, 1_000)
    shown = {"x-serinus-router": router_key(SECRET_OF_THE_HOME, CANARY)}
    assert httpx.post(f"http://{address}/v2/models/probed/infer", headers=shown).text.startswith(CANARY)
    assert httpx.post(f"http://{address}/v2/models/probed/infer").status_code == 404
    installed.router.end_probe("probed")
    assert httpx.post(f"http://{installed.callers}/v2/models/probed/infer").status_code == 404


# --- no request fails ---------------------------------------------------------------------------------------


def test_no_request_fails_through_twenty_changes_of_the_split(installed: Installed) -> None:
    with installed.load() as load:
        for turn in range(20):
            installed.split(2_500 if turn % 2 else 7_500)
            time.sleep(0.25)
    print(f"20 splits: {load}")
    assert sum(load.statuses.values()) > 500
    assert load.failed == 0, str(load)


def test_no_request_fails_through_a_rolling_restart_of_gateways(installed: Installed) -> None:
    before = set(installed.pods())
    with installed.load() as load:
        installed.cluster.kubectl(
            "rollout", "restart", f"--namespace={installed.namespace}", "deployment/serinus-gateway"
        )
        installed.cluster.kubectl(
            "rollout", "status", f"--namespace={installed.namespace}", "deployment/serinus-gateway", "--timeout=110s"
        )
        eventually("the gateways before are gone", lambda: not before & all_pods(installed))
    print(f"rolling restart: {load}")
    assert load.failed == 0, str(load)
    eventually("both count", installed.all_ready)


def all_pods(installed: Installed) -> set[str]:
    """Those that are being deleted included."""
    found = installed.api.list(POD, installed.namespace, labels={"serinus/role": "gateway"}).items
    return {one["metadata"]["name"] for one in found}


def test_no_request_fails_when_a_pod_in_use_is_deleted(installed: Installed) -> None:
    installed.split(5_000)
    with installed.load() as load:
        gone = set()
        for release in (CHAMPION, CANARY):
            found = installed.api.list(POD, installed.namespace, labels={"serinus/release": release}).items
            gone.add(found[0]["metadata"]["name"])
            installed.api.delete(POD, found[0]["metadata"]["name"], installed.namespace)
        eventually("they are gone and replaced", lambda: replaced(installed, gone))
    print(f"pods deleted: {load}")
    assert load.failed == 0, str(load)


def replaced(installed: Installed, gone: set[str]) -> bool:
    found = [
        one
        for release in (CHAMPION, CANARY)
        for one in installed.api.list(POD, installed.namespace, labels={"serinus/release": release}).items
    ]
    ready = [one for one in found if pod_of(one).ready]
    return len(found) == len(ready) == 4 and not gone & {one["metadata"]["name"] for one in found}


def test_an_agent_that_ends_is_started_again_and_no_request_fails(installed: Installed) -> None:
    name = installed.pods()[0]
    inside = (f"--namespace={installed.namespace}", "--container=agent")
    end = "import os, signal; os.kill(1, signal.SIGTERM)"
    with installed.load() as load:
        installed.cluster.kubectl("exec", name, *inside, "--", "/opt/python/bin/python3", "-c", end)
        eventually("a new agent", lambda: restarts(installed, name) == 1)
        eventually("both count", installed.all_ready)
        took = installed.split(6_000)
    print(f"an agent ended: split in force after {took:.2f} s; {load}")
    assert load.failed == 0, str(load)


def restarts(installed: Installed, pod: str) -> int:
    status = installed.api.get(POD, pod, installed.namespace)["status"]
    [agent] = status["initContainerStatuses"]
    return int(agent["restartCount"]) if agent["ready"] else 0


def test_a_gateway_that_is_killed_costs_what_it_had_under_way_and_goes_out_of_the_count(installed: Installed) -> None:
    """Its callers' connections are reset; whoever sends once more finds the other one."""
    gone = installed.pods()[0]
    with installed.load() as load:
        time.sleep(1)
        installed.api.delete(POD, gone, installed.namespace, grace=0)
        took = installed.split(1_000)
        eventually("another one counts", installed.all_ready)
    print(f"a gateway killed: split in force after {took:.2f} s; {load}")
    assert took <= 3
    assert set(load.statuses) == {200}
    assert len(load.failures) <= load.connections
    eventually("its Lease is gone", lambda: installed.api.find(LEASE, gone, installed.namespace) is None, seconds=60)


# --- manifests ----------------------------------------------------------------------------------------------

GIVEN_OUT = {"clusterIP", "clusterIPs", "ipFamilies"}
"""Fields of a Service, by the cluster."""


@pytest.mark.parametrize("service", ["ClusterIP", "NodePort", "LoadBalancer"])
def test_nothing_of_a_manifest_shows_as_drift(installed: Installed, service: ServiceType) -> None:
    """As Argo CD would compare it: the API server adds nothing that the manifest could have said."""
    settings = replace(installed.settings, service=service)
    for manifest in all_of(settings):
        asked = installed.api.apply(manifest, force=True, dry_run=True)
        metadata = {key: value for key, value in asked["metadata"].items() if key in ("labels", "name", "namespace")}
        found = {**{key: value for key, value in asked.items() if key != "status"}, "metadata": metadata}
        if manifest["kind"] == "Service":
            found["spec"] = {key: value for key, value in asked["spec"].items() if key not in GIVEN_OUT}
            for port in found["spec"]["ports"]:
                port.pop("nodePort", None)  # given out as well
        if manifest["kind"] == "Deployment":
            found["spec"]["template"]["metadata"].pop("annotations", None)  # of the rolling restart
        assert found == manifest


# --- what a gateway may do ----------------------------------------------------------------------------------


def test_a_gateway_may_write_its_own_report_and_no_other(installed: Installed, tmp_path: Path) -> None:
    """By a token that is bound to its pod, as the kubelet makes one for it."""
    first, second = sorted(installed.pods())
    uids = {name: installed.api.get(POD, name, installed.namespace)["metadata"]["uid"] for name in (first, second)}
    bound = ("--bound-object-kind=Pod", f"--bound-object-name={first}")
    token = installed.cluster.kubectl(
        "create", "token", "serinus-gateway", f"--namespace={installed.namespace}", *bound
    ).strip()
    gateway = as_whoever_has(token, installed.cluster, tmp_path / "kubeconfig")

    def write(pod: str, uid: str) -> None:
        report = Report(pod, uid, "a-version-that-nobody-runs", "", "by a test")
        gateway.apply(lease_of(report, installed.namespace, datetime.now(UTC)), force=True)

    try:
        write(first, uids[first])
        for pod, uid in (
            (second, uids[second]),
            (second, uids[first]),
            (first, uids[second]),
            ("another", uids[first]),
        ):
            with pytest.raises(Denied, match="a gateway writes its own report alone"):
                write(pod, uid)
    finally:
        gateway.close()
    said = installed.api.get(LEASE, second, installed.namespace)["metadata"]["annotations"]
    assert said["serinus/trouble"] != "by a test"
    eventually("the gateway reports itself again", installed.all_ready, seconds=30)


def as_whoever_has(token: str, cluster: Cluster, file: Path) -> Api:
    config = json.loads(cluster.kubectl("config", "view", "--raw", "--minify", "--output=json"))
    config["users"][0]["user"] = {"token": token}
    file.write_text(json.dumps(config))
    return Api.connected(file)


@pytest.mark.parametrize(
    ("verb", "what", "allowed"),
    [
        ("get", "secrets/serinus-routing", "yes"),
        ("watch", "secrets/serinus-routing", "yes"),
        ("get", "secrets/another", "no"),
        ("list", "secrets", "no"),
        ("update", "secrets/serinus-routing", "no"),
        ("list", "endpointslices.discovery.k8s.io", "yes"),
        ("create", "leases.coordination.k8s.io", "yes"),
        ("delete", "leases.coordination.k8s.io", "no"),
        ("list", "pods", "no"),
        ("create", "pods", "no"),
    ],
)
def test_a_gateway_may_read_and_write_what_it_needs_and_nothing_else(
    installed: Installed, verb: str, what: str, allowed: str
) -> None:
    account = f"system:serviceaccount:{installed.namespace}:serinus-gateway"
    command = [installed.cluster.kubectl_program, f"--kubeconfig={installed.cluster.kubeconfig}"]
    told = subprocess.run(
        [*command, "auth", "can-i", verb, what, f"--namespace={installed.namespace}", f"--as={account}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert told.stdout.strip() == allowed
