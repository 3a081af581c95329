"""The code in docs/prediction-log.md runs, and gives what it says."""

from __future__ import annotations

import importlib.util
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from serinus.core.home import Home
from serinus.core.predictions import Label
from serinus.predictions import DeltaPredictionLog
from serinus.predictions.counts.ledger import RouterReplies
from serinus.predictions.segments.columns import parse_body
from serinus.predictions.segments.wire import Hello
from serinus.predictions.table.delta import COLUMNS, PredictionTable, frame_of
from serinus.predictions.table.places import Directory

PAGE = (Path(__file__).parents[2] / "docs" / "prediction-log.md").read_text()
RELEASE = "card-fraud-7-3f9a2c"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def names(tmp_path: Path, record, body, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the `python` blocks define, run in a directory whose home has three predictions and two outcomes."""
    monkeypatch.chdir(tmp_path)
    home = Home(tmp_path / ".serinus")
    for directory in home.directories:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    said = [record(number, scores=[score]) for number, score in enumerate((0.2, 0.95, 0.97))]
    records = parse_body(body(said), Hello(RELEASE, "card-fraud", "00000000"))
    PredictionTable(Directory(home.predictions / "delta")).append(frame_of(records, RouterReplies()), 1)
    now = datetime.now(UTC)
    DeltaPredictionLog(home).label([Label("request-0", 1.0, now), Label("request-1", 1.0, now), Label("x", 1.0, now)])
    scope: dict[str, Any] = {}
    for block in blocks("python"):
        exec(compile(block, "docs/prediction-log.md", "exec"), scope)
    return scope


def test_the_polars_examples_run(names: dict[str, Any]) -> None:
    assert names["by_release"].select("release", "requests").rows() == [(RELEASE, 3)]
    assert names["amounts"]["amount"].to_list() == [12.5] * 3
    assert names["caught"]["recall"].to_list() == [0.5]
    assert names["waiting"] == 1
    assert names["table"].height == 3


@pytest.mark.skipif(importlib.util.find_spec("duckdb") is None, reason="duckdb is not a dependency of Serinus")
def test_the_duckdb_example_runs(names: dict[str, Any]) -> None:
    for block in blocks("py"):
        exec(compile(block, "docs/prediction-log.md", "exec"), names)
    assert names["rolled"].fetchall() == names["everything"].fetchall() == [(RELEASE, 3)]


def test_every_column_is_documented() -> None:
    table = PAGE.split("## What a row holds")[1].split("**Late answers.**")[0]
    assert set(COLUMNS) == set(re.findall(r"`([a-z_]+)`", table)) & set(COLUMNS)
