"""The comparison notices what it is there for: a digit, a type, a row, a status."""

from __future__ import annotations

import math
from typing import Any

import pytest

from fidelity.compare import compare, differing, must_refuse
from fidelity.oracle import Answer, Verdict
from fidelity.served import Reply, Tensor

EXACT, LOOSE = 0.0, 1e-6


def answered(value: Any, **dtypes: str) -> Answer:
    return Answer(Verdict.ANSWERED, "", value, {name or None: dtype for name, dtype in dtypes.items()} or None)


def predictions(value: Any) -> Reply:
    return Reply(200, "", {"predictions": value})


def found(want: Answer, got: Reply, tolerance: float = EXACT, rows: int = 1, **described: Any) -> str | None:
    difference = compare(want, got, tolerance=tolerance, described=described, rows=rows)
    return None if difference is None else difference.kind


@pytest.mark.parametrize(
    "value", [[0.1], [[0.1, 2]], [{"a": "x", "b": None}], {"a": [True]}, ["x"], [[1], [1, 2]], [-0.0], [2**70]]
)
def test_the_same_answer_is_no_difference(value: Any) -> None:
    assert found(answered(value), predictions(value)) is None


@pytest.mark.parametrize(
    ("want", "got"),
    [
        ([0.1], [math.nextafter(0.1, 1)]),
        ([5e-324], [0.0]),
        ([0.0], [-0.0]),
        ([1], [1.0]),
        ([1], [True]),
        (["1"], [1]),
        ([9007199254740993], [9007199254740992]),
        ([0.1, 0.2], [0.1]),
        ([0.1], 0.1),
        ([[0.1]], [0.1]),
        ([{"a": 1}], [{"b": 1}]),
        ([{"a": 1}], [{"a": 1, "b": 2}]),
        ([None], [0.0]),
        ([0.5], [None]),
        (["x"], ["x "]),
    ],
)
def test_any_other_answer_is_a_difference(want: Any, got: Any) -> None:
    assert found(answered(want), predictions(got)) == "another answer"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_json_has_no_number_for_is_null(value: float) -> None:
    assert found(answered([value]), predictions([None])) is None


def test_a_compiled_answer_may_differ_within_the_tolerance_but_not_across_a_half() -> None:
    assert found(answered([0.7]), predictions([0.7 + 5e-7]), LOOSE) is None
    assert found(answered([0.7]), predictions([0.7 + 5e-6]), LOOSE) == "another answer"
    assert found(answered([7e9]), predictions([7e9 + 5e3]), LOOSE) is None
    assert found(answered([0.5]), predictions([0.5 - 1e-9]), LOOSE) == "another answer"
    assert found(answered([1]), predictions([2]), LOOSE) == "another answer"
    assert found(answered([0.7]), predictions([0.7 + 5e-7]), EXACT) == "another answer"


@pytest.mark.parametrize(
    ("verdict", "status", "kind"),
    [
        (Verdict.ANSWERED, 400, "refused"),
        (Verdict.ANSWERED, 500, "failed"),
        (Verdict.REFUSED, 200, "answered what is refused"),
        (Verdict.REFUSED, 500, "failed"),
        (Verdict.REFUSED, 400, None),
        (Verdict.REFUSED, 415, None),
        (Verdict.RAISED, 200, "answered what is raised"),
        (Verdict.RAISED, 500, None),
        (Verdict.RAISED, 400, None),
        (Verdict.UNWRITABLE, 500, None),
        (Verdict.UNWRITABLE, 200, None),
    ],
)
def test_who_answers_and_who_refuses(verdict: Verdict, status: int, kind: str | None) -> None:
    got = predictions([1]) if status == 200 else Reply(status)
    assert found(Answer(verdict, "", [1]), got) == kind


def test_what_the_application_raises_is_a_difference_whatever_mlflow_does() -> None:
    for verdict in Verdict:
        assert found(Answer(verdict), Reply(500, crash="Traceback")) == "crash"
    assert must_refuse(Reply(500, crash="Traceback")) is not None


