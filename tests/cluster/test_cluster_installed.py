"""The control plane in the cluster, installed as docs/kubernetes.md says. PostgreSQL, S3, MLflow and Argo CD are real.

PostgreSQL, the S3 server, MLflow and a package index run on this machine, at the address at which pods reach it.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import databases
import httpx
import mlflow_servers
import object_stores
import package_index
import pytest
import yaml
from clusters import Cluster, eventually
from mlflow import MlflowClient
from volumes import volumes
from waiting import free_port
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
READY = 900.0
"""Seconds until the pods are ready. The image of gateways is built before, where the registry does not have it."""
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
PREDICTIONS = f"s3://{object_stores.BUCKET}/serinus/predictions"
PYTHON = "/opt/python/bin/python3"


# --- the commands of the guide ------------------------------------------------------------------------------


def ran(*command: str | Path, **environment: str) -> str:
    """What a command prints; it fails the test with what it reports."""
    told = subprocess.run(command, capture_output=True, text=True, timeout=900, env={**os.environ, **environment})
    assert told.returncode == 0, f"{' '.join(map(str, command))}: {told.stderr}"
    return told.stdout.strip()


def serinus_cli(*arguments: str | Path, **environment: str) -> str:
    return ran(sys.executable, "-m", "serinus.cli", *arguments, **environment)


def base_image(cluster: Cluster, name: str, *options: str) -> str:
    plain = ["--plain"] if cluster.plain else []
    reference = f"{cluster.registry}/serinus/{name}"
    return ran(sys.executable, "-m", "serinus.targets.kubernetes.images", reference, *options, *plain)


def certificate(directory: Path, subject: str, names: str) -> tuple[Path, Path]:
    """Certificate and key, as the guide makes those of collectors."""
    key, chain = directory / f"{subject}.key", directory / f"{subject}.crt"
    ran(
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"),
        *("-days", "3650", "-subj", f"/CN={subject}", "-addext", f"subjectAltName={names}"),
        *("-keyout", key, "-out", chain),
    )
    return chain, key


# --- what has to be there -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Services:
    """What a team has: addresses as pods reach them."""

    store: str
    """The URL of a PostgreSQL database, with its password."""
    bucket: object_stores.ObjectStore
    mlflow: str
    index: str
    fleet: str
    storage_class: str


@pytest.fixture(scope="module")
def services(cluster: Cluster, namespace: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    if cluster.machine is None or cluster.git is None or not cluster.routed:
        pytest.skip("the cluster needs Argo CD with a Git server that these tests may use, and reaches this machine")
    machine = cluster.machine
    with ExitStack() as ended:
        server = ended.enter_context(databases.running(machine))
        store = ended.enter_context(databases.new_database(server.address))
        bucket = ended.enter_context(object_stores.running(tmp_path_factory.mktemp("object-store"), machine))
        registry = mlflow_servers.running(machine, free_port(), tmp_path_factory.mktemp("mlflow"))
        index = ended.enter_context(package_index.running(machine))
        bare = cluster.git.directory / f"{namespace}.git"
        ran("git", "init", "--quiet", "--bare", "--initial-branch=main", bare)
        ended.callback(shutil.rmtree, bare)
        yield Services(
            store,
            bucket,
            ended.enter_context(registry),
            index.url,
            f"{cluster.git.url}/{bare.name}",
            ended.enter_context(volumes(cluster, namespace, 2, "8Gi")),
        )


@pytest.fixture(scope="module")
def releases(cluster: Cluster, namespace: str, services: Services) -> Iterator[str]:
    """The namespace of releases. At the end Argo CD makes nothing in it any more."""
    name = f"{namespace}-fraud"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.apply("default", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    yield name
    cluster.leave_argo_cd(namespace)
    cluster.kubectl("delete", "namespace", name, "--wait=false")


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
        spec = self.cluster.get("lease", "serinus-control", f"--namespace={self.namespace}")["spec"]
        return str(spec.get("holderIdentity") or "").partition(".")[0]

    def kubectl(self, *arguments: str, seconds: float = 120) -> str:
        return self.cluster.kubectl(f"--namespace={self.namespace}", *arguments, seconds=seconds)

    def warnings(self) -> Sequence[str]:
        found: Sequence[str] = self.serinus.api.get("/v1/status").raise_for_status().json()["warnings"]
        return found


def values_of(cluster: Cluster, namespace: str, releases: str, services: Services) -> dict[str, Any]:
    """As of the guide, with the addresses of this machine and with small requests."""
    split = httpx.URL(services.store)
    return {
        "service": "NodePort",
        "storage": {"size": "8Gi", "class": services.storage_class},
        "resources": {"requests": {"cpu": "50m", "memory": "256Mi"}},
        "config": {
            "hosts": [node_address(cluster)],
            "disk": "4GiB",
            "cluster": {
                "namespace": releases,
                "images": {
                    "repository": f"{cluster.registry}/serinus",
                    "base": base_image(cluster, "base"),
                    "plain": list(cluster.plain),
                },
                "releases": {"replicas": {"least": 1, "most": 1}, "sizing": {"requested_share": 0.1}},
                "gateways": {"cpu_request": "50m"},
                "fleet": {"remote": services.fleet, "argo_cd": {"cluster": namespace}},
            },
            "mlflow": services.mlflow,
            "predictions": PREDICTIONS,
            "database": f"postgresql://{split.username}@{split.netloc.decode().rpartition('@')[2]}{split.path}",
        },
    }


def node_address(cluster: Cluster) -> str:
    [node] = cluster.get("nodes")["items"]
    return next(str(one["address"]) for one in node["status"]["addresses"] if one["type"] == "InternalIP")


def make_secrets(cluster: Cluster, namespace: str, services: Services, directory: Path) -> Path:
    """Those of the guide. Returns the authority of the API's certificate."""

    def make(kind: str, name: str, *content: str) -> None:
        cluster.kubectl(f"--namespace={namespace}", "create", "secret", kind, f"serinus-{name}", *content)

    make("generic", "identity", f"--from-literal=secret={secrets.token_hex(32)}")
    make("generic", "store", f"--from-literal=url={services.store}")
    chain, key = certificate(directory, "serinus-api", f"IP:{node_address(cluster)}")
    make("tls", "api-tls", f"--cert={chain}", f"--key={key}")
    variables = {
        "PGPASSWORD": databases.PASSWORD,
        "UV_DEFAULT_INDEX": services.index,
        **{name: value for name, value in services.bucket.environment().items() if name.startswith("AWS_")},
    }
    make("generic", "variables", *(f"--from-literal={name}={value}" for name, value in variables.items()))
    collectors, its_key = certificate(directory, "serinus-collector", "DNS:serinus-collector")
    files = {"tls.crt": collectors, "tls.key": its_key, "ca.crt": collectors}
    make("generic", "collectors-tls", *(f"--from-file={name}={file}" for name, file in files.items()))
    return chain


