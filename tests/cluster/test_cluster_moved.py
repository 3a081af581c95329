"""docs/one-machine-to-kubernetes.md, step by step, with the state of a home: rollouts, the audit record, the token of a
person and the API key of a caller, who asks the gateways from step 3 to the end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
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
from installations import (
    PREDICTIONS,
    Services,
    api_of,
    base_image,
    leader_of,
    made,
    make_secrets,
    namespace_of_releases,
    ran,
    ready,
    serinus_cli,
    uninstall,
    values_of,
)
from pyarrow.fs import LocalFileSystem, S3FileSystem, copy_files
from volumes import volumes
from waiting import free_port
from whole_load import Load, wait_until
from whole_models import trained
from whole_serinus import mlflow_environment

from clusterlab import serving

pytestmark = pytest.mark.timeout(2400)

MODEL = "card"
ROW = '{"amount": 12.5, "hour": 3.0}'
RATE = 20.0
# The nodes of the lab have two processors for everything, also while images are built.
PATIENT = f"""
model: {MODEL}
serving: {{timeout: 3s}}
gates: {{latency_p99: 2s}}
"""
SPEC = f"""{PATIENT}
rollout:
  steps:
    - {{traffic: 50%, requests: 100, for: 5m, at_most: 1h}}
watch:
  errors: {{budget: 2%}}
  fallbacks: {{budget: 2%}}
  missing: {{budget: 2%}}
  slow: {{ok: 3, bad: 10}}
"""


@dataclass
class Move:
    """The team's machine and its cluster, on the way."""

    cluster: Cluster
    namespace: str
    """Of gateways and of the control plane."""
    releases: str
    directory: Path
    ended: ExitStack
    home: Path
    """The home on the machine, and from step 2 on the one that is brought to the cluster."""
    key: str = ""
    """The API key of a caller."""
    token: str = ""
    """That of a person."""
    first_entry: str = ""
    """Of the audit record."""
    settings: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def settings_file(self) -> Path:
        return self.directory / "cluster.yaml"

    def write(self) -> None:
        self.settings_file.write_text(yaml.safe_dump(self.settings))

    def serinus(self, *arguments: str | Path) -> str:
        return serinus_cli(*arguments, "--home", self.home, **self.variables)

    def up(self, *options: str | Path) -> None:
        began = time.monotonic()
        self.serinus("up", *options)
        print(f"`serinus up` took {time.monotonic() - began:.0f} s")

    def down(self) -> None:
        self.serinus("down")

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.serinus("status", "--json"))
        return found

    def champion(self) -> str:
        [one] = [one for one in self.status()["models"] if one["model"] == MODEL]
        return str(one["champion"]["release"])

    def predict(self) -> Any:
        told = json.loads(
            self.serinus("predict", MODEL, "--row", ROW, "--entity", "card-42", "--api-key", self.key, "--json")
        )
        return told["outputs"]

    def gateway(self) -> str:
        return "http://" + self.ended.enter_context(self.cluster.reach(self.namespace, "serinus-gateway", 80))


@pytest.fixture
def move(cluster: Cluster, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Move]:
    if cluster.machine is None or cluster.git is None or not cluster.routed:
        pytest.skip("the cluster needs Argo CD with a Git server that these tests may use, and reaches this machine")
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "SERINUS_HOME", "SERINUS_TOKEN"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_UV_AUTO_DETECT", "false")  # this project's own lock is no part of a model
    with ExitStack() as ended:
        releases = ended.enter_context(namespace_of_releases(cluster, namespace))
        found = Move(cluster, namespace, releases, tmp_path, ended, tmp_path / "serinus")
        for kind in serving.OF_THE_WHOLE_CLUSTER:
            name = f"serinus-gateway-reports.{namespace}"
            ended.callback(cluster.kubectl, "delete", kind, name, "--ignore-not-found")
        for name in ("serinus", "serinus-east"):
            ended.callback(end, tmp_path / name)
        yield found


def end(home: Path) -> None:
    """Also where it does not run, or never has."""
    subprocess.run([sys.executable, "-m", "serinus.cli", "down", "--home", home], capture_output=True, timeout=300)


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[[Move, float], str]:
    """register(move, strength): another version at the MLflow server of the home."""

    def register(move: Move, strength: float) -> str:
        with pytest.MonkeyPatch.context() as environment:
            for name, value in mlflow_environment(move.home / "mlflow.env").items():
                environment.setenv(name, value)
            return trained(MODEL, strength)

    return register