def test_what_is_no_request_is_refused_with_4xx() -> None:
    assert must_refuse(Reply(400)) is None
    assert must_refuse(Reply(200)) is not None
    assert must_refuse(Reply(500)) is not None


def outputs(*tensors: Tensor) -> Reply:
    return Reply(200, "", None, list(tensors))


def score(data: list[Any], datatype: str = "FP64", shape: list[int] | None = None, name: str = "score") -> Tensor:
    return Tensor(name, datatype, shape or [len(data)], data)


def test_tensors_hold_the_values_of_the_json_answer() -> None:
    assert found(answered([0.1, 0.2]), outputs(score([0.1, 0.2])), rows=2) is None
    assert found(answered([[0.1, 0.2]]), outputs(score([0.1, 0.2], shape=[1, 2]))) is None
    assert (
        found(answered([{"score": 0.1, "kind": "x"}]), outputs(score([0.1]), score(["x"], "BYTES", name="kind")))
        is None
    )
    assert found(answered({"score": [1]}), outputs(score([1], "INT64"))) is None
    assert found(answered([math.nan]), outputs(score([None]))) is None
    assert found(answered(["2024-01-02T00:00:00"]), outputs(score(["2024-01-02T00:00:00.000000000"], "BYTES"))) is None
    nanoseconds = 1704153605804327000
    assert found(answered([nanoseconds]), outputs(score(["2024-01-02T00:00:05.804327"], "BYTES"))) is None
    assert found(answered([4327000000000]), outputs(score(["P0DT1H12M7S"], "BYTES"))) is None
    assert found(answered([nanoseconds]), outputs(score(["2024-01-02T00:00:05.804328"], "BYTES"))) == "another answer"
    assert found(answered(["/+8=\n"]), outputs(score([b"\xff\xef".decode("utf-8", "replace")], "BYTES"))) is None
    assert found(answered(["/+8=\n"]), outputs(score(["/+8="], "BYTES"))) is None
    assert found(answered(["/+8=\n"]), outputs(score(["/+9="], "BYTES"))) == "another answer"


@pytest.mark.parametrize(
    ("got", "kind"),
    [
        (score([math.nextafter(0.1, 1)]), "another answer"),
        (score([0.1], shape=[1, 1]), "another shape"),
        (score([0.1, 0.1]), "another shape"),
        (score([0.1], "INT64"), "no value of the datatype"),
        (score([True]), "no value of the datatype"),
        (score([0.1], "FP32"), "another datatype"),
    ],
)
def test_a_tensor_of_another_value_shape_or_datatype_is_a_difference(got: Tensor, kind: str) -> None:
    want = Answer(Verdict.ANSWERED, "", [0.1], {None: "float64"})
    assert found(want, outputs(got)) == kind


def test_the_metadata_are_kept_to() -> None:
    metadata = [{"name": "score", "datatype": "FP64"}]
    assert found(answered([0.1]), outputs(score([0.1])), outputs=metadata) is None
    assert found(answered([1]), outputs(score([1], "INT64")), outputs=metadata) == "not as the metadata say"
    assert found(answered([0.1]), outputs(score([0.1], name="other")), outputs=metadata) == "not in the metadata"


def test_outputs_are_those_of_the_answer() -> None:
    both = answered([{"score": 0.1, "kind": "x"}])
    assert found(both, outputs(score([0.1]))) == "other outputs"
    assert found(both, outputs(score([0.1]), score([0.1]))) == "an output twice"
    assert found(answered([0.1]), outputs(score([0.1, 0.1])), rows=2) == "tensors for no rows"


def test_the_place_of_a_difference_is_told() -> None:
    assert differing([{"a": [1, 2]}], [{"a": [1, 3]}], EXACT) == "[0].a[1]: 2, not 3"