class Again(httpx.HTTPTransport):
    """Asks again what only reads, while the pod that would answer is ending."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        for _ in range(30 if request.method == "GET" else 0):
            try:
                return super().handle_request(request)
            except httpx.TransportError:
                time.sleep(1)
        return super().handle_request(request)


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
        [port] = cluster.get("service", "serinus", f"--namespace={namespace}")["spec"]["ports"]
        address = f"https://{node_address(cluster)}:{port['nodePort']}"
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


def ready(cluster: Cluster, namespace: str) -> None:
    wait = ("rollout", "status", "statefulset/serinus-control", f"--timeout={READY:.0f}s")
    try:
        cluster.kubectl(f"--namespace={namespace}", *wait, seconds=READY + 30)
    except AssertionError as error:
        told = cluster.kubectl(f"--namespace={namespace}", "describe", "pods", "--selector=serinus/role=control")
        logs = [
            cluster.kubectl(f"--namespace={namespace}", "logs", f"serinus-control-{n}", "--tail=60") for n in (0, 1)
        ]
        raise AssertionError("\n".join([str(error), told, *logs])) from error


def uninstall(cluster: Cluster, namespace: str, values: Path) -> None:
    """Removes what is of the whole cluster, and the control plane, which would make its ApplicationSet again. The rest
    goes with the namespaces."""
    cluster.kubectl(f"--namespace={namespace}", "delete", "statefulset", "serinus-control", "--ignore-not-found")
    cluster.kubectl(f"--namespace={namespace}", "wait", "--for=delete", "pod", "--selector=serinus/role=control")
    text = serinus_cli("--json", "install", values, "--namespace", namespace, "--dry-run")
    of_the_cluster = [one for one in json.loads(text) if "namespace" not in one["metadata"]]
    names = [(one["kind"], one["metadata"]["name"]) for one in of_the_cluster]
    policies = ("validatingadmissionpolicybinding", "validatingadmissionpolicy")
    for kind, name in (*names, *((kind, f"serinus-gateway-reports.{namespace}") for kind in policies)):
        cluster.kubectl("delete", kind, name, "--ignore-not-found")


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
