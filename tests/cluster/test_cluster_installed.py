"""The control plane in the cluster, installed as docs/kubernetes.md says. PostgreSQL, S3, MLflow and Argo CD are real.

PostgreSQL, the S3 server, MLflow and a package index run on this machine, at the address at which pods reach it.
"""

from __future__ import annotations

import ssl
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml
from clusters import Cluster, eventually
from installations import (
    PREDICTIONS,
    PYTHON,
    Again,
    Services,
    api_of,
    base_image,
    leader_of,
    make_secrets,
    namespace_of_releases,
    ran,
    ready,
    serinus_cli,
    team,
    uninstall,
    values_of,
)
from mlflow import MlflowClient
from whole_load import Load, wait_until
from whole_models import trained
from whole_serinus import Serinus

from serinus.core.home import Home
from serinus.predictions import DeltaPredictionLog
from serinus.predictions.table.places import place_at
from serinus.targets.local.supervisor import Addresses

pytestmark = pytest.mark.timeout(1500)

MODEL = "card"
RATE = 60.0
"""Requests a second. The nodes of the lab have two processors for everything."""
FIRST_DEPLOYMENT = 600.0
# The judge clears slow answers after about 10,000 requests where there are none, so the last step has most of the
# traffic. The limits are wide, so that a busy machine is no bad model.
SPEC = f"""
model: {MODEL}
serving: {{timeout: 3s}}
gates: {{latency_p99: 2s}}
rollout:
  steps:
    - {{traffic: 20%, requests: 200, for: 20s, at_most: 8m}}
    - {{traffic: 80%, requests: 300, for: 5s, at_most: 8m}}
watch:
  errors: {{budget: 2%}}
  fallbacks: {{budget: 2%}}
  missing: {{budget: 2%}}
  slow: {{ok: 3, bad: 10}}
"""


