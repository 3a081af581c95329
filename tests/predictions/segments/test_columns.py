"""What a batch may hold, and what becomes of what callers and models put into it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from serinus.predictions.segments.columns import Columns, parse_body
from serinus.predictions.segments.parsed import Parsed
from serinus.predictions.segments.wire import MAX_TEXT, Hello, Malformed

HELLO = Hello("card-fraud-7-3f9a2c", "card-fraud", "00000000")


@pytest.fixture
def parse(record, body) -> Any:
    """One record's way, with changes to the record and then to the body."""

    def run(said: dict[str, Any] | None = None, **changes: Any) -> Columns:
        whole = {**json.loads(body([record(**changes)])), **(said or {})}
        return parse_body(json.dumps(whole).encode(), HELLO)

    return run


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"t": 7}, "t is not a list"),
        ({"t": [float("nan")]}, "t holds another type than float and int"),
        ({"t": [-1.0]}, "t is not a number from 0 to 4e\\+09"),
        ({"ms": [1e10]}, "ms is not a number from 0 to 1e\\+09"),
        ({"ms": []}, "ms is not a list as long as t"),
        ({"id": [None]}, "id holds another type than str"),
        ({"entity": [4111]}, "entity holds another type than NoneType and str"),
        ({"status": [99]}, "status is not a whole number from 100 to 599"),
        ({"status": [200.0]}, "status holds another type than int"),
        ({"rows": [-1]}, "rows is not a whole number"),
        ({"fallback": ["no"]}, "fallback holds another type"),
        ({"scores": [0.5]}, "scores holds another type than NoneType and list"),
        ({"headers": [["amount", 7]]}, "headers is not a list of lists of names"),
        ({"columns": [1]}, "columns holds an index that headers does not have"),
        ({"columns": [-1]}, "columns holds an index that headers does not have"),
        ({"inputs": [[[1.0]]]}, "inputs holds another type"),
        ({"cached": None}, "cached is not a list as long as t"),
    ],
)
def test_a_batch_that_is_not_as_it_should_be_is_refused_by_the_name_of_the_column(parse, said, problem: str) -> None:
    with pytest.raises(Malformed, match=problem) as refused:
        parse(said)
    assert "4111" not in str(refused.value)


@pytest.mark.parametrize("body", [b"[1]", b"7", b"{", b"{}", b"\xff\xff", b"[" * 100_000])
def test_what_is_no_object_of_columns_is_refused(body: bytes) -> None:
    with pytest.raises(Malformed):
        parse_body(body, HELLO)


def test_a_batch_without_a_body_has_no_records() -> None:
    assert len(parse_body(b"", HELLO)) == 0


def test_what_callers_and_models_choose_is_mended_and_never_refused(parse) -> None:
    found = parse(
        id="x" * 5000,
        entity="half a pair \ud800" + "ü" * 5000,
        scores=[float("nan"), float("inf"), 2**70, 10**400, "high", True, None],
        inputs=[["\udfff"]],
        columns=["naïve \ud800"],
    )
    assert found.request_id == ["x" * MAX_TEXT]
    assert found.entity[0].startswith("half a pair ?ü")
    assert len(found.entity[0]) == MAX_TEXT
    assert found.scores == [[None, None, float(2**70), None, None, 1.0, None]]
    assert found.header == ['["naïve ?"]']
    assert json.loads(found.inputs[0]) == [["\udfff"]]
    "".join([*found.entity, *found.header, *found.inputs]).encode()  # as the table needs it


def test_inputs_with_half_a_surrogate_pair_of_their_own_can_still_be_stored(parse) -> None:
    assert parse({"inputs": ['[["\ud800"]]']}).inputs == ['[["?"]]']


def test_an_empty_entity_and_an_empty_error_are_none(parse) -> None:
    found = parse(entity="", error="", role=None, split=None)
    assert (found.entity, found.error, found.role, found.split) == ([None], [None], [""], [""])


@pytest.mark.parametrize(
    ("status", "answers", "expected"), [(200, None, [0.25]), (200, [1.0], [1.0]), (504, None, None), (200, [], [])]
)
def test_absent_answers_are_the_scores_for_whoever_was_answered(parse, status, answers, expected) -> None:
    assert parse(status=status, answers=answers).answers == [expected]


def test_whole_numbers_are_scores_and_times_too(parse) -> None:
    found = parse(t=1_700_000_000, ms=3, scores=[1])
    assert (found.time, found.ms, found.scores) == ([1_700_000_000], [3], [[1.0]])


def test_parsed_batches_are_kept_once_without_inputs_and_up_to_a_bound(parse) -> None:
    kept = Parsed(most_bytes=100)
    kept.put(("r", "b", 1), parse(), 60)
    kept.put(("r", "b", 2), parse(), 60)
    assert kept.take(("r", "b", 2)) is None
    taken = kept.take(("r", "b", 1))
    assert (taken.inputs, taken.header, taken.request_id) == ([None], [None], ["request-0"])
    assert kept.take(("r", "b", 1)) is None
    kept.put(("r", "b", 3), parse(), 100)
    assert kept.take(("r", "b", 3)) is not None
