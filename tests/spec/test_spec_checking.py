"""Valid deployments whose values contradict each other."""

from __future__ import annotations

import pytest

from serinus.spec import load
from serinus.spec.checking import Lines, contradictions

CASES = {
    "serving: {timeout: 50ms}": (
        "s.yaml:1: gates.latency_p99: 100ms is longer than serving.timeout, 50ms: a version can pass the gate and "
        "still answer too late"
    ),
    "watch:\n  slow:\n    over: 10s\nserving: {timeout: 10s}\ngates: {latency_p99: 1s}": (
        "s.yaml:4: watch.slow.over: 10s is not shorter than serving.timeout, 10s: only timeouts are slow then, and "
        "they are errors already"
    ),
    "watch:\n  errors: {ok: 0.5}": (
        "s.yaml:3: watch.errors.ok: 0.5 is less than 1: a release that is exactly as good as the champion would be "
        "aborted"
    ),
}


def said(text: str) -> list[str]:
    return list(contradictions(load(text, model="m"), Lines(text, "s.yaml")))


@pytest.mark.parametrize("text", CASES)
def test_values_that_contradict_each_other_are_told_with_figure_and_line(text: str) -> None:
    whole = f"model: m\n{text}\n"
    assert said(whole) == [CASES[text]]


def test_the_defaults_and_what_differs_from_them_sensibly_are_told_of_nothing() -> None:
    assert said("model: m\n") == []
    assert said("model: m\nserving: {timeout: 200ms}\nwatch: {alerts: off, slow: {over: 100ms}}\n") == []
