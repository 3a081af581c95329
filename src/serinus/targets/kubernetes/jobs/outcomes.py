"""What the objects of a cluster say of a question that was asked in a Job: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from serinus.core.text import one_line
from serinus.targets.kubernetes import troubles

Object = Mapping[str, Any]


class Stage(Enum):
    """How far it is."""

    WAITING = "waiting"
    """No container runs yet."""
    RUNNING = "running"
    ANSWERED = "answered"
    """The answer is in the log of the pod."""
    EXCEEDED = "exceeded"
    """The model took more than it may."""
    ENDED = "ended"
    """It ended without an answer, for a reason that is not the model's."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """`reason`: why it waits, or has ended without an answer, in words. Empty: nobody says."""

    stage: Stage
    reason: str = ""
    pod: str = ""
    """The name of the pod, where the stage is ANSWERED."""


def outcome(job: Object | None, pods: Sequence[Object], events: Sequence[Object]) -> Outcome:
    """`job`: None where it is gone. `pods`: its pods. `events`: warnings of the namespace."""
    if job is None:
        return Outcome(Stage.ENDED, "its Job was deleted")
    if pods:
        found = _of_pod(pods[-1], troubles.about(events, pods[-1]))
        if found.stage is not Stage.WAITING:
            return found
    else:
        found = Outcome(Stage.WAITING, _not_created(troubles.about(events, job)))
    failed = _condition(job, "Failed")
    if failed is not None:
        said = "its pod did not start in time" if failed.get("reason") == "DeadlineExceeded" else "its pod is gone"
        return Outcome(Stage.ENDED, found.reason or said)
    return found


def begun(pods: Sequence[Object]) -> Outcome | None:
    """None: the pods do not say all of it."""
    found = _of_pod(pods[-1], ()) if pods else None
    return found if found is not None and found.stage in (Stage.RUNNING, Stage.ANSWERED) else None


def _of_pod(pod: Object, events: Sequence[Object]) -> Outcome:
    status = pod.get("status") or {}
    container = troubles.container_status(pod)
    state = (container or {}).get("state") or {}
    if (ended := state.get("terminated")) is not None and status.get("reason") is None:
        return _of_container(pod, ended)
    if status.get("phase") in ("Failed", "Succeeded"):
        return _ended_by_the_node(status)
    if "deletionTimestamp" in pod["metadata"]:
        return Outcome(Stage.ENDED, "its pod was deleted")
    if "running" in state:
        return Outcome(Stage.RUNNING)
    trouble = troubles.of_pod(pod, events)
    return Outcome(Stage.WAITING, trouble.words if trouble is not None else "")


def _of_container(pod: Object, ended: Object) -> Outcome:
    if ended.get("exitCode") == 0:
        return Outcome(Stage.ANSWERED, pod=str(pod["metadata"]["name"]))
    if ended.get("reason") == "OOMKilled":
        return Outcome(
            Stage.EXCEEDED, f"it needed more memory than the {troubles.memory_limit(pod)} of its pod, and was killed"
        )
    said = troubles.last_line(ended.get("message"))
    return Outcome(Stage.ENDED, said or f"its pod ended with the exit status {ended.get('exitCode')}")


def _ended_by_the_node(status: Object) -> Outcome:
    message = troubles.quoted(status.get("message"))
    if status.get("reason") == "Evicted" and _OVER_ITS_LIMIT in message:
        return Outcome(Stage.EXCEEDED, f"it was ended by the node: {message}")
    reason = one_line(str(status.get("reason") or "without a reason"))
    return Outcome(Stage.ENDED, f"its pod was ended by the node ({reason}){': ' if message else ''}{message}")


_OVER_ITS_LIMIT = "exceeds the limit"
"""In the kubelet's words about the volume of a pod that holds more than it may."""


def _not_created(events: Sequence[Object]) -> str:
    for one in events:
        if one.get("reason") == "FailedCreate":
            return troubles.not_created(troubles.quoted(one.get("message")))
    return ""


def _condition(job: Object, kind: str) -> Object | None:
    for one in (job.get("status") or {}).get("conditions") or ():
        if one.get("type") == kind and one.get("status") == "True":
            found: Object = one
            return found
    return None
