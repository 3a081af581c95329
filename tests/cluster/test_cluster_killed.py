"""`kill -9` of each part in turn during one canary: which requests failed, what became of the rollout, what was lost.

The store and the counts are in PostgreSQL, and Argo CD brings the releases from Git. With SERINUS_WRITE_DOCS=1 what was
measured goes into docs/kubernetes.md.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from clusters import Cluster
from databases import Server, new_database
from identities import Authority
from kill_tables import failures, lost, write_rows
from outside import FIRST_DEPLOYMENT, engine, kill, pods, settings
from whole_load import Load, wait_until
from whole_models import trained
from whole_serinus import Serinus

from clusterlab import lifecycle
from clusterlab.serving import processes_of

pytestmark = pytest.mark.timeout(1500)

MODEL = "steady"
RATE = 100.0
"""Requests a second. The nodes of the lab have two processors for everything."""
ARGO_CD = "application-controller"
DOCUMENT = Path(__file__).parents[2] / "docs" / "kubernetes.md"
SPEC = f"""
model: {MODEL}
serving: {{timeout: 3s}}
gates:
  latency_p99: 2s
rollout:
  steps:
    - {{traffic: 50%, requests: 500, for: 4h, at_most: 5h}}
watch:
  errors: {{budget: 2%}}
  fallbacks: {{budget: 2%}}
  missing: {{budget: 2%}}
  slow: {{over: 1500ms}}
