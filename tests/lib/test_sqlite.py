"""`lib.sqlite`: how connections are set up and transactions begin."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import IntegrityError

from serinus.lib import sqlite


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = sqlite.prepare(create_engine(f"sqlite:///{tmp_path}/kept.db"), "writes")
    with engine.execution_options(writes=True).begin() as connection:
        connection.exec_driver_sql("CREATE TABLE counts (id INTEGER PRIMARY KEY, number INTEGER)")
        connection.exec_driver_sql("CREATE TABLE parts (of_ INTEGER REFERENCES counts (id))")
        connection.exec_driver_sql("INSERT INTO counts VALUES (1, 0)")
    yield engine
    engine.dispose()


def test_a_commit_is_on_disk_and_a_reader_waits_for_no_writer(engine: Engine) -> None:
    with engine.begin() as connection:
        asked = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        found = [connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in asked]
    assert found == ["wal", 2, 1, 10_000]


def test_who_reads_first_and_writes_then_is_not_refused_for_what_another_has_written(engine: Engine) -> None:
    """As a deferred transaction would be, at once and whatever the busy timeout."""

    def add(times: int) -> None:
        for _ in range(times):
            with engine.execution_options(writes=True).begin() as connection:
                number = connection.exec_driver_sql("SELECT number FROM counts").scalar_one()
                connection.exec_driver_sql("UPDATE counts SET number = ?", (number + 1,))

    threads = [threading.Thread(target=add, args=(10,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with engine.begin() as connection:
        assert connection.exec_driver_sql("SELECT number FROM counts").scalar_one() == 40


def test_a_reader_sees_one_moment_while_another_writes(engine: Engine) -> None:
    with engine.begin() as reading:
        assert reading.exec_driver_sql("SELECT number FROM counts").scalar_one() == 0
        with engine.execution_options(writes=True).begin() as writing:
            writing.exec_driver_sql("UPDATE counts SET number = 7")
        assert reading.exec_driver_sql("SELECT number FROM counts").scalar_one() == 0
    with engine.begin() as reading:
        assert reading.exec_driver_sql("SELECT number FROM counts").scalar_one() == 7


def test_a_transaction_that_fails_leaves_nothing_and_references_must_exist(engine: Engine) -> None:
    def write() -> None:
        with engine.execution_options(writes=True).begin() as connection:
            connection.exec_driver_sql("UPDATE counts SET number = 7")
            connection.exec_driver_sql("INSERT INTO parts VALUES (99)")

    with pytest.raises(IntegrityError):
        write()
    with engine.begin() as connection:
        assert connection.exec_driver_sql("SELECT number FROM counts").scalar_one() == 0
