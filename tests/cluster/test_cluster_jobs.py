"""Models that are examined in Jobs of a cluster: as on one machine, and why they are not."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import kept
import pytest
import yaml
from clusters import Cluster as Lab
from clusters import eventually
from relays import as_bearer
from released import Released, made
from trials_contract import HANGS, Keep, TrialsContract, hand_made, said

from serinus.backends.onnx import OnnxCompiler
from serinus.backends.uv import UvEnvironments
from serinus.core.errors import Unavailable, Unbuildable
from serinus.core.examination import GivenRows
from serinus.core.home import Home
from serinus.core.predictions import AnsweredRequest
from serinus.core.release import Artifact, Environment, Requirements
from serinus.targets.kubernetes.cluster import Cluster
from serinus.targets.kubernetes.cluster.kinds import JOB, POD, SECRET
from serinus.targets.kubernetes.jobs import ClusterTrials, Jobs, JobSettings
from serinus.targets.local.host import Trials
from serinus.targets.trials import Question
from serinus.wiring.jobs import build_cluster_ask, build_cluster_trials

pytestmark = pytest.mark.timeout(600)

TRIAL = {"serinus/role": "trial"}


@pytest.fixture(scope="module")
def released(cluster: Lab, tmp_path_factory: pytest.TempPathFactory) -> Released:
    return made(Home(tmp_path_factory.mktemp("released") / "home"), cluster.registry, cluster.plain)


@pytest.fixture(scope="module")
def client(cluster: Lab) -> Iterator[Cluster]:
    one = Cluster.connected(cluster.kubeconfig)
    yield one
    one.close()


@pytest.fixture(scope="module")
def settings(namespace: str) -> JobSettings:
    """Few processors are requested, as there are few where the lab runs."""
    return JobSettings(namespace, requested_share=0.05, memory_bytes=1 << 30, patience_seconds=3)


@pytest.fixture
def keep(released: Released) -> Keep:
    def kept_as(directory: Path, digest: str) -> str:
        return kept.artifact(released.home, directory, digest)

    return kept_as


@pytest.fixture
def environment(released: Released) -> str:
    return released.environment


@pytest.fixture
def trials(released: Released, client: Cluster, settings: JobSettings) -> ClusterTrials:
    return build_cluster_trials(released.home, client, settings, released.images)


def left(client: Cluster, namespace: str) -> set[str]:
    return {kind.name for kind in (JOB, POD, SECRET) if client.list(kind, namespace, labels=TRIAL).items}


class TestJobsOfACluster(TrialsContract):
    @pytest.fixture
    def narrow(self, released: Released, client: Cluster, settings: JobSettings) -> ClusterTrials:
        return build_cluster_trials(released.home, client, replace(settings, seconds=8), released.images)

    @pytest.fixture
    def hurried(self, narrow: ClusterTrials) -> ClusterTrials:
        return narrow


COLUMNS = ("amount", "hour")
ROWS = [[12.5, 3.0], [900.0, 23.0], [0.1, 1e-300], [1e6, 7.0]]


def test_a_real_model_is_examined_as_on_one_machine_bit_for_bit(
    trials: ClusterTrials, released: Released, client: Cluster, namespace: str
) -> None:
    local, release = Trials(released.home), released.release()
    assert trials.scan(released.artifact) == local.scan(released.artifact)
    assert trials.loads(released.environment, released.artifact) is None
    asked = (released.environment, released.artifact, COLUMNS, ROWS, None)
    assert trials.reference(*asked) == local.reference(*asked)
    assert trials.rehearse(release, None) == local.rehearse(release, None)
    given = GivenRows("the golden rows", COLUMNS, ROWS)
    assert trials.rehearse(release, given) == local.rehearse(release, given)
    requests = [AnsweredRequest(release.id, COLUMNS, [row], [0.5]) for row in ROWS]
    assert trials.rescore(release, requests).answers == local.rescore(release, requests).answers
    eventually("nothing is left", lambda: not left(client, namespace))


def test_a_graph_is_written_and_proven_as_on_one_machine(
    released: Released, client: Cluster, settings: JobSettings, tmp_path: Path
) -> None:
    environments = UvEnvironments(released.home.environments, interpreters=[Path(sys.executable)], always=())
    artifact = Artifact(released.artifact, Requirements((), None), None, None, "mlflow.sklearn")
    environment = Environment(released.environment, ".".join(map(str, sys.version_info[:3])))
    asks = {
        "here": Trials(released.home).ask,
        "there": build_cluster_ask(released.home, client, replace(settings, seconds=300), released.images),
    }
    here, there = (
        OnnxCompiler(tmp_path / name, environments, ask).compile(artifact, environment, COLUMNS, ROWS, print)
        for name, ask in asks.items()
    )
    assert here.compiled is not None, here.reason
    assert (there.reason, there.compiled, there.proof) == ("", here.compiled, here.proof)


SEES = """
import os
found = [name for name in os.environ if name.startswith(("KUBERNETES", "SERINUS"))]
for path in ("/var/run/secrets/kubernetes.io/serviceaccount/token", "/question/key", "/question/part-0",
             "/proc/1/environ", "/etc/resolv.conf", "/dev/termination-log"):
    try:
        open(path, "rb").close()
        found.append(path)
    except OSError:
        pass
