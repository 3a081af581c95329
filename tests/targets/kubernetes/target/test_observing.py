"""What is said of a release, by objects as Kubernetes 1.37 answers them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from serinus.core.placement import Placement, PlacementState
from serinus.core.release import Release, Scale, ServingSettings
from serinus.targets.kubernetes.manifests import Placed, Settings, deployment
from serinus.targets.kubernetes.observing import Seen, by_release, placement

RELEASE = Release(
    "card-fraud-7-3f9a2c", "card-fraud", "7", "a" * 64, "b" * 64, ServingSettings(), datetime(2026, 1, 1, tzinfo=UTC)
)
SCALE = Scale(max_workers=2, memory_limit_bytes=2**29)
IMAGE = "registry.example.org/serinus/models/card-fraud@sha256:" + "e" * 64
SINCE = "2026-11-29T10:00:00Z"


def made(*, long: bool = False, counts: int = 1, generation: int = 1, **status: Any) -> dict[str, Any]:
    """The Deployment, as it is read back."""
    found = deployment(Placed(RELEASE, SCALE, IMAGE, long=long), Settings())
    found["metadata"] |= {"generation": generation, "uid": "d"}
    found["spec"]["replicas"] = 1
    known = dict.fromkeys(("replicas", "updatedReplicas", "availableReplicas"), counts)
    return {**found, "status": {"observedGeneration": 1, **known, **status}}


def pod(container: dict[str, Any] | None = None, *, name: str = "p", phase: str = "Running", **status: Any) -> Any:
    template = made()["spec"]["template"]
    metadata = {**template["metadata"], "name": name, "uid": f"uid-{name}", "namespace": "serinus"}
    statuses = (
        [{"name": "release", "image": IMAGE, "restartCount": 0, "ready": False, **container}] if container else []
    )
    return {
        "metadata": metadata,
        "spec": template["spec"],
        "status": {"phase": phase, "containerStatuses": statuses, **status},
    }


def ready(name: str = "p", restarts: int = 0) -> Any:
    condition = {"type": "Ready", "status": "True", "lastTransitionTime": SINCE}
    container = {"ready": True, "started": True, "restartCount": restarts, "state": {"running": {}}}
    return pod(container, name=name, conditions=[condition])


def waiting(reason: str, message: str = "", **more: Any) -> Any:
    return pod({"state": {"waiting": {"reason": reason, "message": message}}, **more}, phase="Pending")


def ended(reason: str = "Error", code: int = 1, message: str = "") -> dict[str, Any]:
    return {"terminated": {"reason": reason, "exitCode": code, "message": message}}


def warning(reason: str, message: str, at: str = SINCE, name: str = "p") -> dict[str, Any]:
    about = {"kind": "Pod", "uid": f"uid-{name}"}
    return {
        "metadata": {"name": "e"},
        "involvedObject": about,
        "reason": reason,
        "message": message,
        "lastTimestamp": at,
    }


def seen(*pods: Any, of: dict[str, Any] | None = None, events: tuple[Any, ...] = ()) -> Placement:
    found = placement(Seen(of or made(), pods, events, {"p": 300, "q": 400}), 2)
    assert found is not None
    return found


def test_a_release_with_a_ready_pod_is_ready() -> None:
    found = seen(ready(), ready("q", restarts=3))
    assert found == Placement(
        RELEASE.id,
        PlacementState.READY,
        endpoint="card-fraud-7-3f9a2c.serinus.svc:8080",
        memory_bytes=400,
        restarts=3,
        workers=4,
        active_since=datetime(2026, 11, 29, 10, tzinfo=UTC),
        scale=SCALE,
    )


def test_a_release_whose_pods_come_up_is_starting_without_a_reason() -> None:
    for one in (
        (),
        (pod(phase="Pending"),),
        (waiting("ContainerCreating"),),
        (pod({"state": {"running": {}}, "started": False}),),
    ):
        found = seen(*one)
        assert (found.state, found.reason, found.workers) == (PlacementState.STARTING, "", 0)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("failed to pull: 401 Unauthorized", "the registry refuses the credentials"),
        ("pull access denied, repository does not exist", "the registry refuses the credentials"),
        (f"{IMAGE.replace('eeee', 'e401')}: not found", "the registry does not have it"),
        ("dial tcp: lookup registry.example.org: no such host", "the node does not reach the registry"),
        ("dial tcp 10.0.0.1:443: connect: connection refused", "the node does not reach the registry"),
        ("write /var/lib/x: no space left on device", "the disk of the node is full"),
    ],
)
@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff"])
def test_an_image_that_cannot_be_pulled_is_said_with_its_cause(reason: str, message: str, words: str) -> None:
    found = seen(waiting(reason, message))
    assert found.state is PlacementState.STARTING
    assert f"the image {IMAGE} cannot be pulled: {words}" in found.reason


def test_a_pod_without_a_node_says_what_is_missing() -> None:
    message = "0/1 nodes are available: 1 Insufficient memory. preemption: 0/1 nodes are available: 1 No victims."
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    found = seen(pod(phase="Pending", conditions=[condition]))
    assert found.state is PlacementState.STARTING
    assert found.reason == "no node has room for the pod: 0/1 nodes are available: 1 Insufficient memory"


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("exceeded quota: team, requested: limits.cpu=2, used: limits.cpu=7", "the quota 'team' of the namespace"),
        ('admission webhook "sign.example.org" denied the request: no', "the admission webhook 'sign.example.org'"),
        ('pods "x" is forbidden: violates PodSecurity "restricted:latest"', "the pod security of the namespace"),
        ('pods "x" is forbidden: error looking up service account', "its pods cannot be made"),
    ],
)
def test_pods_that_are_not_allowed_are_said(message: str, words: str) -> None:
    condition = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}
    found = seen(of=made(conditions=[condition]))
    assert found.state is PlacementState.STARTING
    assert words in found.reason
    assert message in found.reason


def test_a_model_that_ends_while_it_loads_has_failed_with_its_last_words() -> None:
    last = ended(message="loading\nValueError: no column 'amount'\n")
    backing_off = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": last, "restartCount": 2}
    for container in ({"state": last}, backing_off):
        found = seen(pod(container))
        assert found.state is PlacementState.FAILED
        assert found.reason == "its pod ended with the exit status 1: ValueError: no column 'amount'"
    assert (found.restarts, found.crashes) == (2, 2)


def test_a_pod_that_needs_more_memory_than_it_has_says_how_much_it_has() -> None:
    found = seen(pod({"state": ended("OOMKilled", 137)}))
    assert found.state is PlacementState.FAILED
    assert found.reason == "needed more memory than the 1184Mi of its pod, and was killed"


def test_a_pod_that_was_ended_by_a_signal_names_it() -> None:
    assert "by the signal SIGSEGV" in seen(pod({"state": ended(code=139)})).reason


def test_a_pod_whose_probe_fails_says_which() -> None:
    events = (
        warning("Unhealthy", "Startup probe failed: HTTP probe failed with statuscode: 503", "2026-11-29T10:00:01Z"),
        warning("Killing", "Container release failed startup probe, will be restarted", "2026-11-29T10:00:02Z"),
    )
    found = seen(pod({"state": ended(code=137)}), events=events)
    assert found.state is PlacementState.FAILED
    assert found.reason == (
        "was stopped because a probe failed: Startup probe failed: HTTP probe failed with statuscode: 503"
    )


def test_a_pod_that_is_not_ready_any_more_says_what_its_probe_said_last() -> None:
    container = {"state": {"running": {}}, "started": True}
    events = (
        warning("Unhealthy", "Readiness probe failed: first", "2026-11-29T10:00:01Z"),
        warning("Unhealthy", "Readiness probe failed: status 503", "2026-11-29T10:00:02Z"),
        warning("Unhealthy", "Readiness probe failed: another pod", "2026-11-29T10:00:03Z", name="other"),
    )
    found = seen(pod(container), events=events)
    assert found.state is PlacementState.STARTING
    assert found.reason == "its pod is not ready any more: Readiness probe failed: status 503"


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (waiting("CreateContainerConfigError", 'secret "card-fraud" not found'), 'secret "card-fraud" not found'),
        (pod({"state": ended("ContainerStatusUnknown", 137)}), "its node was lost"),
        (pod({"state": ended("Completed", 0)}), "has ended, and is started again"),
        (pod(phase="Failed", reason="Evicted", message="The node was low on memory."), "ended by the node (Evicted)"),
    ],
)
def test_what_is_not_the_models_fault_leaves_it_starting(one: Any, words: str) -> None:
    found = seen(one)
    assert found.state is PlacementState.STARTING
    assert words in found.reason


def test_a_volume_that_cannot_be_mounted_is_said() -> None:
    events = (warning("FailedMount", "MountVolume.SetUp failed"), warning("BackOff", "restarting"))
    assert (
        seen(waiting("ContainerCreating"), events=events).reason == "its pod does not start: MountVolume.SetUp failed"
    )


def test_what_a_person_has_done_to_the_deployment_is_said() -> None:
    scaled, paused, late = made(), made(), made()
    scaled["spec"]["replicas"] = 0
    paused["spec"]["paused"] = True
    late["status"]["conditions"] = [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]
    assert "kubectl scale" in seen(of=scaled).reason
    assert "kubectl rollout resume" in seen(of=paused).reason
    assert "within the deadline" in seen(of=late).reason


def test_a_model_that_fails_beside_pods_that_answer_is_ready_and_says_so() -> None:
    broken = pod({"state": ended(message="no memory")}, name="q")
    found = seen(ready(), broken, of=made(generation=2))
    assert found.state is PlacementState.READY
    assert "no memory" in found.reason


def test_a_release_that_answers_says_why_it_gets_no_further_pods() -> None:
    condition = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate"}
    larger = made(conditions=[{**condition, "message": "exceeded quota: team, requested: pods=1"}])
    larger["spec"]["replicas"] = 2
    found = seen(ready(), of=larger)
    assert found.state is PlacementState.READY
    assert "the quota 'team' of the namespace" in found.reason


def test_a_distrusted_release_goes_the_long_way_once_all_of_its_pods_do() -> None:
    assert (seen(ready(), of=made(long=True)).long, seen(ready(), of=made(long=True)).way) == (True, "mlflow")
    replacing = seen(ready(), of=made(long=True, generation=2))
    assert (replacing.long, replacing.way) == (True, "")
    assert seen(ready()).way == ""


def test_words_of_others_hold_no_credentials_and_no_control_characters() -> None:
    message = 'Get "https://user:hunter2@registry.example.org/v2/": 401 Unauthorized\x1b[2J token=abcdef'
    found = seen(waiting("ErrImagePull", message))
    assert not any(secret in found.reason for secret in ("hunter2", "abcdef", "\x1b"))


def test_a_deployment_of_somebody_else_is_no_release() -> None:
    other = made()
    other["metadata"]["annotations"] = {"serinus/release": "no JSON"}
    assert placement(Seen(other, (), (), {}), 1) is None
    del other["metadata"]["annotations"]
    assert placement(Seen(other, (), (), {}), 1) is None


def test_pods_that_are_going_away_do_not_count() -> None:
    going = ready("q")
    going["metadata"]["deletionTimestamp"] = SINCE
    stranger = ready("s")
    stranger["metadata"]["labels"] = None
    found = by_release([ready(), going, stranger])
    assert [one["metadata"]["name"] for one in found["card-fraud-7-3f9a2c"]] == ["p"]
    assert len(found) == 1


def test_a_scale_that_cannot_be_read_is_none() -> None:
    odd = made()
    odd["metadata"]["annotations"]["serinus/scale"] = "{"
    assert seen(ready(), of=odd).scale is None
