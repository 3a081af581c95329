"""Trials in Jobs, by an API server that runs them as processes: the contract, and why a question is not answered."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from job_cluster import JobCluster, briefly, image_of, status
from pods import ALIKE, environment_of
from serinus_runtime.isolation import landlock
from serinus_runtime.pod import frame
from trials_contract import Keep, TrialsContract

from serinus.core.errors import SerinusError, Unavailable, Unbuildable
from serinus.core.examination import ReadRows
from serinus.targets.kubernetes.cluster import QuotaExceeded
from serinus.targets.kubernetes.jobs import ClusterTrials, Jobs, JobSettings
from serinus.targets.trials import Answer, Failed, Question

pytestmark = pytest.mark.skipif(landlock.abi() < 1, reason="this kernel has no Landlock")

IMAGE = "registry.test/trials@sha256:" + "e" * 64
SCAN = Question("trials.scan", "a" * 64)


class Files:
    """Reads no file."""

    def golden(self, file: Path) -> ReadRows:
        return ReadRows((file.name,), [])

    def evaluation(self, file: Path, label: str, entity: str, inputs: Any) -> ReadRows:
        return ReadRows((file.name, label, entity, *inputs), [])


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return environment_of(tmp_path_factory.mktemp("environment") / "environment", ALIKE)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[JobCluster]:
    one = JobCluster(tmp_path / "containers")
    yield one
    assert one.jobs == {}
    assert one.secrets == {}
    one.close()


class TestJobs(TrialsContract):
    @pytest.fixture
    def artifacts(self) -> dict[str, Path]:
        return {}

    @pytest.fixture
    def environment(self) -> str:
        return "b" * 64

    @pytest.fixture
    def keep(self, artifacts: dict[str, Path]) -> Keep:
        def kept_as(directory: Path, digest: str) -> str:
            artifacts[digest] = directory
            return digest

        return kept_as

    @pytest.fixture
    def trials(self, cluster: JobCluster, artifacts: dict[str, Path], packages: Path) -> ClusterTrials:
        return self._of(cluster, artifacts, packages, JobSettings())

    @pytest.fixture
    def narrow(self, cluster: JobCluster, artifacts: dict[str, Path], packages: Path) -> ClusterTrials:
        return self._of(cluster, artifacts, packages, JobSettings(seconds=8, memory_bytes=1 << 30))

    @pytest.fixture
    def hurried(self, cluster: JobCluster, artifacts: dict[str, Path], packages: Path) -> ClusterTrials:
        return self._of(cluster, artifacts, packages, JobSettings(seconds=2))

    def _of(
        self, cluster: JobCluster, artifacts: dict[str, Path], packages: Path, settings: JobSettings
    ) -> ClusterTrials:
        jobs = Jobs(cluster.connected(), settings, pause=briefly)
        return ClusterTrials(jobs, lambda artifact, _: image_of(artifacts[artifact], packages), Files())


class Asking:
    """Asks with a clock of its own, which only pauses move."""

    def __init__(self, cluster: JobCluster, settings: JobSettings | None = None) -> None:
        self.now = 0.0
        self.looks = 0
        self.jobs = Jobs(
            cluster.connected(), settings or JobSettings(), asker="me", clock=lambda: self.now, pause=self._pause
        )

    def _pause(self, seconds: float) -> None:
        self.now += seconds
        self.looks += 1
        assert self.looks < 5000

    def __call__(self) -> Answer:
        return self.jobs.ask(IMAGE, SCAN)

    def refused(self, kind: type[SerinusError] = Unavailable) -> SerinusError:
        with pytest.raises(kind) as raised:
            self()
        assert type(raised.value) is kind
        return raised.value


def pod(state: dict[str, Any] | None = None, phase: str = "Pending", **more: Any) -> dict[str, Any]:
    statuses = [{"name": "release", "image": IMAGE, "state": state}] if state else []
    limits = {"name": "release", "resources": {"limits": {"memory": "2Gi"}}}
    return {
        "metadata": {"name": "p", "uid": "uid-p"},
        "spec": {"containers": [limits]},
        "status": {"phase": phase, "containerStatuses": statuses, **more},
    }


PULLING = pod({"waiting": {"reason": "ErrImagePull", "message": "dial tcp: connection refused"}})


def test_a_pod_that_does_not_start_is_waited_for_and_then_said(cluster: JobCluster) -> None:
    cluster.pods = [PULLING]
    asking = Asking(cluster)
    error = asking.refused()
    assert "cannot be examined in the cluster yet: the image" in str(error)
    assert "cannot be pulled: the node does not reach the registry" in str(error)
    assert 60 <= asking.now < 65


def test_a_quota_is_said_by_the_words_of_the_job(cluster: JobCluster) -> None:
    cluster.pods = []
    asking = Asking(cluster)
    name = {}

    def pause(seconds: float) -> None:
        asking._pause(seconds)
        (name["uid"],) = (one["metadata"]["uid"] for one in cluster.jobs.values())
        message = "exceeded quota: team, requested: pods=1"
        about = {"involvedObject": name, "reason": "FailedCreate", "message": message}
        cluster.events = [{"metadata": {}, **about}]

    asking.jobs._pause = pause
    assert "the quota 'team' of the namespace is used up" in str(asking.refused())


def test_a_pod_of_which_nobody_says_anything_is_waited_for_as_long_as_it_may_take_to_start(
    cluster: JobCluster,
) -> None:
    cluster.pods = [pod({"waiting": {"reason": "ContainerCreating"}})]
    asking = Asking(cluster, JobSettings(start_seconds=300))
    assert "its pod did not start in time" in str(asking.refused())
    assert 300 <= asking.now < 305


def test_a_pod_that_never_ends_is_not_waited_for_for_ever(cluster: JobCluster) -> None:
    cluster.pods = [pod({"running": {}}, "Running")]
    asking = Asking(cluster)
    assert "its pod does not end" in str(asking.refused())
    assert asking.now == pytest.approx(780, abs=5)


@pytest.mark.parametrize(
    ("pods", "words"),
    [
        ([pod({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}, "Failed")], "more memory than the 2Gi"),
        (
            [pod(None, "Failed", reason="Evicted", message='Usage of EmptyDir volume "scratch" exceeds the limit')],
            "exceeds the limit",
        ),
    ],
)
def test_a_model_that_takes_more_than_its_pod_has_fails_in_every_environment(
    cluster: JobCluster, pods: Any, words: str
) -> None:
    cluster.pods = pods
    with pytest.raises(Failed, match=words) as raised:
        Asking(cluster)()
    assert not raised.value.environment


@pytest.mark.parametrize(
    ("pods", "conditions", "words"),
    [
        ([pod({"terminated": {"exitCode": 1, "message": "No space left"}}, "Failed")], [], "No space left"),
        ([pod(None, "Failed", reason="Evicted", message="low on memory")], [], "(Evicted): low on memory"),
        ([], [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}], "its pod is gone"),
    ],
)
def test_a_pod_that_is_lost_is_tried_again_later(cluster: JobCluster, pods: Any, conditions: Any, words: str) -> None:
    cluster.pods, cluster.conditions = pods, conditions
    assert words in str(Asking(cluster).refused())


def test_an_api_server_that_is_away_for_a_moment_is_waited_for(cluster: JobCluster) -> None:
    cluster.pods = [pod({"running": {}}, "Running")]
    asking = Asking(cluster)

    def pause(seconds: float) -> None:
        asking._pause(seconds)
        if 5 < asking.now < 25:
            cluster.refused["GET pods"] = partial(status, 503, "")
        elif asking.now > 25:
            cluster.refused.clear()
            cluster.pods = [pod({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}, "Failed")]

    asking.jobs._pause = pause
    with pytest.raises(Failed, match="memory"):
        asking()


def test_an_api_server_that_stays_away_is_said(cluster: JobCluster) -> None:
    cluster.pods, cluster.refused["GET pods"] = [], partial(status, 503, "etcd is gone")
    asking = Asking(cluster)
    assert "etcd is gone" in str(asking.refused())
    assert 30 < asking.now < 35


def test_what_the_cluster_refuses_is_said_in_its_words(cluster: JobCluster) -> None:
    quota = 'jobs.batch "t" is forbidden: exceeded quota: team, requested: count/jobs.batch=1'
    cluster.refused["POST jobs"] = partial(status, 403, quota)
    assert "The quota 'team' of the namespace 'serinus' is used up" in str(Asking(cluster).refused(QuotaExceeded))


def test_a_right_to_read_logs_that_is_missing_is_named(cluster: JobCluster) -> None:
    cluster.pods = [pod({"terminated": {"exitCode": 0}}, "Succeeded")]
    cluster.refused["GET pods/log"] = partial(
        status, 403, 'pods "p" is forbidden: User "x" cannot get resource "pods/log"'
    )
    with pytest.raises(Unavailable, match="lack the right to get pods/log") as raised:
        Asking(cluster)()
    assert "Grant the verb 'get' on 'pods/log'" in raised.value.hint


@pytest.mark.parametrize(
    "log",
    [
        b"",
        b'{"pickles": [], "other": []}\n',
        frame.framed({"code": 0, "said": "{}", "stopped": "", "complained": "", "seconds": 1}, b"a key", "a question"),
    ],
)
def test_a_log_without_the_answer_to_this_question_is_no_answer(cluster: JobCluster, log: bytes) -> None:
    cluster.pods, cluster.log = [pod({"terminated": {"exitCode": 0}}, "Succeeded")], log
    asking = Asking(cluster)
    assert "An answer of a model has not arrived" in str(asking.refused())
    assert 10 < asking.now < 15  # it may have come late


def test_jobs_of_a_process_that_was_killed_are_removed_by_the_next(cluster: JobCluster) -> None:
    def left(name: str, owner: str, asker: str) -> None:
        labels = {"serinus/role": "trial", "serinus/owner": owner, "serinus/asker": asker}
        cluster.jobs[name] = {"metadata": {"name": name, "uid": name, "labels": labels}}

    left("killed", "serinus", "another")
    left("of-this-process", "serinus", "me")
    left("of-another-installation", "other", "another")
    cluster.pods = [pod({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}, "Failed")]
    asking = Asking(cluster)
    for _ in range(2):
        with pytest.raises(Failed):
            asking()
    assert set(cluster.jobs) == {"of-this-process", "of-another-installation"}
    assert cluster.requests.count(("DELETE", "jobs")) == 3
    cluster.jobs.clear()


def test_a_question_that_is_too_large_is_never_sent(cluster: JobCluster) -> None:
    with pytest.raises(Unbuildable, match="too large"):
        Asking(cluster).jobs.ask(IMAGE, Question("m", "a", "b", {}, {"rows": {"x": "x" * (65 << 20)}}))
    assert cluster.requests == []


def test_an_environment_without_an_image_is_a_reason_to_try_another(cluster: JobCluster) -> None:
    def image(artifact: str, environment: str | None) -> str:
        raise Unbuildable("'torch' has no wheel for linux/arm64.")

    trials = ClusterTrials(Jobs(cluster.connected(), JobSettings()), image, Files())
    assert trials.loads("b" * 64, "a" * 64) == "'torch' has no wheel for linux/arm64."
    assert cluster.requests == []


def test_files_of_rows_are_read_where_they_are(cluster: JobCluster) -> None:
    trials = ClusterTrials(Jobs(cluster.connected(), JobSettings()), lambda *_: IMAGE, Files())
    assert trials.golden(Path("golden.json")).columns == ("golden.json",)
    assert trials.evaluation(Path("e.csv"), "fraud", "card", ["x"]).columns == ("e.csv", "fraud", "card", "x")
    assert cluster.requests == []


def test_only_what_is_needed_is_asked_of_the_api_server(cluster: JobCluster) -> None:
    cluster.pods = [pod({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}, "Failed")]
    with pytest.raises(Failed):
        Asking(cluster)()
    assert cluster.requests == [
        ("GET", "jobs"),
        ("PATCH", "networkpolicies"),
        ("POST", "jobs"),
        ("POST", "secrets"),
        ("GET", "pods"),
        ("GET", "jobs"),
        ("GET", "events"),
        ("DELETE", "jobs"),
    ]
