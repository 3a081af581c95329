"""What an import of outcomes costs: reading the file, taking its parts in, attaching them, and the figures afterwards.

The work of `serinus outcomes import` and of the API's routes, in one process and one after the other, without HTTP
between them. The log is a Delta table of as many predictions, over a month.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from bench import SCRATCH
from bench.results import Results
from serinus.cli.verbs.outcomes import bodies
from serinus.core.home import Home
from serinus.outcomes import read_parts
from serinus.predictions import DeltaPredictionLog
from serinus.predictions.paths import table_path
from serinus.predictions.table.delta import COLUMNS, PredictionTable
from serinus.predictions.table.places import Directory
from serinus.resources import ImportPart

OUTCOMES = 1_000_000
DAYS = 30
_START = datetime(2026, 3, 1, tzinfo=UTC)
_MODEL, _RELEASE = "card-fraud", "card-fraud-7-3f9a2c"
_IMPORT = "0" * 32


def outcomes(results: Results, count: int = OUTCOMES) -> None:
    """Adds the fact `outcomes` to the results."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="outcomes-", dir=SCRATCH))
    try:
        found = {"outcomes": count, "predictions": count, **_measured(directory, count)}
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    steps = ", ".join(f"{name} {found[f'{name}_cpu_s']:.1f} s" for name in ("read", "receive", "attach", "figures"))
    print(f"  {count:,} outcomes: {found['import_s']:.1f} s; processor time: {steps}", flush=True)
    results.facts["outcomes"] = found


def _measured(directory: Path, count: int) -> dict[str, Any]:
    home = Home(directory / "h")
    for made in home.directories:
        made.mkdir(mode=0o700, parents=True, exist_ok=True)
    table = PredictionTable(Directory(table_path(home)))
    for day in range(DAYS):
        numbers = range(day * count // DAYS, (day + 1) * count // DAYS)
        table.append(_predictions(numbers, _START + timedelta(days=day)), day + 1)
    file = directory / "labels.csv"
    pl.DataFrame(
        {"prediction_id": [f"{n:032x}" for n in range(count)], "label": [n % 2 for n in range(count)]}
    ).write_csv(file)
    log = DeltaPredictionLog(home)
    taken: dict[str, Any] = {}
    began = time.monotonic()
    sent = _timed(taken, "read", lambda: [body for part in read_parts(file, _START) for body in bodies(part)])
    _timed(taken, "receive", lambda: _receive(log, sent))
    imported = _timed(taken, "attach", lambda: log.attach(_IMPORT))
    taken["import_s"] = round(time.monotonic() - began, 1)
    days = _timed(taken, "figures", lambda: log.outcome_days({_RELEASE: 0.5}))
    log.close()
    labelled = sum(one.labelled for one in days)
    if (imported.changed, imported.unknown, imported.ambiguous, labelled) != (count, 0, 0, count):
        raise RuntimeError(f"the outcomes were not attached as they should be: {imported}, {labelled} labelled")
    return taken


def _receive(log: DeltaPredictionLog, sent: list[str]) -> None:
    for number, body in enumerate(sent):
        log.stage(_IMPORT, number, ImportPart.model_validate_json(body).labels(_START, "bench"))


def _timed(taken: dict[str, Any], name: str, act: Callable[[], Any]) -> Any:
    began = time.process_time()
    found = act()
    taken[f"{name}_cpu_s"] = round(time.process_time() - began, 2)
    return found


def _predictions(numbers: range, day: datetime) -> pl.DataFrame:
    """As many answers of a champion, evenly over the day."""
    times = [day + timedelta(days=place / len(numbers)) for place in range(len(numbers))]
    frame = pl.DataFrame(
        {
            "time": pl.Series(times, dtype=COLUMNS["time"]),
            "request_id": [f"{n:x}" for n in numbers],
            "prediction_id": [f"{n:032x}" for n in numbers],
            "scores": [[n % 1000 / 1000] for n in numbers],
            "model": _MODEL,
            "release": _RELEASE,
            "role": "champion",
            "split": "s1",
            "status": 200,
            "rows": 1,
            "latency_ms": 2.0,
            "fallback": False,
        }
    ).with_columns(pl.col("time").dt.date().alias("day"))
    lacking = [pl.lit(None, kind).alias(name) for name, kind in COLUMNS.items() if name not in frame.columns]
    return frame.with_columns(lacking).select(*COLUMNS).cast(pl.Schema(COLUMNS))