def test_a_home_comes_to_the_cluster_with_all_that_it_knows_and_a_caller_who_notices_nothing(
    move: Move, register: Callable[[Move, float], str]
) -> None:
    cluster, git = move.cluster, move.cluster.git
    assert git is not None
    assert cluster.machine is not None

    def step(number: int, what: str) -> None:
        print(f"\n--- {number}. {what}", flush=True)

    # --- before: one machine

    move.up()
    spec = move.directory / "card.yaml"
    spec.write_text(PATIENT)
    move.serinus("deploy", f"{MODEL}@{register(move, 1.0)}", "--spec", spec)
    move.key = move.serinus("key", "create", "shop", "--model", MODEL).split()[-1]
    move.token = move.serinus("token", "create", "anna", "--access", "admin", "--owner", "anna@bank").split()[-1]
    release, answer = move.champion(), move.predict()
    move.first_entry = move.serinus("audit", "--json").splitlines()[0]

    step(1, "prepare the cluster")
    bare = git.directory / f"{move.namespace}.git"
    ran("git", "init", "--quiet", "--bare", "--initial-branch=main", bare)
    move.ended.callback(shutil.rmtree, bare)
    port = free_port()
    move.settings = {
        "kubeconfig": str(cluster.kubeconfig),
        "namespace": move.releases,
        "control_planes": [f"{cluster.machine}/32"],
        "images": {
            "repository": f"{cluster.registry}/serinus",
            "base": base_image(cluster, "base"),
            "plain": list(cluster.plain),
        },
        "releases": {"replicas": {"least": 1, "most": 1}, "sizing": {"requested_share": 0.1}},
        "gateways": {"namespace": move.namespace, "cpu_request": "50m"},
        "collectors": {"listen": f"0.0.0.0:{port}", "addresses": [f"{cluster.machine}:{port}"]},
        "fleet": {"remote": f"{git.url}/{bare.name}", "argo_cd": {"cluster": move.namespace}},
    }
    move.write()

    step(2, "run the models in the cluster as well")
    machine = move.home
    move.serinus("backup", move.directory / "backup")
    move.home = move.directory / "serinus-east"
    move.serinus("restore", move.directory / "backup")
    ports = ("--api-port", str(free_port()), "--mlflow-port", str(free_port()))  # The other home runs as well.
    move.up("--cluster", move.settings_file, *ports)
    began = time.monotonic()
    eventually("the gateways answer as the machine", lambda: move.predict() == answer, seconds=600)
    print(f"the model answers {time.monotonic() - began:.0f} s later")
    assert move.champion() == release
    assert machine != move.home
    gateway = move.gateway()
    asked = httpx.post(f"{gateway}/models/{MODEL}/invocations", json={"dataframe_records": [json.loads(ROW)]})
    assert asked.status_code == 401, asked.text
    of_it = ("applications", "--namespace=argocd", f"--selector=serinus/cluster={move.namespace}")

    def healthy() -> bool:
        states = [
            (one["status"]["sync"]["status"], one["status"]["health"]["status"]) for one in cluster.get(*of_it)["items"]
        ]
        return bool(states) and set(states) == {("Synced", "Healthy")}

    eventually("the Applications are synced and healthy", healthy, seconds=180)

    with Load(gateway, MODEL, RATE, api_key=move.key) as load:
        step(3, "move the callers")
        wait_until(lambda: len(load.seen) > 3 * RATE, 60, "answers to the caller")
        serinus_cli("down", "--home", machine)

        step(4, "MLflow on a server of its own")
        move.down()
        registry = made(move.directory, "mlflow")
        shutil.copy2(move.home / "mlflow/mlflow.db", registry)
        shutil.copytree(move.home / "mlflow/artifacts", registry / "artifacts")
        address = move.ended.enter_context(mlflow_servers.running(cluster.machine, free_port(), registry))
        move.up("--mlflow-uri", address)
        status = move.status()
        assert not [line for line in status["warnings"] if "registry" in line.lower() or "mlflow" in line.lower()]
        assert move.champion() == release

        step(5, "the prediction log in a bucket")
        database = move.ended.enter_context(databases.running(cluster.machine)).address
        counts = move.ended.enter_context(databases.new_database(database))
        bucket = move.ended.enter_context(object_stores.running(made(move.directory, "s3"), cluster.machine))
        move.down()
        table = move.home / "predictions/delta"
        s3 = S3FileSystem(
            access_key=object_stores.KEY,
            secret_key=object_stores.SECRET,
            endpoint_override=bucket.behind_the_door,
            region="us-east-1",
        )
        copy_files(str(table), PREDICTIONS.removeprefix("s3://"), LocalFileSystem(), s3)
        before = len(bucket.keys("serinus/predictions"))
        assert before
        move.variables = {"PGPASSWORD": databases.PASSWORD, **bucket.environment()}
        move.up("--predictions", PREDICTIONS, "--predictions-database", without_password(counts))
        eventually("new files in the bucket", lambda: len(bucket.keys("serinus/predictions")) > before, seconds=180)
        told = move.serinus(
            *("replay", PREDICTIONS, "--model", MODEL, "--rate", "1", "--limit", "1", "--api-key", move.key)
        )
        print(told)

        step(6, "the store in PostgreSQL")
        first, second = (move.ended.enter_context(databases.new_database(database)) for _ in range(2))
        url = move.directory / "store-url"
        url.touch(mode=0o600)
        url.write_text(first)
        move.down()
        print(serinus_cli("store", "copy", move.home, url))
        shutil.copytree(move.home / "collectors/serinus-collector", move.directory / "collectors")
        move.settings["collectors"]["certificate"] = {
            "chain": "collectors/server.pem",
            "key": "collectors/server-key.pem",
            "authority": "collectors/authority.pem",
        }
        move.settings["control"] = {"store": "store-url"}
        move.write()
        move.up()
        has_moved(move, release)

        step(6, "and back")
        del move.settings["control"]
        move.write()
        move.down()
        aside = made(move.directory, "store-before")
        for file in move.home.glob("store.db*"):
            shutil.move(file, aside)
        print(serinus_cli("store", "copy", url, move.home))
        move.up()
        has_moved(move, release)

        step(6, "and once more")
        url.write_text(second)
        move.down()
        serinus_cli("store", "copy", move.home, url)
        move.settings["control"] = {"store": "store-url"}
        move.write()
        move.up()
        has_moved(move, release)

        step(7, "Serinus in the cluster")
        index = move.ended.enter_context(package_index.running(cluster.machine))
        disks = move.ended.enter_context(volumes(cluster, move.namespace, 2, "8Gi"))
        services = Services(second, bucket, address, index.url, move.settings["fleet"]["remote"], disks)
        values = values_of(cluster, move.namespace, move.releases, services)
        values["config"]["database"] = without_password(counts)
        draft = move.directory / "values.yaml"
        draft.write_text(yaml.safe_dump(values))
        values["image"] = serinus_cli(
            "install", draft, "--image", "--base", base_image(cluster, "control-base", "--git")
        )
        draft.write_text(yaml.safe_dump(values))
        identity = (move.home / "secret").read_text().strip()
        authority = make_secrets(cluster, move.namespace, services, made(move.directory, "installed"), identity)
        move.down()
        move.ended.callback(uninstall, cluster, move.namespace, draft)
        serinus_cli("install", draft, "--namespace", move.namespace, KUBECONFIG=str(cluster.kubeconfig))
        ready(cluster, move.namespace)
        server = ("--server", api_of(cluster, move.namespace), "--ca", str(authority))

        def there(*arguments: str | Path) -> str:
            return serinus_cli(*arguments, *server, SERINUS_TOKEN=move.token)

        def leader() -> str:
            return leader_of(cluster, move.namespace)

        status = eventually("the status of the installation", lambda: json.loads(there("status", "--json")))
        [one] = [one for one in status["models"] if one["model"] == MODEL]
        assert one["champion"]["release"] == release
        assert leader() in ("serinus-control-0", "serinus-control-1")
        spec.write_text(SPEC)
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("MLFLOW_TRACKING_URI", address)
            version = trained(MODEL, 0.1)
        begun = json.loads(there("deploy", f"{MODEL}@{version}", "--spec", spec, "--detach", "--json"))["rollout"]

        def phase() -> str:
            return str(json.loads(there("explain", begun, "--json"))["status"]["phase"])

        eventually("the canary", lambda: phase() in ("canary", "aborted"), seconds=600)
        assert phase() == "canary"
        gone = leader()
        cluster.kubectl(f"--namespace={move.namespace}", "delete", "pod", gone, "--wait=false")
        eventually("another leader", lambda: leader() not in ("", gone))
        seen = len(load.seen)
        wait_until(lambda: len(load.seen) > seen + 5 * RATE, 60, "answers to the caller")
        assert eventually("the phase", phase) == "canary"
        there("abort", begun, "--reason", "the guide ends here", "--yes")
        eventually("the end of the rollout", lambda: phase() == "aborted", seconds=120)

        step(7, "and back")
        cluster.kubectl(f"--namespace={move.namespace}", "scale", "statefulset", "serinus-control", "--replicas=0")
        cluster.kubectl(
            f"--namespace={move.namespace}",
            "wait",
            "--for=delete",
            "pod",
            "--selector=serinus/role=control",
            "--timeout=120s",
        )
        move.up()
        has_moved(move, release)
        assert begun in move.serinus("status", MODEL, "--json")
        move.down()
    print(f"\n{len(load.seen)} requests of the caller, {load.reached():.0f}/s; not answered: {dict(load.in_words())}")
    assert load.in_words() == {}


def has_moved(move: Move, release: str) -> None:
    """All that was known before is known."""
    assert move.champion() == release
    status = move.status()
    assert not [line for line in status["warnings"] if "taken over" in line or "key" in line.lower()], status[
        "warnings"
    ]
    move.serinus("audit", "--verify")
    assert move.serinus("audit", "--json").splitlines()[0] == move.first_entry
    assert "anna" in move.serinus("token", "list")
    assert "shop" in move.serinus("key", "list")
    eventually("an answer to the caller", lambda: bool(move.predict()))


def without_password(address: str) -> str:
    return address.replace(f":{databases.PASSWORD}@", "@")
