"""The engine outside of a cluster, end to end: real processes of `serinus up`, MLflow, pods, gateways, and callers."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from clusters import Cluster, eventually
from outside import FIRST_DEPLOYMENT, engine, kill, pods, settings
from relays import as_bearer
from whole_load import Load, wait_until
from whole_models import of_code, trained
from whole_serinus import Serinus

from serinus.core.errors import Refused
from serinus.core.home import Home
from serinus.targets.local.supervisor import Options, down, up
from serinus.targets.local.supervisor.settings import load

pytestmark = pytest.mark.timeout(840)

MODEL = "card"
RATE = 120.0
"""Requests a second. The nodes of the lab have two processors for everything."""


@pytest.fixture(scope="module")
def document(cluster: Cluster, namespace: str) -> dict[str, Any]:
    """The settings of the cluster."""
    return settings(cluster, namespace)


@pytest.fixture(scope="module")
def serinus(cluster: Cluster, document: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serinus]:
    with engine(cluster, document, tmp_path_factory.mktemp("cluster")) as found:
        yield found


@pytest.fixture(scope="module")
def champion(serinus: Serinus) -> str:
    """The id of the release of the first version, which serves the model."""
    began = time.monotonic()
    ended = serinus.ended(serinus.deploy(f"{MODEL}@{trained(MODEL, 1.0)}"), FIRST_DEPLOYMENT)
    assert ended["status"]["phase"] == "promoted", ended["status"]
    print(f"\nfrom the first deployment to its promotion: {time.monotonic() - began:.0f} s")
    return str(ended["candidate"]["id"])


def champion_of(serinus: Serinus) -> str:
    return str(serinus.model(MODEL)["champion"]["release"])


def test_the_first_version_answers_through_the_gateways(
    serinus: Serinus, champion: str, cluster: Cluster, namespace: str
) -> None:
    answer = serinus.infer(MODEL, [{"amount": 12.5, "hour": 3.0}])
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-serinus-release"] == champion
    [pod] = pods(cluster, namespace, "release")
    assert pod["metadata"]["labels"]["serinus/model"] == MODEL
    assert {one["name"] for one in serinus.api.get("/v1/status").json()["processes"]} == {
        "supervisor", "mlflow", "collector", "control",
    }  # fmt: skip


def test_no_request_fails_and_no_record_is_lost_while_a_release_is_promoted_and_rolled_back_and_the_engine_is_killed(
    serinus: Serinus, champion: str
) -> None:
    version = trained(MODEL, 0.1)
    with serinus.load(MODEL, RATE) as load:
        wait_until(lambda: len(load.seen) > RATE, 30, "steady load")
        began = time.time()
        rollout = serinus.deploy(f"{MODEL}@{version}", seconds=6)
        wait_until(lambda: serinus.rollout(rollout)["status"]["phase"] in ("canary", "aborted"), 240, "the canary")
        before = serinus.rollout(rollout)
        assert before["status"]["phase"] == "canary", before["status"]
        candidate = before["candidate"]["id"]
        first = wait_until(lambda: first_of(load, candidate), 30, "a request of the canary")
        print(f"\nfrom the deployment to the first request of the canary: {first - began:.1f} s")
        killed = kill(serinus, "control")
        after = serinus.rollout(rollout)
        ended = serinus.ended(rollout, 240)
        assert ended["status"]["phase"] == "promoted", ended["status"]
        count_of(load, 2)
        back, seconds = serinus.rolled_back(MODEL)
        assert back["status"]["phase"] == "promoted", back["status"]
        count_of(load, 2)
    print(f"{len(load.seen)} requests at {load.reached():.0f}/s; rollback {seconds:.2f} s; control away {killed:.1f} s")
    assert load.in_words() == {}
    assert after["status"]["phase"] == "canary"
    assert [ended["steps"][0][key] for key in ("split", "started_at")] == [
        before["steps"][0][key] for key in ("split", "started_at")
    ]
    records = serinus.logged(load)
    assert sorted(records["request_id"]) == sorted(load.answered)
    assert set(records["release"]) == {champion, candidate}
    assert {seen.release for seen in load.seen[-50:]} == {champion} == {champion_of(serinus)}


def first_of(load: Load, release: str) -> float | None:
    """When the first request that this release has answered was due."""
    return next((seen.at for seen in load.seen if seen.release == release), None)


def count_of(load: Load, seconds: float) -> None:
    """Waits until so many seconds' requests more have ended."""
    until = len(load.seen) + seconds * RATE
    wait_until(lambda: len(load.seen) > until, 60, "further requests")


