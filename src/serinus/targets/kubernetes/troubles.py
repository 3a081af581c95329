"""Why a release does not run, in words: from the status of its pods and of its Deployment, and from warnings. Pure.

The words of Kubernetes, of a registry and of a model are quoted in part, on one line and without credentials.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serinus.core.text import one_line
from serinus.targets.kubernetes.manifests.pod import CONTAINER

Object = Mapping[str, Any]

_LONGEST = 300
"""Characters of others' words."""


@dataclass(frozen=True, slots=True)
class Trouble:
    words: str
    fatal: bool = False
    """The release itself is wrong, and would be so on any node."""


def of_pod(pod: Object, events: Sequence[Object]) -> Trouble | None:
    """`events`: its warnings, the latest first. None: nothing is wrong, as far as anybody says."""
    container = container_status(pod)
    if container is not None:
        return _of_container(pod, container, events)
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return _unschedulable(condition)
    return _of_events(events)


def about(events: Iterable[Object], what: Object) -> list[Object]:
    """The events of this object, the latest first."""
    uid = what["metadata"].get("uid")
    own = [one for one in events if (one.get("involvedObject") or {}).get("uid") == uid]
    return sorted(own, key=_when, reverse=True)


def _when(event: Object) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp") or "")


def container_status(pod: Object) -> Object | None:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return next((one for one in statuses if one.get("name") == CONTAINER), None)


def _unschedulable(condition: Object) -> Trouble:
    message = quoted(condition.get("message")).partition(" preemption:")[0].rstrip(". ")
    return Trouble(f"no node has room for the pod: {message}" if message else "no node has room for the pod")


def _of_container(pod: Object, container: Object, events: Sequence[Object]) -> Trouble | None:
    state = container.get("state") or {}
    waiting = state.get("waiting") or {}
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated")
    reason = waiting.get("reason", "")
    if reason in _PULLING:
        return Trouble(_pulling(container, waiting))
    if reason in _CONFIGURING:
        return Trouble(f"its container cannot be made: {quoted(waiting.get('message')) or reason}")
    if ended is not None and not container.get("ready"):
        return _ended(pod, ended, events)
    if "running" in state and container.get("started") and not container.get("ready"):
        words = _first(events, "Unhealthy", "Readiness probe")
        return Trouble(f"its pod is not ready any more: {words}") if words else None
    return _of_events(events) if waiting else None


_PULLING = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}
)
_CONFIGURING = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
_PULL_CAUSES = {
    "the registry refuses the credentials": r"unauthorized|\b401\b|\b403\b|denied|no basic auth",
    "the registry does not have it": r"not found|manifest unknown|name unknown|\b404\b",
    "the disk of the node is full": r"no space left",
    "the node does not reach the registry": r"no such host|connection refused|timeout|no route|x509|\beof\b",
}


def _pulling(container: Object, waiting: Object) -> str:
    message = str(waiting.get("message") or "")
    cause = next((words for words, signs in _PULL_CAUSES.items() if re.search(signs, message, re.IGNORECASE)), "")
    image = one_line(str(container.get("image") or ""))
    why = f": {cause}" if cause else ""
    return f"the image {image} cannot be pulled{why} ({quoted(message) or waiting.get('reason')})"


_SIGNALS = {137: "SIGKILL", 139: "SIGSEGV", 134: "SIGABRT", 143: "SIGTERM"}
"""What shells add 128 to."""


def _ended(pod: Object, ended: Object, events: Sequence[Object]) -> Trouble | None:
    """A container that has ended and is, or will be, started again."""
    message = last_line(ended.get("message"))
    said = f": {message}" if message else ""
    if ended.get("reason") == "OOMKilled":
        return Trouble(f"needed more memory than the {memory_limit(pod)} of its pod, and was killed{said}", fatal=True)
    if ended.get("exitCode") == 0:
        return Trouble(f"its pod has ended, and is started again{said}")
    if ended.get("reason") == "ContainerStatusUnknown":
        return Trouble("its node was lost")
    if (probe := _first(events, "Killing", "probe")) is not None:
        slow = _first(events, "Unhealthy", "probe") or probe
        return Trouble(f"was stopped because a probe failed{said or f': {slow}'}", fatal=True)
    code = int(ended.get("exitCode") or 0)
    how = f"by the signal {_SIGNALS[code]}" if code in _SIGNALS else f"with the exit status {code}"
    return Trouble(f"its pod ended {how}{said}", fatal=True)


def memory_limit(pod: Object) -> str:
    """Of its container, as its manifest has it."""
    for one in (pod.get("spec") or {}).get("containers") or ():
        limit = ((one.get("resources") or {}).get("limits") or {}).get("memory")
        if one.get("name") == CONTAINER and limit is not None:
            return str(limit)
    return "memory limit"


_TELLING = frozenset({"FailedMount", "FailedCreatePodSandBox", "FailedScheduling", "FailedAttachVolume", "Evicted"})


def _of_events(events: Sequence[Object]) -> Trouble | None:
    for one in events:
        if one.get("reason") in _TELLING:
            return Trouble(f"its pod does not start: {quoted(one.get('message'))}")
    return None


def _first(events: Sequence[Object], reason: str, words: str) -> str | None:
    for one in events:
        if one.get("reason") == reason and words.casefold() in str(one.get("message") or "").casefold():
            return quoted(one.get("message"))
    return None


def of_deployment(deployment: Object, pods: Sequence[Object], live: Sequence[Object]) -> str:
    """Where no pod says what is wrong: why there is none, or why it takes so long. Empty: nothing is wrong yet."""
    conditions = {one.get("type"): one for one in (deployment.get("status") or {}).get("conditions") or ()}
    failure = conditions.get("ReplicaFailure")
    if failure is not None and failure.get("status") == "True":
        return not_created(quoted(failure.get("message")))
    if (deployment.get("spec") or {}).get("replicas") == 0:
        return "somebody has scaled its Deployment to 0 pods; `kubectl scale --replicas=1` brings it back"
    if (deployment.get("spec") or {}).get("paused"):
        return "somebody has paused its Deployment; `kubectl rollout resume` lets it go on"
    if not live and pods and (evicted := _evicted(pods)):
        return evicted
    progress = conditions.get("Progressing")
    if progress is not None and progress.get("reason") == "ProgressDeadlineExceeded":
        return "its pods have not become ready within the deadline of its Deployment"
    return ""


_QUOTA = re.compile(r"exceeded quota: ([^,]+)")
_WEBHOOK = re.compile(r'admission webhook "([^"]+)" denied')


def not_created(message: str) -> str:
    """Why there is no pod, by what the API server said to the controller that would have made it."""
    if found := _QUOTA.search(message):
        return f"the quota '{found[1]}' of the namespace is used up: {message}"
    if found := _WEBHOOK.search(message):
        return f"the admission webhook '{found[1]}' does not allow its pods: {message}"
    if "PodSecurity" in message:
        return f"the pod security of the namespace does not allow its pods: {message}"
    return f"its pods cannot be made: {message}"


def _evicted(pods: Sequence[Object]) -> str:
    for pod in pods:
        status = pod.get("status") or {}
        if status.get("phase") == "Failed" and status.get("reason"):
            return f"its pod was ended by the node ({one_line(str(status['reason']))}): {quoted(status.get('message'))}"
    return ""


def quoted(text: object) -> str:
    """Others' words, as they may be shown."""
    return one_line(str(text or ""))[:_LONGEST]


def last_line(text: object) -> str:
    """The last of others' words that is not empty."""
    lines = [line for line in str(text or "").splitlines() if line.strip()]
    return quoted(lines[-1]) if lines else ""