"""
"""One step that no test sees the end of."""


@dataclass(frozen=True)
class Measured:
    """One kill."""

    what: str
    requests: int
    again: str
    """How many requests had no answer and were sent once more, and why; empty: none."""
    failed: str
    """The same of those that were not answered then either."""
    back: float
    """Seconds from the kill until all was as before."""
    lost: int
    """Answered requests without a record."""

    @property
    def row(self) -> str:
        failed = self.failed or "0"
        return f"| {self.what} | {self.requests:,} | {self.again or '0'} | {failed} | {self.back:.1f} s | {self.lost} |"


@pytest.fixture(scope="module")
def table() -> Iterator[list[Measured]]:
    measured: list[Measured] = []
    yield measured
    write_rows(DOCUMENT, "| killed in a canary |", (one.row for one in measured))


@pytest.fixture(scope="module")
def serinus(
    cluster: Cluster, namespace: str, own_postgres: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Serinus]:
    if cluster.git is None:
        pytest.skip("this cluster has no Argo CD with a Git server that these tests may use: the lab has")
    directory = tmp_path_factory.mktemp("killed")
    bare = cluster.git.directory / f"{namespace}.git"
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", bare], check=True)
    with new_database(own_postgres.address) as database:
        (directory / "store").write_text(database)
        document = settings(cluster, namespace)
        document["collectors"]["certificate"] = certificate(directory)
        document |= {
            "control": {"store": str(directory / "store")},
            "fleet": {"remote": f"{cluster.git.url}/{bare.name}", "argo_cd": {"cluster": namespace}},
        }
        try:
            with engine(cluster, document, directory, predictions_database=database) as found:
                yield found
        finally:
            cluster.leave_argo_cd(namespace)
            shutil.rmtree(bare)


def certificate(directory: Path) -> dict[str, str]:
    """Of collectors, in files."""
    authority = Authority()
    chain, key = authority.issue("serinus-collector").written(directory)
    return {"chain": chain, "key": key, "authority": authority.written(directory / "authority.pem")}


@pytest.fixture(scope="module")
def canary(serinus: Serinus) -> str:
    """The rollout of a second version, which has half of the traffic until the tests have ended."""
    first = serinus.ended(serinus.deploy(f"{MODEL}@{trained(MODEL, 1.0)}"), FIRST_DEPLOYMENT)
    assert first["status"]["phase"] == "promoted", first["status"]
    rollout = serinus.deploy(f"{MODEL}@{trained(MODEL, 0.1)}", text=SPEC)
    wait_until(lambda: serinus.rollout(rollout)["status"]["phase"] in ("canary", "aborted"), 300, "the canary")
    assert serinus.rollout(rollout)["status"]["phase"] == "canary", serinus.rollout(rollout)["status"]
    return rollout


Kill = Callable[[str, Callable[[], object], Callable[[], Any]], Measured]


@pytest.fixture
def killed(serinus: Serinus, canary: str, table: list[Measured]) -> Kill:
    """killed(what, end, back): under load. `back`: whether all is as before."""

    def killed(what: str, end: Callable[[], object], back: Callable[[], Any]) -> Measured:
        before = serinus.rollout(canary)["steps"]
        with Load(serinus.addresses.envoy, MODEL, RATE, retries=True) as load:
            wait_until(lambda: len(load.seen) > RATE, 30, "steady load")
            at = time.time()
            end()
            wait_until(back, 120, f"the return of {what}")
            took = time.time() - at
            wait_until(lambda: load.seen[-1].good and load.seen[-1].at > at + took + 2, 30, "two seconds of answers")
        records = serinus.logged(load, timeout=60)
        measured = Measured(what, len(load.seen), again(load), failures(load), took, len(lost(load, records)))
        print(f"\n{measured.row}")
        table.append(measured)
        after = serinus.rollout(canary)
        assert after["status"]["phase"] == "canary", after["status"]
        known = ("split", "started_at")
        assert [[step[key] for key in known] for step in after["steps"]] == [
            [step[key] for key in known] for step in before
        ]
        assert load.in_words() == {}, load.failed[:3]
        once = records.filter(~pl.col("request_id").is_in(list(load.retried)))
        assert once["request_id"].is_unique().all()
        assert {seen.release for seen in load.seen[-200:]} == {
            serinus.model(MODEL)["champion"]["release"],
            after["candidate"]["id"],
        }
        return measured

    return killed


def again(load: Load) -> str:
    found = sorted(load.retried.values())
    return ", ".join(f"{found.count(how)} {how}" for how in dict.fromkeys(found))


# --- processes of Serinus -----------------------------------------------------------------------------------


def test_the_engine_goes_on_with_the_step_and_with_what_was_ordered_last(
    serinus: Serinus, canary: str, killed: Kill, cluster: Cluster, namespace: str
) -> None:
    version = trained("another", 1.0)
    ordered: list[str] = []

    def term() -> int:
        lease = cluster.get("lease", "serinus-control", f"--namespace={namespace}")
        return int(lease["spec"]["leaseTransitions"])

    before = term()

    def end() -> None:
        ordered.append(serinus.deploy(f"another@{version}"))
        kill(serinus, "control")

    measured = killed("engine", end, lambda: term() > before)
    assert (measured.again, measured.lost) == ("", 0)
    assert serinus.rollout(ordered[0])["asked_as"] == f"another@{version}"
    serinus.ended(ordered[0], FIRST_DEPLOYMENT)


def test_a_collector_that_is_killed_loses_no_record(serinus: Serinus, canary: str, killed: Kill) -> None:
    measured = killed("collector", lambda: kill(serinus, "collector"), lambda: True)
    assert (measured.again, measured.lost) == ("", 0)


# --- gateways and releases ----------------------------------------------------------------------------------


@pytest.fixture
def both_gateways(cluster: Cluster, namespace: str, serinus: Serinus) -> Callable[[], bool]:
    """Whether two are ready, and the status says nothing of them."""

    def look() -> bool:
        ready = [one for one in pods(cluster, namespace, "gateway") if is_ready(one)]
        warnings = serinus.api.get("/v1/status").json()["warnings"]
        return len(ready) == 2 and not [line for line in warnings if "gateway" in line]

    return look


def is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def kill_in(pod: dict[str, Any], container: str) -> None:
    """All processes of a container, from outside of it."""
    inside = processes_of([pod], container)
    assert inside, f"no process of the container {container} is found on this machine"
    for pid in inside:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("container", ["envoy", "agent"])
def test_a_part_of_a_gateway_is_started_again_and_callers_who_retry_see_nothing(
    cluster: Cluster,
    namespace: str,
    canary: str,
    killed: Kill,
    both_gateways: Callable[[], bool],
    container: str,
) -> None:
    pod = pods(cluster, namespace, "gateway")[0]
    uid = pod["metadata"]["uid"]

    def again() -> bool:
        [now] = [one for one in pods(cluster, namespace, "gateway") if one["metadata"]["uid"] == uid]
        found = [*now["status"]["containerStatuses"], *now["status"].get("initContainerStatuses", [])]
        [one] = [one for one in found if one["name"] == container]
        return bool(one["restartCount"]) and both_gateways()

    measured = killed(f"{container} of a gateway", lambda: kill_in(pod, container), again)
    assert measured.lost == 0
    assert container == "envoy" or measured.again == ""


def test_a_gateway_that_is_deleted_at_once_is_replaced_and_callers_who_retry_see_nothing(
    cluster: Cluster, namespace: str, canary: str, killed: Kill, both_gateways: Callable[[], bool]
) -> None:
    name = pods(cluster, namespace, "gateway")[0]["metadata"]["name"]

    def end() -> None:
        cluster.kubectl("delete", "pod", name, f"--namespace={namespace}", "--grace-period=0", "--force")

    def back() -> bool:
        there = {one["metadata"]["name"] for one in pods(cluster, namespace, "gateway")}
        return name not in there and both_gateways()

    measured = killed("gateway", end, back)
    assert measured.lost == 0


# --- what Serinus uses --------------------------------------------------------------------------------------


def test_a_rollout_outlives_a_crash_of_postgresql(
    serinus: Serinus, canary: str, killed: Kill, own_postgres: Server
) -> None:
    def end() -> None:
        own_postgres.end(signal.SIGQUIT)
        time.sleep(3)
        own_postgres.start()

    measured = killed("PostgreSQL, away for 3 s", end, serinus.answers)
    assert (measured.again, measured.lost) == ("", 0)


def variables(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # The process has ended.
        return ""


def test_a_rollout_outlives_the_controller_of_argo_cd(
    cluster: Cluster, namespace: str, canary: str, killed: Kill
) -> None:
    def controller() -> dict[str, Any]:
        found: dict[str, Any] = lifecycle.status()["programs"][f"argocd-{ARGO_CD}"]
        return found

    before, at = controller()["restarts"], datetime.now(UTC)

    def end() -> None:
        named = f"ARGOCD_BINARY_NAME=argocd-{ARGO_CD}"
        [pid] = [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/environ") if named in variables(path)]
        os.kill(pid, signal.SIGKILL)

    def back() -> bool:
        """It has looked at the Applications again."""
        found = json.loads(cluster.kubectl("get", "applications", "--namespace=argocd", "--output=json"))["items"]
        own = [one for one in found if one["metadata"]["name"].startswith(f"{namespace}.")]
        looked = [datetime.fromisoformat(one["status"]["reconciledAt"]) for one in own]
        return controller()["restarts"] > before and len(own) >= 2 and min(looked) > at

    measured = killed("application controller of Argo CD", end, back)
    assert (measured.again, measured.lost) == ("", 0)