def test_a_version_that_fails_in_service_is_stopped_by_the_judge_and_the_champion_answers(
    serinus: Serinus, champion: str, tmp_path: Path
) -> None:
    before = champion_of(serinus)
    (tmp_path / "data.txt").write_text("nothing")
    version = of_code("raises_in_service", tmp_path / "data.txt", model=MODEL)
    # Many entities: the judge counts the first error of each, and what one burst explains aborts nothing.
    with Load(serinus.addresses.envoy, MODEL, RATE, entities=20_000) as load:
        rollout = serinus.deploy(f"{MODEL}@{version}")
        ended = serinus.ended(rollout, 300)
        count_of(load, 2)
    print(f"\n{ended['status']['cause']}: {ended['status']['reason']}")
    assert (ended["status"]["phase"], ended["status"]["cause"]) == ("aborted", "judge"), ended["status"]
    assert {seen.release for seen in load.failed if seen.status} <= {ended["candidate"]["id"]}
    assert [seen for seen in load.failed if not seen.status] == []
    assert champion_of(serinus) == before
    assert {seen.release for seen in load.seen[-50:]} == {before}


def test_routing_releases_and_records_go_on_while_the_engine_is_down(serinus: Serinus, champion: str) -> None:
    before = champion_of(serinus)
    with serinus.load(MODEL, RATE) as load:
        wait_until(lambda: len(load.seen) > RATE, 30, "steady load")
        down(serinus.home)
        assert not serinus.answers()
        count_of(load, 5)
        up(serinus.home)
        count_of(load, 2)
    assert load.in_words() == {}
    assert {seen.release for seen in load.seen} == {before}
    assert sorted(serinus.logged(load, timeout=60)["request_id"]) == sorted(load.answered)
    assert serinus.model(MODEL)["state"] == "serving"


def test_a_pod_that_only_looks_like_a_gateway_is_named_in_the_status(
    serinus: Serinus, champion: str, cluster: Cluster, namespace: str
) -> None:
    def warnings() -> list[str]:
        found: list[str] = serinus.api.get("/v1/status").json()["warnings"]
        return [line for line in found if "gateway" in line]

    eventually("a status without warnings", lambda: warnings() == [])
    container = {
        "name": "it",
        "image": "none.invalid/none",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    safe = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    metadata = {"name": "stranger", "labels": {"serinus/role": "gateway"}}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"securityContext": safe, "containers": [container]},
    }
    cluster.apply(namespace, pod)
    said = "the gateway stranger is not believed: it was not started by the Deployment of gateways"
    eventually("the warning", lambda: warnings() == [said])
    cluster.kubectl("delete", "pod", "stranger", f"--namespace={namespace}", "--grace-period=0", "--force")
    eventually("a status without warnings", lambda: warnings() == [])


def test_what_cannot_be_installed_for_want_of_rights_is_named_and_nothing_is_started(
    cluster: Cluster, namespace: str, document: dict[str, Any], serinus: Serinus, tmp_path: Path
) -> None:
    cluster.apply(namespace, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "nobody"}})
    token = cluster.kubectl("create", "token", "nobody", f"--namespace={namespace}").strip()
    another = {**document, "kubeconfig": str(as_bearer(cluster.kubeconfig, token, tmp_path))}
    (tmp_path / "cluster.yaml").write_text(yaml.safe_dump(another))
    home = Home(Path(tempfile.mkdtemp(prefix="serinus-nobody-", dir="/tmp")) / "home")
    with pytest.raises(Refused) as raised:
        up(home, Options(cluster=str(tmp_path / "cluster.yaml")))
    for right in (
        "deployments.apps 'serinus-gateway'",
        "roles.rbac.authorization.k8s.io",
        "validatingadmissionpolicies",
    ):
        assert right in raised.value.message
    assert f"in the namespace '{namespace}'" in raised.value.message
    assert token not in f"{raised.value}"
    found = load(home)
    assert found is not None
    assert found.cluster is None
    shutil.rmtree(home.path.parent)
