"""Which gateways count, and what they run. Decides only: what is read of the cluster goes in.

What a gateway says is a claim. It is believed of a pod that is there, is the one that the report names, is ready, and
was started by the Deployment of gateways, which says which image it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from serinus.core.text import one_line

_LONGEST = 300
"""Characters of what a gateway says of its trouble."""
_DELETED = "it is being deleted"


@dataclass(frozen=True, slots=True)
class Pod:
    """As the API server has it."""

    name: str
    uid: str
    ready: bool
    going: bool
    """It is being deleted, or has ended."""
    ours: bool
    """The Deployment of gateways has started it."""


@dataclass(frozen=True, slots=True)
class Report:
    """Of one gateway about itself."""

    pod: str
    uid: str
    running: str
    """The version in force; empty: none is."""
    refused: str = ""
    """The version that Envoy has refused."""
    trouble: str = ""
    """Why the wanted version is not in force, in words."""
    seen: int = 0
    """The number of the publication that `running` and `refused` are about."""


class Standing(StrEnum):
    COUNTED = "counted"
    NOT_IN_USE = "not in use"
    """It gets no traffic, or is on its way out."""
    NOT_BELIEVED = "not believed"
    LEFT_OUT = "left out"
    """It did not report what is wanted in time."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """`running`: as it reports; empty where it reports nothing or is not believed."""

    pod: str
    uid: str
    standing: Standing
    running: str = ""
    refused: str = ""
    reason: str = ""
    seen: int = 0


def gateways(pods: Sequence[Pod], reports: Sequence[Report], left_out: Mapping[str, str]) -> Sequence[Gateway]:
    """Of every pod, by name. `left_out`: uid of a pod -> why."""
    by_pod = {report.pod: report for report in reports}
    return [_gateway(pod, by_pod.get(pod.name), left_out) for pod in sorted(pods, key=lambda pod: pod.name)]


def _gateway(pod: Pod, report: Report | None, left_out: Mapping[str, str]) -> Gateway:
    standing, reason = _standing(pod, report, left_out)
    if report is None or report.uid != pod.uid or standing is Standing.NOT_BELIEVED:
        return Gateway(pod.name, pod.uid, standing, reason=reason or "it has not reported yet")
    reason = reason or one_line(report.trouble)[:_LONGEST]
    return Gateway(pod.name, pod.uid, standing, report.running, report.refused, reason, report.seen)


def _standing(pod: Pod, report: Report | None, left_out: Mapping[str, str]) -> tuple[Standing, str]:
    if not pod.ours:
        return Standing.NOT_BELIEVED, "it was not started by the Deployment of gateways"
    if pod.going:
        return Standing.NOT_IN_USE, _DELETED
    if not pod.ready:
        said = f": {one_line(report.trouble)[:_LONGEST]}" if report is not None and report.trouble else ""
        return Standing.NOT_IN_USE, f"it is not ready{said}"
    if pod.uid in left_out:
        return Standing.LEFT_OUT, left_out[pod.uid]
    return Standing.COUNTED, ""


def warnings_about(found: Sequence[Gateway]) -> Sequence[str]:
    """Returns in words which gateways do not run what is wanted, and why. One that is being deleted is not
    mentioned."""
    said = [
        f"the gateway {one.pod} is {one.standing}: {one.reason}"
        if one.standing is not Standing.COUNTED
        else f"the gateway {one.pod}: {one.reason}"
        for one in found
        if one.reason and one.reason != _DELETED
    ]
    if not any(one.standing is Standing.COUNTED for one in found):
        said.insert(0, "no gateway is ready, so callers of models get no answer")
    return said


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a change has come. `done`: all gateways that count have it. `refused`: Envoy has refused it in one of
    them. `behind`: those that count and do not have it yet."""

    done: bool
    refused: Gateway | None
    having: Collection[str]
    behind: Sequence[Gateway]


def progress(found: Sequence[Gateway], has: Callable[[str], bool], version: str, number: int) -> Progress:
    """`has`: whether a gateway that runs this version has the change. `version`, `number`: those of its publication."""
    counted = [one for one in found if one.standing is Standing.COUNTED]
    behind = [one for one in counted if one.seen < number or not has(one.running)]
    having = [one.uid for one in counted if one not in behind]
    refused = next((one for one in behind if one.refused == version and one.seen >= number), None)
    return Progress(bool(counted) and not behind, refused, having, behind)


def back_again(found: Sequence[Gateway], version: str, number: int) -> set[str]:
    """The uids of those that were left out, and now run what is wanted."""
    late = [one for one in found if one.standing is Standing.LEFT_OUT]
    return {one.uid for one in late if one.running == version and one.seen >= number}
