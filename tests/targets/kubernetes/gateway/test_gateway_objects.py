"""Between objects of the API and what they say: pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from serinus.targets.kubernetes.cluster.kinds import kind_of
from serinus.targets.kubernetes.gateway.cluster_board import (
    WANTED,
    lease_of,
    pod_of,
    publication_of,
    report_of,
    secret_of,
)
from serinus.targets.kubernetes.gateway.counting import Pod, Report
from serinus.targets.kubernetes.gateway.publication import Publication, Unreadable

PUBLICATION = Publication("v2", {"v2": b"\x00\xffnew", "v1": b"old"}, 1_764_000_000)
NOW = datetime(2026, 11, 29, 12, 0, 0, 250_000, tzinfo=UTC)


def test_a_publication_is_read_out_of_the_secret_as_it_was_written() -> None:
    assert publication_of(secret_of(PUBLICATION, "serinus-system", "17")) == PUBLICATION


def test_a_secret_replaces_the_revision_that_was_read_alone() -> None:
    assert secret_of(PUBLICATION, "serinus-system", "17")["metadata"]["resourceVersion"] == "17"
    assert "resourceVersion" not in secret_of(PUBLICATION, "serinus-system", None)["metadata"]


@pytest.mark.parametrize(
    "secret",
    [
        {"metadata": {}},
        {"metadata": {"annotations": {WANTED: "v3"}}, "data": {"v2": "bmV3"}},
        {"metadata": {"annotations": {WANTED: "v2"}}, "data": {"v2": "no base64!"}},
        {"metadata": {"annotations": {WANTED: "v2"}}, "data": {"v2": None}},
    ],
)
def test_another_secret_of_that_name_is_unreadable(secret: dict[str, Any]) -> None:
    with pytest.raises(Unreadable, match="serinus-routing"):
        publication_of(secret)


def test_a_report_is_read_out_of_the_lease_as_it_was_written() -> None:
    report = Report("serinus-gateway-6d5f-x2", "uid-1", "v2", "v3", "Envoy refused the new routing.", 17)
    assert report_of(lease_of(report, "serinus-system", NOW)) == report


def test_a_lease_belongs_to_its_pod_and_says_since_when_it_holds() -> None:
    lease = lease_of(Report("gateway-0", "uid-0", "v1"), "serinus-system", NOW)
    assert lease["metadata"]["name"] == "gateway-0"
    assert lease["metadata"]["ownerReferences"] == [
        {"apiVersion": "v1", "kind": "Pod", "name": "gateway-0", "uid": "uid-0"}
    ]
    assert lease["spec"]["renewTime"] == "2026-11-29T12:00:00.250000Z"
    assert kind_of(lease).plural == "leases"


def test_what_a_gateway_writes_is_one_bounded_line() -> None:
    lease = lease_of(Report("gateway-0", "uid-0", "", "", "a\nb" + "x" * 10_000), "serinus-system", NOW)
    assert len(lease["metadata"]["annotations"]["serinus/trouble"]) == 500
    assert "\n" not in lease["metadata"]["annotations"]["serinus/trouble"]


def test_a_lease_of_somebody_else_reports_nothing() -> None:
    assert report_of({"metadata": {"name": "x"}}) == Report("x", "", "")


RUNNING: dict[str, Any] = {
    "metadata": {
        "name": "serinus-gateway-6d5f-x2",
        "uid": "uid-1",
        "ownerReferences": [{"kind": "ReplicaSet", "name": "serinus-gateway-6d5f", "controller": True}],
    },
    "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
}
POD = Pod("serinus-gateway-6d5f-x2", "uid-1", ready=True, going=False, ours=True)


def changed(part: str, **changes: Any) -> dict[str, Any]:
    return {**RUNNING, part: {**RUNNING[part], **changes}}


@pytest.mark.parametrize(
    ("pod", "wanted"),
    [
        (RUNNING, POD),
        (changed("status", conditions=[]), replace(POD, ready=False)),
        (changed("status", conditions=[{"type": "Ready", "status": "False"}]), replace(POD, ready=False)),
        (changed("status", conditions=None), replace(POD, ready=False)),
        (changed("status", phase="Failed"), replace(POD, going=True)),
        (changed("metadata", deletionTimestamp="2026-11-29T12:00:00Z"), replace(POD, going=True)),
        (changed("metadata", ownerReferences=[]), replace(POD, ours=False)),
        (
            changed("metadata", ownerReferences=[{"kind": "ReplicaSet", "name": "other-6d5f", "controller": True}]),
            replace(POD, ours=False),
        ),
        (
            changed("metadata", ownerReferences=[{"kind": "ReplicaSet", "name": "serinus-gateway-6d5f"}]),
            replace(POD, ours=False),
        ),
    ],
)
def test_a_pod_is_what_the_api_server_says_of_it(pod: dict[str, Any], wanted: Pod) -> None:
    assert pod_of(pod) == wanted


@pytest.mark.parametrize("text", ["", "-1", "1.5", "\u0664", "x", None, 7])
def test_a_number_that_is_none_is_of_nobody(text: object) -> None:
    lease = {"metadata": {"name": "x", "annotations": {"serinus/seen": text}}}
    assert report_of(lease).seen == 0
