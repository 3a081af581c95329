"""Which gateways count, and when a change has come far enough: pure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from serinus.targets.kubernetes.gateway.counting import (
    Pod,
    Report,
    Standing,
    back_again,
    gateways,
    progress,
    warnings_about,
)

POD = Pod("gateway-0", "uid-0", ready=True, going=False, ours=True)
REPORT = Report("gateway-0", "uid-0", "v1")


def test_a_ready_gateway_counts_with_what_it_reports() -> None:
    [found] = gateways([POD], [REPORT], {})
    assert (found.standing, found.running) == (Standing.COUNTED, "v1")


def test_a_ready_gateway_that_reports_nothing_counts_and_runs_nothing() -> None:
    [found] = gateways([POD], [], {})
    assert (found.standing, found.running, found.reason) == (Standing.COUNTED, "", "it has not reported yet")


@pytest.mark.parametrize(
    ("pod", "standing", "reason"),
    [
        (replace(POD, ours=False), Standing.NOT_BELIEVED, "it was not started by the Deployment of gateways"),
        (replace(POD, going=True), Standing.NOT_IN_USE, "it is being deleted"),
        (replace(POD, ready=False), Standing.NOT_IN_USE, "it is not ready"),
    ],
)
def test_a_gateway_that_callers_do_not_reach_or_that_is_none_does_not_count(
    pod: Pod, standing: Standing, reason: str
) -> None:
    [found] = gateways([pod], [REPORT], {})
    assert (found.standing, found.reason) == (standing, reason)


def test_what_is_no_gateway_of_ours_is_not_believed() -> None:
    [found] = gateways([replace(POD, ours=False)], [REPORT], {})
    assert found.running == ""


def test_a_report_of_a_pod_that_had_the_name_before_is_not_believed() -> None:
    [found] = gateways([POD], [replace(REPORT, uid="uid-of-before")], {})
    assert found.running == ""


def test_a_report_without_a_pod_is_of_nobody() -> None:
    assert gateways([], [REPORT], {}) == []


def test_what_a_gateway_says_is_one_short_line() -> None:
    [found] = gateways([POD], [replace(REPORT, trouble="a\n\x1b[2J" + "x" * 1_000)], {})
    assert "\n" not in found.reason
    assert "\x1b" not in found.reason
    assert len(found.reason) <= 300


def test_a_change_is_done_when_all_that_count_have_it() -> None:
    pods = [replace(POD, name=f"gateway-{number}", uid=f"uid-{number}") for number in range(3)]
    reports = [
        Report("gateway-0", "uid-0", "v2"),
        Report("gateway-1", "uid-1", "v1"),
        Report("gateway-2", "uid-2", "v1"),
    ]
    found = progress(gateways(pods, reports, {}), "v2".__eq__, "v2", 0)
    assert (found.done, found.having) == (False, ["uid-0"])
    assert [one.pod for one in found.behind] == ["gateway-1", "gateway-2"]
    reports[1] = replace(reports[1], running="v2")
    assert progress(gateways(pods, reports, {"uid-2": "late"}), "v2".__eq__, "v2", 0).done


def test_a_change_is_never_done_without_a_gateway() -> None:
    assert not progress([], "v2".__eq__, "v2", 0).done
    assert not progress(gateways([POD], [replace(REPORT, running="v2")], {"uid-0": "late"}), "v2".__eq__, "v2", 0).done


def test_a_gateway_that_refuses_the_version_is_named() -> None:
    found = progress(gateways([POD], [replace(REPORT, refused="v2", trouble="bad")], {}), "v2".__eq__, "v2", 0)
    assert found.refused is not None
    assert (found.refused.pod, found.refused.reason) == ("gateway-0", "bad")
    earlier = progress(gateways([POD], [replace(REPORT, refused="v0")], {}), "v2".__eq__, "v2", 0)
    assert earlier.refused is None


def test_who_was_left_out_comes_back_with_what_is_wanted() -> None:
    late = {"uid-0": "it did not report"}
    assert gateways([POD], [REPORT], late)[0].reason == "it did not report"
    assert back_again(gateways([POD], [REPORT], late), "v2", 0) == set()
    assert back_again(gateways([POD], [replace(REPORT, running="v2")], late), "v2", 0) == {"uid-0"}


def test_a_report_of_before_is_not_taken_for_one_of_the_same_document_that_is_wanted_again() -> None:
    before = replace(REPORT, running="v2", refused="v2", seen=4)
    found = progress(gateways([POD], [before], {}), "v2".__eq__, "v2", 5)
    assert (found.done, found.refused) == (False, None)
    assert progress(gateways([POD], [replace(before, seen=5)], {}), "v2".__eq__, "v2", 5).done
    assert back_again(gateways([POD], [before], {"uid-0": "late"}), "v2", 5) == set()


def test_people_are_told_which_gateways_do_not_run_what_is_wanted_and_why() -> None:
    pods = [replace(POD, name=f"gateway-{n}", uid=f"uid-{n}") for n in range(5)]
    pods[1], pods[2], pods[3] = (
        replace(pods[1], ready=False),
        replace(pods[2], going=True),
        replace(pods[3], ours=False),
    )
    reports = [replace(REPORT, pod=pod.name, uid=pod.uid) for pod in pods]
    reports[1] = replace(reports[1], trouble="Envoy does not answer")
    found = gateways(pods, reports, {"uid-4": "it did not report the new routing within 10 s"})
    assert warnings_about(found) == [
        "the gateway gateway-1 is not in use: it is not ready: Envoy does not answer",
        "the gateway gateway-3 is not believed: it was not started by the Deployment of gateways",
        "the gateway gateway-4 is left out: it did not report the new routing within 10 s",
    ]


def test_people_are_told_of_the_trouble_of_a_gateway_that_counts() -> None:
    assert warnings_about(gateways([POD], [replace(REPORT, trouble="no pod of fraud-1 is ready yet")], {})) == [
        "the gateway gateway-0: no pod of fraud-1 is ready yet"
    ]
    assert warnings_about(gateways([POD], [REPORT], {})) == []


def test_people_are_told_that_no_gateway_answers() -> None:
    assert warnings_about([]) == ["no gateway is ready, so callers of models get no answer"]
