"""Counts and outcomes in a PostgreSQL database, which a collector and control planes on other machines share."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import make_url, select, update
from waiting import wait_until

from serinus.backends.sql import SqlStore
from serinus.core.errors import Refused, Unavailable
from serinus.core.evidence import ArmCounts, Watch
from serinus.core.home import Home
from serinus.core.predictions import Label
from serinus.predictions import DeltaPredictionLog
from serinus.predictions.counts import schema as db
from serinus.predictions.counts.counting import Tally
from serinus.predictions.counts.ledger import Advance, Ledger
from serinus.predictions.counts.store import CountStore
from serinus.predictions.database import Database
from serinus.predictions.paths import segments_path, table_path
from serinus.predictions.segments.files import Position, numbers
from serinus.predictions.status import STALE_SECONDS, STOPPED, is_waiting, read_status, status_path

pytestmark = pytest.mark.long

RELEASE = "card-fraud-7-3f9a2c"
NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def database(postgres_database: str) -> Iterator[Database]:
    with closing(Database(postgres_database, db.metadata)) as opened:
        yield opened


@pytest.fixture
def other_machine(postgres_database: str, tmp_path: Path) -> Iterator[DeltaPredictionLog]:
    """A control plane that has none of the collector's files."""
    with closing(DeltaPredictionLog(Home(tmp_path / "other"), database=postgres_database)) as log:
        yield log


def age(database: Database, seconds: float) -> None:
    """As if the last report had come so much earlier."""
    with database.write() as connection:
        connection.execute(update(db.collector).values(at=db.collector.c.at - seconds))


def requests(log: DeltaPredictionLog) -> int:
    """Those that were counted under the split `s1`."""
    return (log.counts("s1") or {}).get(RELEASE, ArmCounts(RELEASE)).requests


def test_another_machine_reads_counts_and_status_while_the_collector_reports(
    postgres_database: str,
    other_machine: DeltaPredictionLog,
    database: Database,
    home: Home,
    collector_of: Callable[..., Any],
    worker: Callable[..., Any],
    record: Any,
) -> None:
    other_machine.watch(Watch("s1", "r1", "card-fraud", {}, 9.0))
    assert other_machine.counts("s1") is None  # No collector has reported.
    collector = collector_of("--database", postgres_database)
    sender = worker()
    sender.submit([record(number) for number in range(5)])
    sender.settle()
    wait_until(lambda: requests(other_machine) == 5)
    assert other_machine.warnings() == []
    collector.kill()
    age(database, STALE_SECONDS + 1)
    assert other_machine.counts("s1") is None
    collector.start("--database", postgres_database)  # The same disk takes up its work at once.
    sender.submit([record(9)])
    sender.settle()
    wait_until(lambda: requests(other_machine) == 6)
    assert not (home.predictions / "counts.db").exists()


def test_while_the_database_is_away_records_are_kept_and_counted_afterwards(
    postgres_server: str,
    postgres_database: str,
    other_machine: DeltaPredictionLog,
    collector_of: Callable[..., Any],
    worker: Callable[..., Any],
    record: Any,
) -> None:
    other_machine.watch(Watch("s1", "r1", "card-fraud", {}, 9.0))
    collector = collector_of("--database", postgres_database)
    sender = worker()
    sender.submit([record(1)])
    wait_until(lambda: requests(other_machine) == 1)
    with away(postgres_server, postgres_database):
        sender.submit([record(2)])
        sender.settle()  # It is acknowledged as always.
        told = "counts: The PostgreSQL database of the prediction log does not answer."
        wait_until(lambda: any(line.startswith(told) for line in collector.status()["warnings"]))
        assert other_machine.counts("s1") in (None, {})
        assert "does not answer" in other_machine.warnings()[0]
    wait_until(lambda: requests(other_machine) == 2)
    wait_until(lambda: not collector.status()["warnings"])
    assert other_machine.totals()[RELEASE].requests == 2


