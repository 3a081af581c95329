"""Trials of a model: what becomes of every way in which its process can end."""

from __future__ import annotations

import math
import os
import resource
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import kept
import polars as pl
import pytest

from serinus.core.errors import InvalidInput, Unbuildable
from serinus.core.examination import Rehearsal
from serinus.core.home import Home
from serinus.core.predictions import AnsweredRequest, OwnAnswer
from serinus.core.release import Release, ServingSettings
from serinus.targets.local.host.row_files import FileLimits
from serinus.targets.local.host.trial_limits import TrialLimits
from serinus.targets.local.host.trials import Trials
from serinus.targets.trials.answers import rehearsal_of

STANDIN = Path(__file__).parent / "standin"


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path / "h")
    kept.environment(home)
    return home


@pytest.fixture
def trials(home):
    return Trials(home, runtime=STANDIN)


def artifact(home, name):
    """Its digest."""
    home.artifact(name).mkdir(parents=True)
    return name


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
    assert trials.reference(kept.HERE, artifact(home, "m"), ["x", "kind"], rows, None) == [0.25, 0.75]


def test_a_reference_without_scores_says_why(home, trials):
    with pytest.raises(Unbuildable, match="AttributeError: Can't get attribute 'Clean'"):
        trials.reference(kept.HERE, artifact(home, "fails"), ["x"], [[1]], None)


def test_a_model_that_loads_has_no_reason(home, trials):
    assert trials.loads(kept.HERE, artifact(home, "m")) is None


def test_a_model_that_does_not_load_says_why(home, trials):
    assert trials.loads(kept.HERE, artifact(home, "fails")) == "AttributeError: Can't get attribute 'Clean'"
    assert (
        trials.loads(kept.HERE, artifact(home, "crashes"))
        == "killed by SIGABRT: Fatal Python error: Aborted (reference.py:14, in main)"
    )
    with pytest.raises(Unbuildable, match="it exited with 0 without an answer"):
        trials.loads(kept.HERE, artifact(home, "babbles"))


def test_a_model_that_needs_too_much_memory_does_not_load(home):
    narrow = Trials(home, runtime=STANDIN, limits=TrialLimits(memory_bytes=256 << 20))
    with pytest.raises(Unbuildable, match=r"MemoryError \(reference\.py:16, in main\)"):
        narrow.loads(kept.HERE, artifact(home, "eats"))


def test_an_interpreter_that_is_not_there_is_named(home, trials):
    assert f"{home.interpreter('missing')} cannot be started" in str(trials.loads("missing", artifact(home, "m")))


def test_nothing_is_left_of_a_trial(home, trials):
    trials.loads(kept.HERE, artifact(home, "m"))
    assert list(home.scratch.iterdir()) == []


REQUEST = AnsweredRequest("m-1-abcdef", ("a",), [[1.0], [2.0], [3.0]], [0.1, 0.2, 0.3])


