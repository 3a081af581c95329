"""Requests drawn from segments: only such as the model has answered and the record holds, at a bounded price."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from serinus.core.predictions import AnsweredRequest
from serinus.predictions.queries import sampling
from serinus.predictions.queries.sampling import MOST_ROWS, sample
from serinus.predictions.segments.files import Position, SegmentWriter, encode
from serinus.predictions.segments.sources import batch_meta, router_meta
from serinus.predictions.segments.wire import BatchHead, Hello

RELEASE, OTHER = "card-fraud-7-3f9a2c", "card-fraud-8-3f9a2c"
START = Position(0, 0)


class Log:
    def __init__(self, directory: Path, body: Any) -> None:
        self.directory, self._body = directory, body
        self.writer = SegmentWriter(directory, 1)
        self._seq = 0

    def write(self, *records: dict[str, Any], release: str = RELEASE) -> None:
        self._seq += 1
        body = self._body(records)
        meta = batch_meta(Hello(release, "card-fraud", "00000000"), BatchHead(self._seq, len(body), 0))
        self.writer.append([encode({"at": 1e9, **meta}, body)])

    def drawn(self, *releases: str, after: Position = START, most: int = 1_000, seed: int = 1) -> Any:
        return sample(self.directory, releases or (RELEASE,), after, most, random.Random(seed))


@pytest.fixture
def log(tmp_path: Path, body: Any) -> Log:
    return Log(tmp_path, body)


def test_a_request_comes_with_its_columns_its_rows_and_its_scores_to_the_last_digit(log: Log, record: Any) -> None:
    rows, scores = [[0.1 + 0.2, 9007199254740993], [None, "é"]], [0.1 + 0.2, None]
    log.write(record(inputs=rows, rows=2, scores=scores, answers=None))
    _, found = log.drawn()
    assert found == [AnsweredRequest(RELEASE, ("amount", "hour"), rows, scores)]


@pytest.mark.parametrize(
    "changes",
    [
        {"status": 500, "scores": None, "error": "exception"},
        {"status": 400, "scores": None, "inputs": None},
        {"fallback": True, "scores": None, "answers": [0.0], "error": "timeout"},
        {"inputs": None},
        {"inputs": [{"amount": 1.0, "hour": 2}]},
        {"inputs": [[1.0]]},
        {"rows": 2},
        {"rows": MOST_ROWS + 1, "inputs": [[1.0, 2]] * (MOST_ROWS + 1), "scores": [0.5] * (MOST_ROWS + 1)},
    ],
)
def test_what_the_model_did_not_answer_or_the_record_does_not_hold_is_passed_over(
    log: Log, record: Any, changes: dict[str, Any]
) -> None:
    log.write(record(**changes))
    assert log.drawn()[1] == []


def test_an_answer_from_the_cache_is_an_answer(log: Log, record: Any) -> None:
    log.write(record(cached=True))
    assert len(log.drawn()[1]) == 1


def test_only_the_releases_that_are_asked_for_are_read_and_each_once(log: Log, record: Any) -> None:
    log.write(record())
    log.write(record(), release=OTHER)
    log.writer.append([encode({"at": 1e9, **router_meta(1, 0)}, b"")])
    mark, found = log.drawn()
    assert [one.release for one in found] == [RELEASE]
    assert mark == log.writer.durable
    assert log.drawn(after=mark) == (mark, [])
    log.writer.seal()
    log.write(record(), release=OTHER)
    mark, found = log.drawn(RELEASE, OTHER, after=mark)
    assert [one.release for one in found] == [OTHER]


def test_at_most_so_many_are_drawn_of_each_release_and_not_always_the_same(log: Log, record: Any) -> None:
    log.write(*(record(inputs=[[float(n), 1]]) for n in range(200)))
    drawn = [tuple(sorted(one.rows[0][0] for one in log.drawn(most=20, seed=seed)[1])) for seed in range(5)]
    assert {len(one) for one in drawn} == {20}
    assert len(set(drawn)) == 5


def test_each_batch_has_its_chance(log: Log, record: Any) -> None:
    for number in range(10):
        log.write(record(inputs=[[float(number), 1]]))
    drawn = [[one.rows[0][0] for one in log.drawn(seed=seed)[1]] for seed in range(100)]
    assert {len(one) for one in drawn} == {4}
    assert {number for one in drawn for number in one} == {float(number) for number in range(10)}


def test_what_is_read_is_bounded(log: Log, record: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(6):
        log.write(record(inputs=[[float(number), 1]]))
        log.writer.seal()
    assert {one.rows[0][0] for one in log.drawn()[1]} == {3.0, 4.0, 5.0}
    monkeypatch.setattr(sampling, "_LARGEST_BODY", 10)
    assert log.drawn()[1] == []


def test_a_log_without_segments_has_nothing_to_draw(tmp_path: Path) -> None:
    assert sample(tmp_path, (RELEASE,), START, 10, random.Random(1)) == (START, [])
    assert json.dumps(START) == "[0, 0]"