@pytest.fixture(scope="module")
def services(cluster: Cluster, namespace: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    with team(cluster, namespace, tmp_path_factory.mktemp("team")) as found:
        yield found


@pytest.fixture(scope="module")
def releases(cluster: Cluster, namespace: str, services: Services) -> Iterator[str]:
    with namespace_of_releases(cluster, namespace) as name:
        yield name


# --- the installation ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Installed:
    cluster: Cluster
    namespace: str
    serinus: Serinus
    token: str
    authority: Path
    """That has signed the certificate of the API."""
    seconds: float
    """From `serinus install` until the pods were ready."""

    def cli(self, *arguments: str) -> str:
        address = ("--server", self.serinus.addresses.api, "--ca", str(self.authority))
        return serinus_cli(*address, *arguments, SERINUS_TOKEN=self.token)

    def leader(self) -> str:
        """The pod that decides."""
        return leader_of(self.cluster, self.namespace)

    def kubectl(self, *arguments: str, seconds: float = 120) -> str:
        return self.cluster.kubectl(f"--namespace={self.namespace}", *arguments, seconds=seconds)

    def warnings(self) -> Sequence[str]:
        found: Sequence[str] = self.serinus.api.get("/v1/status").raise_for_status().json()["warnings"]
        return found


@pytest.fixture(scope="module")
def installed(
    cluster: Cluster, namespace: str, releases: str, services: Services, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installed]:
    directory = tmp_path_factory.mktemp("installed")
    base, draft = base_image(cluster, "control-base", "--git"), directory / "values.yaml"
    values = values_of(cluster, namespace, releases, services)
    draft.write_text(yaml.safe_dump(values))
    values["image"] = serinus_cli("install", draft, "--image", "--base", base)
    draft.write_text(yaml.safe_dump(values))
    authority = make_secrets(cluster, namespace, services, directory)
    kubeconfig = {"KUBECONFIG": str(cluster.kubeconfig)}
    began = time.monotonic()
    with ExitStack() as ended:
        ended.callback(uninstall, cluster, namespace, draft)
        serinus_cli("install", draft, "--namespace", namespace, **kubeconfig)
        ready(cluster, namespace)
        seconds = time.monotonic() - began
        print(f"\nfrom `serinus install` until both pods were ready: {seconds:.0f} s")
        create = (PYTHON, "-m", "serinus.cli", "token", "create", "anna", "--access", "admin", "--owner", "anna@bank")
        token = cluster.kubectl(f"--namespace={namespace}", "exec", "serinus-control-0", "--", *create).strip()
        address = api_of(cluster, namespace)
        api = ended.enter_context(
            httpx.Client(
                base_url=address,
                headers={"Authorization": f"Bearer {token}"},
                timeout=60,  # The nodes of the lab have two processors for everything.
                transport=Again(verify=ssl.create_default_context(cafile=str(authority))),
            )
        )
        callers = f"http://{ended.enter_context(cluster.reach(namespace, 'serinus-gateway', 80))}"
        environment = ended.enter_context(pytest.MonkeyPatch.context())
        settings = {
            "MLFLOW_TRACKING_URI": services.mlflow,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_UV_AUTO_DETECT": "false",  # this project's own lock is no part of a model
            **services.bucket.environment(),
        }
        for name, value in settings.items():
            environment.setenv(name, value)
        addresses = Addresses(directory, address, callers, services.mlflow, directory / "none", address)
        home = Home(Path(tempfile.mkdtemp(dir=directory)))
        client = ended.enter_context(httpx.Client(base_url=callers, timeout=20, trust_env=False))
        serinus = Serinus(home, addresses, api, client, MlflowClient(services.mlflow))
        serinus.log = ended.enter_context(
            closing(DeltaPredictionLog(home, place=place_at(PREDICTIONS), database=services.store))
        )
        yield Installed(cluster, namespace, serinus, token, authority, seconds)


@pytest.fixture(scope="module")
def champion(installed: Installed) -> str:
    """The id of the release of the first version, which serves the model."""
    began = time.monotonic()
    version = trained(MODEL, 1.0)
    ended = installed.serinus.ended(installed.serinus.deploy(f"{MODEL}@{version}"), FIRST_DEPLOYMENT)
    assert ended["status"]["phase"] == "promoted", ended["status"]
    print(f"\nfrom the first deployment to its promotion: {time.monotonic() - began:.0f} s")
    return str(ended["candidate"]["id"])


def champion_of(installed: Installed) -> str:
    return str(installed.serinus.model(MODEL)["champion"]["release"])


def count_of(load: Load, seconds: float) -> None:
    """Waits until so many seconds' requests more have ended."""
    until = len(load.seen) + seconds * RATE
    wait_until(lambda: len(load.seen) > until, 60, "further requests")


# --- what the guide promises --------------------------------------------------------------------------------


def test_the_first_version_answers_through_the_gateways(installed: Installed, champion: str) -> None:
    answer = installed.serinus.infer(MODEL, [{"amount": 12.5, "hour": 3.0}])
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-serinus-release"] == champion
    assert installed.leader() in ("serinus-control-0", "serinus-control-1")


def test_the_leader_is_deleted_in_a_canary_and_the_other_one_goes_on_with_it(
    installed: Installed, champion: str
) -> None:
    serinus = installed.serinus
    version = trained(MODEL, 0.1)
    with serinus.load(MODEL, RATE) as load:
        count_of(load, 1)
        rollout = serinus.deploy(f"{MODEL}@{version}", text=SPEC)
        wait_until(lambda: serinus.rollout(rollout)["status"]["phase"] in ("canary", "aborted"), 400, "the canary")
        before, leader = serinus.rollout(rollout), installed.leader()
        assert before["status"]["phase"] == "canary", before["status"]
        candidate = before["candidate"]["id"]
        began = time.monotonic()
        installed.kubectl("delete", "pod", leader, "--wait=false")
        other = eventually("another leader", lambda: (found := installed.leader()) != leader and found)
        seconds = time.monotonic() - began
        ended = serinus.ended(rollout, 700)
        assert ended["status"]["phase"] == "promoted", ended["status"]
        count_of(load, 2)
        back, rolled = serinus.rolled_back(MODEL, timeout=60)
        assert back["status"]["phase"] == "promoted", back["status"]
        count_of(load, 2)
    print(f"\n{len(load.seen)} requests at {load.reached():.0f}/s; {other} decides after {seconds:.1f} s; ", end="")
    print(f"rollback {rolled:.1f} s")
    assert load.in_words() == {}
    assert other == f"serinus-control-{1 - int(leader[-1])}"
    assert [ended["steps"][0][key] for key in ("split", "started_at")] == [
        before["steps"][0][key] for key in ("split", "started_at")
    ]
    records = serinus.logged(load, timeout=180)
    assert sorted(records["request_id"]) == sorted(load.answered)
    assert set(records["release"]) == {champion, candidate}
    assert {seen.release for seen in load.seen[-50:]} == {champion} == {champion_of(installed)}
    ready(installed.cluster, installed.namespace)


def test_no_request_fails_and_no_record_is_lost_while_both_control_planes_are_restarted(
    installed: Installed, champion: str
) -> None:
    with installed.serinus.load(MODEL, RATE) as load:
        count_of(load, 1)
        began = time.monotonic()
        installed.kubectl("rollout", "restart", "statefulset/serinus-control")
        ready(installed.cluster, installed.namespace)
        seconds = time.monotonic() - began
        count_of(load, 2)
    print(f"\n{len(load.seen)} requests while both were restarted, in {seconds:.0f} s")
    assert load.in_words() == {}
    records = installed.serinus.logged(load, timeout=180)
    assert sorted(records["request_id"]) == sorted(load.answered)
    assert champion_of(installed) == champion


def test_the_status_has_no_warnings_and_the_fleet_repository_says_what_is_live(
    installed: Installed, champion: str, cluster: Cluster
) -> None:
    eventually("a status without warnings", lambda: (found := installed.warnings()) == [] or print(found), seconds=180)
    assert "warning" not in installed.cli("status").lower()
    assert cluster.git is not None
    live = ran("git", "-c", "safe.directory=*", "-C", cluster.git.directory / f"{installed.namespace}.git",
               "show", f"main:live/{MODEL}.yaml")  # fmt: skip
    assert yaml.safe_load(live)["release"] == champion
    usage = usage_of(installed)
    print(f"\nmemory of a control plane by `kubectl top`: {dict(usage)}")
    assert all(mebibytes < 4096 for mebibytes in usage.values())


def usage_of(installed: Installed) -> Mapping[str, int]:
    """Memory in MiB of each pod of the control plane."""
    lines = installed.kubectl("top", "pods", "--selector=serinus/role=control", "--no-headers").splitlines()
    assert len(lines) == 2, lines
    return {name: int(memory.removesuffix("Mi")) for name, _, memory in map(str.split, lines)}
