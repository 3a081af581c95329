"""What is said of a question, by objects as Kubernetes 1.37 answers them."""

from __future__ import annotations

from typing import Any

import pytest

from serinus.targets.kubernetes.jobs import JobSettings, manifests
from serinus.targets.kubernetes.jobs.outcomes import Outcome, Stage, begun, outcome
from serinus.targets.kubernetes.jobs.posing import Posed

IMAGE = "registry.example.org/serinus/trials@sha256:" + "e" * 64
MADE = manifests.job("t", "trials.scan", IMAGE, "asker", Posed((b"",), "d" * 64, b"k"), JobSettings())


def job(**condition: Any) -> dict[str, Any]:
    conditions = [{"status": "True", **condition}] if condition else []
    return {**MADE, "metadata": {**MADE["metadata"], "uid": "uid-job"}, "status": {"conditions": conditions}}


def pod(state: dict[str, Any] | None = None, phase: str = "Pending", **status: Any) -> dict[str, Any]:
    statuses = [{"name": "release", "image": IMAGE, "state": state, "ready": False}] if state else []
    return {
        "metadata": {"name": "t-x", "uid": "uid-pod"},
        "spec": MADE["spec"]["template"]["spec"],
        "status": {"phase": phase, "containerStatuses": statuses, **status},
    }


def ended(code: int, reason: str = "Error", message: str = "") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, "message": message}}


def warning(about: str, reason: str, message: str) -> dict[str, Any]:
    return {"metadata": {}, "involvedObject": {"uid": about}, "reason": reason, "message": message}


def seen(*pods: dict[str, Any], of: Any = None, events: tuple[Any, ...] = ()) -> Outcome:
    return outcome(job() if of is None else of, pods, events)


def test_an_answer_is_in_the_log_of_a_pod_that_has_ended_well() -> None:
    done = pod(ended(0, "Completed"), "Succeeded")
    assert seen(done) == begun([done]) == Outcome(Stage.ANSWERED, pod="t-x")
    # The kernel has killed the process of the model, which the first process of the pod says in its answer.
    assert seen(pod(ended(0, "OOMKilled"), "Succeeded")).stage is Stage.ANSWERED


def test_what_runs_or_comes_up_is_waited_for_without_a_reason() -> None:
    assert seen(pod({"running": {}}, "Running")) == begun([pod({"running": {}}, "Running")]) == Outcome(Stage.RUNNING)
    assert seen() == seen(pod()) == Outcome(Stage.WAITING)
    assert seen(pod({"waiting": {"reason": "ContainerCreating"}})) == Outcome(Stage.WAITING)
    assert begun([]) is begun([pod()]) is None


QUOTA = (
    'Error creating: pods "t-x" is forbidden: exceeded quota: team, requested: pods=1, used: pods=9, limited: pods=9'
)
UNSCHEDULABLE = {
    "type": "PodScheduled",
    "status": "False",
    "message": "0/1 nodes are available: 1 Insufficient memory. preemption: 0/1 nodes are available.",
}


@pytest.mark.parametrize(
    ("pods", "events", "words"),
    [
        ([], [warning("uid-job", "FailedCreate", QUOTA)], "the quota 'team' of the namespace is used up"),
        ([], [warning("uid-job", "FailedCreate", "violates PodSecurity")], "the pod security of the namespace"),
        (
            [pod(conditions=[UNSCHEDULABLE])],
            [],
            "no node has room for the pod: 0/1 nodes are available: 1 Insufficient",
        ),
        (
            [pod({"waiting": {"reason": "ImagePullBackOff", "message": f"{IMAGE}: not found"}})],
            [],
            "cannot be pulled: the registry does not have it",
        ),
        (
            [pod({"waiting": {"reason": "ContainerCreating"}})],
            [warning("uid-pod", "FailedMount", 'secret "t-0" not found')],
            'its pod does not start: secret "t-0" not found',
        ),
    ],
)
def test_what_somebody_can_set_right_is_waited_for_with_its_reason(pods: Any, events: Any, words: str) -> None:
    found = seen(*pods, events=(*events, warning("uid-other", "FailedCreate", "of another")))
    assert found.stage is Stage.WAITING
    assert words in found.reason
    # When the deadline of the Job has come, the reason is still known.
    late = seen(*pods, of=job(type="Failed", reason="DeadlineExceeded"), events=tuple(events))
    assert (late.stage, late.reason) == (Stage.ENDED, found.reason)


@pytest.mark.parametrize(
    ("of", "pods", "stage", "words"),
    [
        (
            None,
            [pod(ended(137, "OOMKilled"), "Failed")],
            Stage.EXCEEDED,
            "it needed more memory than the 2Gi of its pod, and was killed",
        ),
        (
            None,
            [
                pod(
                    ended(137),
                    "Failed",
                    reason="Evicted",
                    message='Usage of EmptyDir volume "scratch" exceeds the limit "1280Mi".',
                )
            ],
            Stage.EXCEEDED,
            'it was ended by the node: Usage of EmptyDir volume "scratch" exceeds the limit "1280Mi".',
        ),
        (
            None,
            [pod(None, "Failed", reason="Evicted", message="The node was low on resource: memory.")],
            Stage.ENDED,
            "its pod was ended by the node (Evicted): The node was low on resource: memory.",
        ),
        (None, [pod(ended(2, message="x\nthe question cannot be read\n"))], Stage.ENDED, "the question cannot be read"),
        (None, [pod(ended(1), "Failed")], Stage.ENDED, "its pod ended with the exit status 1"),
        (job(type="Failed", reason="BackoffLimitExceeded"), [], Stage.ENDED, "its pod is gone"),
        (job(type="Failed", reason="DeadlineExceeded"), [], Stage.ENDED, "its pod did not start in time"),
    ],
)
def test_what_ends_without_an_answer_says_why(of: Any, pods: Any, stage: Stage, words: str) -> None:
    assert seen(*pods, of=of) == Outcome(stage, words)


def test_a_job_or_a_pod_that_somebody_deletes_is_said() -> None:
    assert outcome(None, [], ()) == Outcome(Stage.ENDED, "its Job was deleted")
    going = pod({"running": {}}, "Running")
    going["metadata"]["deletionTimestamp"] = "2026-11-29T10:00:00Z"
    assert seen(going) == Outcome(Stage.ENDED, "its pod was deleted")