for path in ("/opt/model/planted", "/scratch/planted", "/tmp/planted"):
    try:
        open(path, "wb").close()
        found.append(path)
    except OSError:
        pass
raise RuntimeError(f"uid {os.getuid()} sees {found}")
"""


def test_a_model_sees_nothing_of_the_cluster(
    trials: ClusterTrials, keep: Keep, environment: str, tmp_path: Path
) -> None:
    artifact = keep(hand_made(tmp_path / "m", SEES), os.urandom(32).hex())
    assert "uid 65532 sees []" in said(lambda: trials.loads(environment, artifact))


LONG = """
import random

class Model:
    def predict(self, data, params=None):
        drawn = random.Random(7)
        return [drawn.random() for _ in data.index]

def _load_pyfunc(path):
    return Model()
"""


def test_an_answer_of_megabytes_arrives_whole(
    trials: ClusterTrials, keep: Keep, environment: str, tmp_path: Path
) -> None:
    artifact = keep(hand_made(tmp_path / "m", LONG), os.urandom(32).hex())
    drawn = random.Random(7)
    rows = [[1.0, 1]] * 500_000
    assert trials.reference(environment, artifact, COLUMNS, rows, None) == [drawn.random() for _ in rows]


SHARES = "import mmap\nheld = mmap.mmap(-1, 2 << 30)\nfor n in range(2 << 10):\n    held.write(b'x' * (1 << 20))\n"


def test_memory_that_no_limit_of_a_process_counts_is_said_as_well(
    trials: ClusterTrials, keep: Keep, environment: str, tmp_path: Path
) -> None:
    artifact = keep(hand_made(tmp_path / "m", SHARES), os.urandom(32).hex())
    with pytest.raises(Unbuildable, match=r"needed more memory than the 1Gi|as the kernel does where memory runs out"):
        trials.loads(environment, artifact)


def test_a_pod_that_no_node_has_room_for_is_said(
    released: Released, client: Cluster, settings: JobSettings, environment: str
) -> None:
    large = replace(settings, memory_bytes=1 << 45)
    trials = build_cluster_trials(released.home, client, large, released.images)
    with pytest.raises(Unavailable, match=r"no node has room for the pod: .*Insufficient memory"):
        trials.loads(environment, released.artifact)


def test_an_image_that_the_registry_does_not_have_is_said(cluster: Lab, client: Cluster, settings: JobSettings) -> None:
    gone = f"{cluster.registry}/serinus/gone@sha256:" + "0" * 64
    with pytest.raises(Unavailable, match="cannot be pulled: the registry does not have it") as raised:
        Jobs(client, settings).ask(gone, Question("trials.scan", "a" * 64))
    assert gone in str(raised.value)


def test_a_quota_is_said_and_the_next_try_succeeds_once_it_is_raised(
    cluster: Lab, trials: ClusterTrials, released: Released, environment: str, namespace: str
) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team"}}
    cluster.apply(namespace, {**quota, "spec": {"hard": {"pods": "0"}}})
    eventually(
        "it is in force",
        lambda: cluster.get("resourcequota", "team", f"--namespace={namespace}").get("status", {}).get("hard"),
    )
    with pytest.raises(Unavailable, match="the quota 'team' of the namespace is used up"):
        trials.loads(environment, released.artifact)
    cluster.kubectl("delete", "resourcequota", "team", f"--namespace={namespace}")
    assert trials.loads(environment, released.artifact) is None


ASKS = """
import sys
from pathlib import Path
from serinus.targets.kubernetes.cluster import Cluster
from serinus.targets.kubernetes.jobs import Jobs, JobSettings
from serinus.targets.trials import Question
kubeconfig, namespace, image = sys.argv[1:]
jobs = Jobs(Cluster.connected(Path(kubeconfig)), JobSettings(namespace, requested_share=0.05, memory_bytes=1 << 30))
jobs.ask(image, Question("trials.reference", "a" * 64, "b" * 64))
"""


def test_what_a_killed_process_has_left_is_taken_away_by_the_next(
    cluster: Lab,
    client: Cluster,
    released: Released,
    settings: JobSettings,
    trials: ClusterTrials,
    keep: Keep,
    tmp_path: Path,
) -> None:
    artifact = keep(hand_made(tmp_path / "m", HANGS), os.urandom(32).hex())
    image = str(released.images.for_trial(artifact, released.environment))
    command = [sys.executable, "-c", ASKS, str(cluster.kubeconfig), settings.namespace, image]
    eventually("nothing is left of other tests", lambda: not left(client, settings.namespace))
    with subprocess.Popen(command) as process:

        def runs() -> bool:
            assert process.poll() is None
            pods = client.list(POD, settings.namespace, labels=TRIAL).items
            return any(one["status"].get("phase") == "Running" for one in pods)

        eventually("it asks", runs)
        process.kill()
    assert left(client, settings.namespace) == {"Job", "Pod", "Secret"}
    trials.scan(released.artifact)
    eventually("nothing is left", lambda: not left(client, settings.namespace))


RULES = """
- {apiGroups: [batch], resources: [jobs], verbs: [get, list, create, delete]}
- {apiGroups: [networking.k8s.io], resources: [networkpolicies], verbs: [create, patch]}
- {apiGroups: [''], resources: [secrets], verbs: [create]}
- {apiGroups: [''], resources: [pods, events], verbs: [list]}
- {apiGroups: [''], resources: [pods/log], verbs: [get]}
"""


@pytest.fixture
def allowed(cluster: Lab, namespace: str, tmp_path: Path) -> Callable[[str, list[dict[str, Any]]], Path]:
    """Makes a kubeconfig of a service account with these rights."""

    def allow(name: str, rules: list[dict[str, Any]]) -> Path:
        api, metadata = "rbac.authorization.k8s.io/v1", {"name": name}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
        subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
        cluster.apply(
            namespace,
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
            {"apiVersion": api, "kind": "Role", "metadata": metadata, "rules": rules},
            {"apiVersion": api, "kind": "RoleBinding", "metadata": metadata, "roleRef": role, "subjects": [subject]},
        )
        token = cluster.kubectl("create", "token", name, f"--namespace={namespace}").strip()
        return as_bearer(cluster.kubeconfig, token, tmp_path)

    return allow


def test_the_documented_rights_suffice_and_a_missing_one_is_named(
    allowed: Callable[[str, list[dict[str, Any]]], Path], released: Released, settings: JobSettings
) -> None:
    rules = yaml.safe_load(RULES)
    for name, given, missing in (("all", rules, ""), ("no-logs", rules[:-1], "lack the right to get pods/log")):
        client = Cluster.connected(allowed(name, given))
        trials = build_cluster_trials(released.home, client, settings, released.images)
        if missing:
            with pytest.raises(Unavailable, match=missing):
                trials.scan(released.artifact)
        else:
            assert trials.scan(released.artifact)["pickles"]
        client.close()
