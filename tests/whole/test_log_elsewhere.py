"""A canary whose counts are in PostgreSQL and whose requests are in a bucket, as another machine sees them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest
from object_stores import BUCKET, SECRET, ObjectStore
from whole_load import wait_until
from whole_models import trained
from whole_serinus import running, written

from serinus.core.home import Home
from serinus.predictions import DeltaPredictionLog
from serinus.predictions.paths import table_path
from serinus.predictions.table.places import place_at
from serinus.targets.local.supervisor import Options, down, up

MODEL = "elsewhere"
PLACE = f"s3://{BUCKET}/whole/predictions"
RATE = 300.0


@pytest.fixture
def home() -> Iterator[Home]:
    directory = Path(tempfile.mkdtemp(prefix="serinus-log-", dir="/tmp"))
    made = Home(directory / "home")
    yield made
    down(made)
    shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_canary_is_judged_and_every_request_is_there_once(
    home: Home, object_store: ObjectStore, postgres_database: str, tmp_path: Path
) -> None:
    addresses = up(home, Options(predictions=PLACE, predictions_database=postgres_database))
    other = DeltaPredictionLog(Home(tmp_path / "other"), place=place_at(PLACE), database=postgres_database)
    with closing(other), running(home, addresses) as serinus:
        first = serinus.deployed(f"{MODEL}@{trained(MODEL, 1.0)}")
        assert first["status"]["phase"] == "promoted", first["status"]
        with serinus.load(MODEL, RATE) as load:
            second = serinus.deployed(f"{MODEL}@{trained(MODEL, 0.1)}")
        assert second["status"]["phase"] == "promoted", second["status"]
        assert load.in_words() == {}
        for step in second["steps"]:
            counts = other.counts(step["split"])
            assert counts is not None
            assert set(counts) == {first["candidate"]["id"], second["candidate"]["id"]}

        def seen() -> list[str]:
            mine = pl.col("request_id").str.starts_with(f"{load.prefix}-")
            return sorted(other.read(MODEL).filter(mine).collect()["request_id"])

        wait_until(lambda: len(seen()) >= len(load.answered), 120, "the table has every request")
        assert seen() == sorted(load.answered)
        usage = serinus.api.get("/v1/disk").raise_for_status().json()
        assert usage["kinds"]["prediction log in its bucket"] > 0
        status = serinus.api.get("/v1/status").raise_for_status().json()
        assert not [line for line in status["warnings"] if "prediction log" in line]
    assert not table_path(home).exists()
    assert SECRET not in home.settings.read_text()
    assert not written(home, SECRET)
