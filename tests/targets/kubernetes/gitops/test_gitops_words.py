"""What Argo CD says of a release, as it is shown."""

from __future__ import annotations

from typing import Any

import pytest

from serinus.targets.kubernetes.gitops.words import PATIENCE, is_out_of_sync, state, trouble, trouble_of_set

FINE = {"sync": {"status": "Synced"}, "health": {"status": "Healthy"}, "operationState": {"phase": "Succeeded"}}
DRIFTED = {
    "sync": {"status": "OutOfSync"},
    "resources": [
        {"kind": "Service", "name": "card-fraud-7", "status": "Synced"},
        {"kind": "Deployment", "name": "card-fraud-7", "status": "OutOfSync"},
    ],
}
REFUSED = {
    "kind": "Deployment",
    "name": "card-fraud-7",
    "status": "SyncFailed",
    "message": 'admission webhook "policy.example" denied the request: no owner\n',
}


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({}, ""),
        (FINE, ""),
        ({"sync": {"status": "OutOfSync"}, "operationState": {"phase": "Running"}}, ""),
        ({"health": {"status": "Progressing"}}, ""),
        (
            {"conditions": [{"type": "ComparisonError", "message": "failed to list refs: authentication required"}]},
            "Argo CD reports ComparisonError: failed to list refs: authentication required",
        ),
        ({"conditions": [{"type": "OrphanedResourceWarning", "message": "one"}]}, ""),
        (
            {"operationState": {"phase": "Failed", "syncResult": {"resources": [REFUSED, {"status": "Synced"}]}}},
            "Argo CD cannot apply it: Deployment card-fraud-7: "
            'admission webhook "policy.example" denied the request: no owner',
        ),
        (
            {"operationState": {"phase": "Running", "retryCount": 2, "syncResult": {"resources": [REFUSED]}}},
            "Argo CD cannot apply it: Deployment card-fraud-7: "
            'admission webhook "policy.example" denied the request: no owner',
        ),
        (
            {"operationState": {"phase": "Error", "message": "namespace 'x' is not permitted in project 'y'"}},
            "Argo CD cannot apply it: namespace 'x' is not permitted in project 'y'",
        ),
        (
            {
                "health": {"status": "Degraded"},
                "resources": [
                    {
                        "kind": "Deployment",
                        "name": "card-fraud-7",
                        "health": {"status": "Degraded", "message": "exceeded its progress deadline"},
                    }
                ],
            },
            "Argo CD reports it as Degraded: Deployment card-fraud-7: exceeded its progress deadline",
        ),
        ({"health": {"status": "Degraded"}}, "Argo CD reports it as Degraded"),
    ],
)
def test_what_is_wrong_is_said_in_its_own_words(status: dict[str, Any], words: str) -> None:
    assert trouble({"status": status}) == words


def test_being_out_of_sync_is_said_after_a_while() -> None:
    assert is_out_of_sync({"status": DRIFTED})
    assert trouble({"status": DRIFTED}, PATIENCE) == ""
    assert trouble({"status": DRIFTED}, PATIENCE + 1) == "Argo CD reports it as OutOfSync: Deployment card-fraud-7"
    assert not is_out_of_sync({"status": FINE})


def test_credentials_in_what_it_says_are_not_shown() -> None:
    message = "rpc error: https://anna:hunter2@git.example/fleet.git: authentication required"
    assert "hunter2" not in trouble({"status": {"conditions": [{"type": "ComparisonError", "message": message}]}})


def test_what_it_is_at_is_told_while_nothing_is_wrong() -> None:
    assert state({"status": FINE}) == "Synced, Healthy"
    assert state({}) == "not looked at yet"


def test_a_set_that_makes_no_applications_says_why() -> None:
    wrong = {"type": "ErrorOccurred", "status": "True", "message": "unable to resolve 'main' to a commit SHA"}
    assert trouble_of_set({"status": {"conditions": [wrong]}}) == (
        "Argo CD reports ErrorOccurred: unable to resolve 'main' to a commit SHA"
    )
    assert trouble_of_set({"status": {"conditions": [{**wrong, "status": "False"}]}}) == ""
