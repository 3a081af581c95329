"""When an answer of a shorter way is wrong, and who is to blame. Values alone."""

from __future__ import annotations

import math

import pytest

from serinus import gates
from serinus.core.predictions import AnsweredRequest, OwnAnswer
from serinus.gates import Verdict


def own(*scores: float | None, datatype: str = "FP64") -> OwnAnswer:
    return OwnAnswer(list(scores), datatype)


@pytest.mark.parametrize(
    ("way", "datatype", "served", "score", "differs"),
    [
        ("onnx", "FP64", 0.5, 0.5, False),
        ("onnx", "FP64", 0.5 + 9e-7, 0.5, False),
        ("onnx", "FP64", 0.5 + 2e-6, 0.5, True),
        ("onnx", "FP32", 1e9 + 500, 1e9, False),
        ("onnx", "FP32", 1e9 + 2000, 1e9, True),
        ("onnx", "INT64", 1.0, 1.0, False),
        ("onnx", "INT64", 1.0 + 1e-9, 1.0, True),
        ("matrix", "FP64", 0.5 + 1e-12, 0.5, False),
        ("matrix", "FP64", 0.5 + 2e-9, 0.5, True),
        ("matrix", "FP32", 0.5 + 5e-7, 0.5, False),
        ("direct", "BOOL", 1.0, 0.0, True),
        ("direct", "FP64", None, None, False),
        ("direct", "FP64", None, 0.5, True),
        ("direct", "FP64", 0.5, None, True),
        ("direct", "FP64", 0.5, math.nan, True),
    ],
)
def test_a_difference_begins_where_the_proofs_of_that_way_have_their_tolerance(
    way: str, datatype: str, served: float | None, score: float | None, differs: bool
) -> None:
    found = gates.deviation(way, [served], own(score, datatype=datatype), None)
    assert (found is not None) is differs


def test_a_decision_that_differs_is_a_difference_however_small() -> None:
    served, score = 0.5, 0.5 - 1e-12
    assert gates.deviation("onnx", [served], own(score), None) is None
    found = gates.deviation("onnx", [served], own(score), 0.5)
    assert found is not None
    assert (found.rows, found.flipped) == (1, 1)
    assert found.largest == pytest.approx(1e-12, rel=1e-3)


def test_it_says_how_many_rows_differ_and_by_how_much_at_most() -> None:
    found = gates.deviation("onnx", [0.1, 0.2, 0.9], own(0.1, 0.4, 0.2), 0.5)
    assert found == gates.Deviation(rows=2, flipped=1, largest=pytest.approx(0.7))


def test_an_answer_to_what_the_model_refuses_differs_in_every_row() -> None:
    assert gates.deviation("onnx", [0.1, 0.2], None, 0.5) == gates.Deviation(2, 0, math.inf)


def asked(*row: object) -> AnsweredRequest:
    return AnsweredRequest("fraud-1-abcdef", ("a", "b"), [list(row)], [0.5])


@pytest.mark.parametrize(
    ("way", "row", "again", "repeated", "verdict"),
    [
        ("onnx", (1.0, "x"), 0.8, True, Verdict.SHORTCUT),
        ("onnx", (1.0, "x"), 0.8, False, Verdict.SHORTCUT),
        ("onnx", (1.0, None), 0.8, False, Verdict.UNREPEATED),
        ("onnx", (1.0, None), 0.8, None, Verdict.UNREPEATED),
        ("onnx", (1.0, None), 0.8, True, Verdict.SHORTCUT),
        ("onnx", (1.0, [2.0, None]), 0.8, False, Verdict.UNREPEATED),
        ("onnx", (1.0, "caf\ufffd"), 0.8, False, Verdict.UNREPEATED),
        ("matrix", (1.0, "x"), 0.8, False, Verdict.UNREPEATED),
        ("matrix", (1.0, "x"), 0.8, True, Verdict.SHORTCUT),
        ("direct", (1.0, "x"), 0.8, None, Verdict.SHORTCUT),
        ("direct", (1.0, None), 0.8, None, Verdict.UNREPEATED),
        ("onnx", (1.0, "x"), 0.7, True, Verdict.NONDETERMINISTIC),
        ("onnx", (1.0, "x"), None, True, Verdict.NONDETERMINISTIC),
    ],
)
def test_who_is_to_blame_for_a_difference(
    way: str, row: tuple[object, ...], again: float | None, repeated: bool | None, verdict: Verdict
) -> None:
    second = None if again is None else own(again)
    assert gates.conclude(way, asked(*row), own(0.8), second, repeated, None) is verdict


def test_a_model_that_refuses_twice_is_of_one_mind() -> None:
    assert gates.conclude("onnx", asked(1.0, 2.0), None, None, True, None) is Verdict.SHORTCUT
