"""Trials of a model: what becomes of every way in which its process can end."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from serinus.backends.host.trial_zygotes import TrialLimits
from serinus.backends.host.trials import Trials
from serinus.core.errors import Unbuildable
from serinus.core.home import Home
from serinus.core.values import AnsweredRequest, Environment, OwnAnswer, Release, ServingSettings

STANDIN = Path(__file__).parent / "standin"
PYTHON = Path(sys.executable)
ENVIRONMENT = Environment("e" * 64, PYTHON, "3.11.7", Path("lock"))


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "h")


@pytest.fixture
def trials(home):
    return Trials(home, runtime=STANDIN)


def artifact(home, name):
    path = home.artifacts / name
    path.mkdir(parents=True)
    return path


def test_the_scan_is_what_the_process_says_last(home, trials, monkeypatch):
    monkeypatch.setenv("SERINUS_TOKEN", "t")
    found = trials.scan(artifact(home, "m"))
    assert (found["pickles"], found["other"]) == ([], [str(home.artifacts / "m")])
    assert "SERINUS_TOKEN" not in found["environ"]


def test_a_scan_that_takes_too_long_is_killed_and_said(home):
    quick = Trials(home, runtime=STANDIN, limits=TrialLimits(seconds=0.5))
    with pytest.raises(Unbuildable, match=r"longer than 0.5 s and was killed"):
        quick.scan(artifact(home, "hang"))


def test_the_reference_scores_are_those_of_the_rows(home, trials):
    rows = [[0.25, "web"], [0.75, "pos"]]
    assert trials.reference(PYTHON, artifact(home, "m"), ["x", "kind"], rows, None) == [0.25, 0.75]


def test_a_reference_without_scores_says_why(home, trials):
    with pytest.raises(Unbuildable, match="AttributeError: Can't get attribute 'Clean'"):
        trials.reference(PYTHON, artifact(home, "fails"), ["x"], [[1]], None)


def test_a_model_that_loads_has_no_reason(home, trials):
    assert trials.loads(ENVIRONMENT, artifact(home, "m")) is None


def test_a_model_that_does_not_load_says_why(home, trials):
    assert trials.loads(ENVIRONMENT, artifact(home, "fails")) == "AttributeError: Can't get attribute 'Clean'"
    assert (
        trials.loads(ENVIRONMENT, artifact(home, "crashes"))
        == "killed by SIGABRT: Fatal Python error: Aborted (reference.py:14, in main)"
    )
    with pytest.raises(Unbuildable, match="it exited with 0 without an answer"):
        trials.loads(ENVIRONMENT, artifact(home, "babbles"))


def test_a_model_that_needs_too_much_memory_does_not_load(home):
    narrow = Trials(home, runtime=STANDIN, limits=TrialLimits(memory_bytes=256 << 20))
    with pytest.raises(Unbuildable, match=r"MemoryError \(reference\.py:16, in main\)"):
        narrow.loads(ENVIRONMENT, artifact(home, "eats"))


def test_an_interpreter_that_is_not_there_is_named(home, trials):
    missing = Environment("e" * 64, Path("/no/such/python"), "3.9", Path("lock"))
    assert "/no/such/python cannot be started" in str(trials.loads(missing, artifact(home, "m")))


def test_nothing_is_left_of_a_trial(home, trials):
    trials.loads(ENVIRONMENT, artifact(home, "m"))
    assert list(home.scratch.iterdir()) == []


REQUEST = AnsweredRequest("m-1-abcdef", ("a",), [[1.0], [2.0]], [0.1, 0.2])


def rescored(home, name, **limits):
    release = Release(
        id="m-1-abcdef",
        model="m",
        version="1",
        artifact_path=artifact(home, name),
        artifact_digest="a",
        environment_digest="e",
        python=PYTHON,
        settings=ServingSettings(),
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    return Trials(home, runtime=STANDIN, limits=TrialLimits(**limits)).rescore(release, [REQUEST, REQUEST])


def test_requests_are_rescored_behind_everything_else_on_the_machine(home):
    found = rescored(home, "m", background=True)
    last = OwnAnswer([19.0, float(os.SCHED_IDLE)], "INT64")
    assert found.answers == [last, last]
    assert found.seconds > 0


@pytest.mark.parametrize("name", ["words", "other", "none"])
def test_what_is_no_answer_to_a_request_is_none(home, name):
    assert rescored(home, name).answers == [None, None]


def test_a_process_that_does_not_answer_all_requests_has_answered_none(home):
    with pytest.raises(Unbuildable, match="an answer to each request"):
        rescored(home, "short")
