"""Where the table of the prediction log lies: from `serinus up` to those who write, read, measure and save it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from object_stores import BUCKET, ObjectStore

from serinus.core.errors import InvalidInput, Unavailable
from serinus.core.home import Home
from serinus.core.placement import Placement
from serinus.predictions.paths import table_path, writer_path
from serinus.predictions.table.delta import COLUMNS, PredictionTable
from serinus.predictions.table.places import place_at, size_of
from serinus.replay import LogSource
from serinus.targets.local.supervisor import settings as chosen
from serinus.targets.local.supervisor.settings import Options, Settings
from serinus.wiring.backup import restore, save
from serinus.wiring.local import build_disk, build_store, build_world, place_here
from serinus.wiring.predictions import is_log, prediction_rows, table_place
from serinus.wiring.processes import processes_of

PORTS = {"api": 1, "envoy": 2, "mlflow": 3}
PLACE = f"s3://{BUCKET}/wiring/predictions"


class NothingRuns:
    def observe(self) -> Mapping[str, Placement]:
        return {}


def _usage(home: Home, settings: Settings) -> Mapping[str, int]:
    """As `serinus disk` shows it."""
    local = build_world(home, settings, build_store(home), place_here(home, settings))
    world = replace(local, target=NothingRuns())  # type: ignore[arg-type]
    return build_disk(home, settings, world).usage().kinds


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    for directory in made.directories:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    made.secret.write_text("secret")
    return made


@pytest.mark.parametrize(
    "wrong",
    ["/some/where", "s3://", "s3://Bucket/x", "s3://bucket", "s3://bucket/../x", "s3://bucket/a?b", "https://b/x"],
)
def test_a_place_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidInput, match="s3://BUCKET/PREFIX") as told:
        Options(predictions=wrong).applied_to(Settings())
    assert "such as s3://fraud/serinus/predictions" in told.value.hint


def test_credentials_in_a_place_are_refused_and_not_told() -> None:
    with pytest.raises(InvalidInput) as told:
        Options(predictions="s3://key:hidden@bucket/x").applied_to(Settings())
    assert "hidden" not in str(told.value)


def test_the_place_is_kept_and_told_to_the_collector(home: Home) -> None:
    settings = Options(predictions=f"{PLACE}/").applied_to(Settings(PORTS))
    assert settings.predictions == PLACE
    assert Options().applied_to(settings) == settings
    chosen.save(home, settings)
    assert chosen.load(home) == settings
    [collector] = [one for one in processes_of(home, settings) if one.name == "collector"]
    assert collector.command[-2:] == ["--table", PLACE]
    assert table_place(home, settings).uri == PLACE
    assert table_place(home, Settings(PORTS)).directory == table_path(home)
    assert "--table" not in processes_of(home, Settings(PORTS))[1].command


@pytest.mark.parametrize("wrong", ["mysql://db/x", "postgresql://u:hidden@db/x", "postgresql://db/x?password=hidden"])
def test_a_database_with_a_password_or_of_another_kind_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidInput, match="--predictions-database") as told:
        Options(predictions_database=wrong).applied_to(Settings())
    assert "PGPASSWORD" in told.value.hint
    assert "hidden" not in str(told.value)


def test_the_database_is_kept_and_told_to_the_collector(home: Home) -> None:
    url = "postgresql://serinus@db.example/serinus"
    settings = Options(predictions_database=url).applied_to(Settings(PORTS))
    assert Options().applied_to(settings).predictions_database == url
    [collector] = [one for one in processes_of(home, settings) if one.name == "collector"]
    assert collector.command[-2:] == ["--database", url]


def test_a_log_is_known_by_its_address(home: Home) -> None:
    PredictionTable(place_at(str(table_path(home))))
    assert is_log(str(table_path(home)))
    assert is_log(PLACE)
    assert not is_log(str(home.path))


def test_the_disk_command_measures_the_bucket(object_store: ObjectStore, home: Home) -> None:
    settings = Settings(PORTS, predictions=PLACE)
    PredictionTable(place_at(PLACE), "w").append(
        pl.DataFrame(schema=dict(COLUMNS)).clear(1).with_columns(pl.lit("m").alias("model")), 1
    )
    kind = "prediction log in its bucket"
    assert _usage(home, settings)[kind] == size_of(place_at(PLACE)) > 0
    assert kind not in _usage(home, Settings(PORTS))


def test_a_bucket_that_is_away_is_left_out_of_what_is_measured(
    object_store: ObjectStore, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serinus.predictions.table.buckets._CLIENT", {"max_retries": "0"})
    object_store.door.shut = True
    settings = Settings(PORTS, predictions=PLACE)
    usage = _usage(home, settings)
    assert "prediction log in its bucket" not in usage
    assert "prediction log" in usage


def test_a_backup_has_the_name_of_the_writer_and_no_table_of_a_bucket(
    object_store: ObjectStore, home: Home, tmp_path: Path
) -> None:
    chosen.save(home, Settings(PORTS, predictions=PLACE))
    writer_path(home).write_text("0123456789abcdef")
    PredictionTable(place_at(str(table_path(home))))  # of the time before the bucket
    save(home, tmp_path / "backup")
    restored = Home(tmp_path / "restored")
    restore(tmp_path / "backup", restored)
    assert writer_path(restored).read_text() == "0123456789abcdef"
    assert not table_path(restored).exists()
    found = chosen.load(restored)
    assert found is not None
    assert found.predictions == PLACE


def test_a_table_in_a_bucket_is_replayed_by_its_address(object_store: ObjectStore, home: Home) -> None:
    where = f"s3://{BUCKET}/none"
    with (
        pytest.raises(Unavailable, match=f"The prediction log at {where} cannot be read: there is none"),
        prediction_rows(where) as log,
    ):
        list(LogSource(log, "card-fraud").chunks())