def rescored(home, name, **limits):
    release = Release(
        id="m-1-abcdef",
        model="m",
        version="1",
        artifact_digest=artifact(home, name),
        environment_digest=kept.HERE,
        settings=ServingSettings(),
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    return Trials(home, runtime=STANDIN, limits=TrialLimits(**limits)).rescore(release, [REQUEST, REQUEST])


def own_group():
    """The niceness of this session among the sessions; None where they are no groups of the scheduler."""
    try:
        words = Path("/proc/self/autogroup").read_text().split()
    except OSError:
        return None
    return int(words[-1]) if words else None


def test_requests_are_rescored_behind_everything_else_on_the_machine(home):
    found = rescored(home, "m", background=True)
    own = own_group()
    group = 0.0 if own is None else float(max(13, own))
    last = OwnAnswer([19.0, float(os.SCHED_IDLE), group], "INT64")
    assert found.answers == [last, last]
    assert found.seconds > 0


@pytest.mark.parametrize("name", ["words", "other", "none"])
def test_what_is_no_answer_to_a_request_is_none(home, name):
    assert rescored(home, name).answers == [None, None]


def test_a_process_that_does_not_answer_all_requests_has_answered_none(home):
    with pytest.raises(Unbuildable, match="an answer to each request"):
        rescored(home, "short")


# --- files of rows, in a real process ---------------------------------------------------------------------


@pytest.fixture
def reader(home):
    home.scratch.mkdir(parents=True)
    return Trials(home)


def test_a_file_of_rows_is_read_in_a_confined_process(home, reader, tmp_path):
    frame = pl.DataFrame({"a": [1.5, float("nan")], "at": [date(2026, 1, 2), None], "label": [1, 0]})
    frame.write_parquet(tmp_path / "evaluation.parquet")
    found = reader.evaluation(tmp_path / "evaluation.parquet", "label", "entity", ["a", "at"])
    assert (found.columns, found.labels) == (("a", "at"), [1.0, 0.0])
    assert found.rows[0] == [1.5, "2026-01-02"]
    assert math.isnan(found.rows[1][0])
    (tmp_path / "golden.json").write_text('{"columns": ["a"], "rows": [[1]], "scores": [0.25]}')
    golden = reader.golden(tmp_path / "golden.json")
    assert (golden.columns, golden.rows, golden.scores) == (("a",), [[1]], [0.25])
    assert list(home.scratch.iterdir()) == []


def test_a_small_file_that_holds_too_many_rows_is_refused_within_little_memory(reader, tmp_path):
    file = tmp_path / "evaluation.parquet"
    pl.select(pl.repeat(0.0, 20_000_000).alias("amount"), pl.repeat(0.0, 20_000_000).alias("label")).write_parquet(
        file, compression="zstd"
    )
    assert file.stat().st_size < 1 << 20
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InvalidInput, match=r"holds 20,000,000 rows of 1 columns; at most 200,000 such rows are read"):
        reader.evaluation(file, "label", "entity", ["amount"])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10


def test_a_file_whose_contents_do_not_fit_ends_as_words_and_not_as_this_process(reader, tmp_path, monkeypatch):
    text = "x" * (1 << 20)
    pl.DataFrame({"text": [text] * 400, "label": [0] * 400}).write_parquet(tmp_path / "evaluation.parquet")
    small = FileLimits(memory_bytes=200 << 20)
    monkeypatch.setattr("serinus.targets.local.host.trials.FileLimits", lambda: small)
    with pytest.raises(InvalidInput, match=r"evaluation\.parquet was not read"):
        reader.evaluation(tmp_path / "evaluation.parquet", "label", "entity", ["text"])


def test_the_reader_of_a_file_sees_nothing_else_of_the_home(home, reader):
    home.path.mkdir(exist_ok=True)
    (home.path / "token.json").write_text("{}")
    link = home.path / "golden.json"
    link.symlink_to(home.path / "missing.json")
    with pytest.raises(InvalidInput, match=r"golden\.json was not read"):
        reader.golden(link)


# --- the first question -----------------------------------------------------------------------------------


def test_a_rehearsal_that_says_what_the_runtime_does_not_say_is_refused():
    said: dict[str, Any] = {"source": "", "document": None, "tensors": None, "rows": 0, "answers": [], "reason": ""}
    said |= {"refused": False, "warnings": [], "versions": []}
    assert rehearsal_of(said) == Rehearsal(None)
    one = {"category": "W", "library": "", "message": "m", "own": True}
    forged: tuple[dict[str, Any], ...] = (
        {"answers": [{}]}, {"rows": -1}, {"warnings": [one] * 21}, {"warnings": [{**one, "message": "m" * 3000}]},
        {"reason": 7}, {"versions": None}, {"document": []},
    )  # fmt: skip
    for wrong in forged:
        with pytest.raises(ValueError, match="validation error"):
            rehearsal_of(said | wrong)