@contextmanager
def away(server: str, database: str) -> Iterator[None]:
    """The database refuses everybody, and ends all sessions."""
    import psycopg

    name = make_url(database).database
    with psycopg.connect(server.format("postgres"), autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")  # type: ignore[arg-type]
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        yield
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")  # type: ignore[arg-type]


def test_one_collector_counts_and_another_waits_until_it_is_silent(database: Database) -> None:
    first, second = Ledger(database, writer="first"), Ledger(database, writer="second")
    first.claim()
    with pytest.raises(Refused, match=r"Another collector counts into this database. It reported 0 s ago"):
        second.claim()
    first.report({"state": "running"})
    with pytest.raises(Refused, match="Another collector counts"):
        second.claim()
    age(database, STALE_SECONDS + 1)
    second.claim()
    for write in (lambda: first.report({}), lambda: first.commit(Tally(), Advance(Position(7, 7), 0.0))):
        with pytest.raises(Refused, match="Another collector counts into this database now"):
            write()
    assert first.recovered().position == Position(0, 0)


def test_a_second_collector_waits_and_takes_over_with_everything_that_was_counted(
    postgres_database: str,
    other_machine: DeltaPredictionLog,
    collector_of: Callable[..., Any],
    worker: Callable[..., Any],
    record: Any,
    tmp_path: Path,
) -> None:
    other_machine.watch(Watch("s1", "r1", "card-fraud", {}, 9.0))
    first = collector_of("--database", postgres_database)
    sender = worker()
    sender.submit([record(1), record(2)])
    sender.settle()
    wait_until(lambda: requests(other_machine) == 2)
    second = beside(first.home, tmp_path / "second")
    with running(second, postgres_database) as process:
        wait_until(lambda: is_waiting(second))
        [told] = (read_status(second) or {})["warnings"]
        assert "Another collector counts into this database" in told
        assert not second.log_socket.exists()
        assert first.stop() == 0
        wait_until(second.log_socket.exists)
        later = worker(at=second)
        later.submit([record(3)])
        later.settle()
        wait_until(lambda: requests(other_machine) == 3)
    assert process.returncode == 0


def test_a_collector_that_waits_writes_to_the_table_what_was_counted_on_its_disk(
    postgres_database: str,
    other_machine: DeltaPredictionLog,
    collector_of: Callable[..., Any],
    worker: Callable[..., Any],
    record: Any,
    database: Database,
    home: Home,
    tmp_path: Path,
) -> None:
    """Otherwise its records would be missing for as long as another one counts."""
    other_machine.watch(Watch("s1", "r1", "card-fraud", {}, 9.0))
    first = collector_of("--database", postgres_database, "--roll-seconds", "1000")
    sender = worker()
    sender.submit([record(1), record(2)])
    sender.settle()
    wait_until(lambda: requests(other_machine) == 2)
    first.kill()
    age(database, STALE_SECONDS + 1)
    second = beside(home, tmp_path / "second")
    with running(second, postgres_database), running(home, postgres_database) as again:
        wait_until(lambda: not numbers(segments_path(home)), 30)
        assert is_waiting(home)
        assert sorted(pl.read_delta(str(table_path(home)))["request_id"]) == ["request-1", "request-2"]
    assert again.returncode == 0


def beside(home: Home, path: Path) -> Home:
    """A home of the same installation, on another disk."""
    made = Home(path)
    for directory in made.directories:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    made.secret.write_text(home.secret.read_text())
    return made


@contextmanager
def running(home: Home, database: str) -> Iterator[subprocess.Popen[bytes]]:
    """A collector of the home, once it has written its status."""
    command = [sys.executable, "-m", "serinus.predictions", "--home", str(home.path), "--database", database]
    status_path(home).unlink(missing_ok=True)
    with subprocess.Popen(command) as process:
        try:
            wait_until(status_path(home).exists, 30)
            yield process
        finally:
            process.terminate()
            process.wait(20)


def test_a_collector_that_has_ended_in_order_is_not_waited_for(database: Database) -> None:
    first, second = Ledger(database, writer="first"), Ledger(database, writer="second")
    first.claim()
    first.report({"state": STOPPED})
    second.claim()


def test_each_disk_has_a_position_of_its_own(database: Database) -> None:
    first, second = Ledger(database, writer="first"), Ledger(database, writer="second")
    first.claim()
    first.commit(Tally(), Advance(Position(57, 100), 0.0, seqs={(RELEASE, "boot"): 3}))
    first.report({"state": STOPPED})
    second.claim()
    found = second.recovered()
    assert found.position == Position(0, 0)
    assert found.seqs == {(RELEASE, "boot"): 3}  # Batches are known, whoever has taken them.
    second.commit(Tally(), Advance(Position(1, 10), 0.0))
    assert first.recovered().position == Position(57, 100)


def test_outcomes_are_kept_once_by_whichever_machine(other_machine: DeltaPredictionLog, postgres_database: str) -> None:
    with closing(DeltaPredictionLog(Home(Path("/nowhere")), database=postgres_database)) as first:
        assert first.outcomes_mark() == other_machine.outcomes_mark() == ""
        assert first.label([Label("request-1", 1.0, NOW)]) == 1
        mark = other_machine.outcomes_mark()
        assert mark
        assert other_machine.label([Label("request-1", 1.0, NOW), Label("request-2", 0.0, NOW)]) == 1
        assert first.outcomes_mark() not in ("", mark)
        assert first.outcomes().height == 2
        assert first.unmatched() == 2


def test_the_tables_have_a_schema_of_their_own(database: Database, postgres_database: str) -> None:
    with database.read() as connection:
        names = connection.exec_driver_sql("SELECT DISTINCT schemaname FROM pg_tables WHERE tablename = 'counts'")
        assert names.scalars().all() == ["serinus_predictions"]
        assert connection.scalar(select(db.counts.c.value)) is None
    assert CountStore(database).report() is None


def test_a_database_that_is_away_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="The PostgreSQL database of the prediction log does not answer") as told:
        DeltaPredictionLog(Home(tmp_path), database="postgresql://serinus:hidden@127.0.0.1:9/serinus")
    assert "hidden" not in str(told.value)


def test_the_store_may_be_in_the_same_database(
    postgres_database: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither waits for the other, although sessions and writers of both hold locks."""
    monkeypatch.setattr("serinus.lib.postgres.LOCK_TIMEOUT_MS", 500)
    with closing(SqlStore(postgres_database)) as store:
        assert store.next_number("card-fraud") == 1
        with database.write():
            assert store.next_number("card-fraud") == 2


def test_a_lock_that_another_process_holds_is_named(
    postgres_database: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serinus.lib.postgres.LOCK_TIMEOUT_MS", 200)
    with database.write(), pytest.raises(Unavailable, match=r"Another process has written .* for longer than"):
        Database(postgres_database, db.metadata)
