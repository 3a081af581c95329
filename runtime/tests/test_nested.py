"""Columns of arrays, objects and maps where the model's environment has no MLflow, and what is kept of such rows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from serinus_runtime.artifact.kinds import showable
from serinus_runtime.artifact.signature import Signature, signature_of
from serinus_runtime.base.errors import RequestError, StartFailure
from serinus_runtime.cache.keys import CacheKeys
from serinus_runtime.model.batching import _company
from serinus_runtime.model.binding import inputs_of
from serinus_runtime.values.payload import Sent, Table, Tensor, Tensors

CARD = {
    "type": "object",
    "properties": {
        "weight": {"type": "double", "required": True},
        "tags": {"type": "array", "items": {"type": "string"}, "required": False},
        "seen": {"type": "map", "values": {"type": "long"}, "required": False},
    },
}


def signature(*columns: dict[str, Any]) -> Signature:
    return signature_of({"signature": {"inputs": json.dumps(columns)}})


SIGNATURE = signature(
    {**CARD, "name": "card"},
    {"type": "array", "items": {"type": "double"}, "name": "history", "required": False},
    {"type": "double", "name": "amount"},
)
ROW = {"card": {"weight": 1.5, "tags": ["a"], "seen": {"x": 2}}, "history": [1.5, None], "amount": 2.5}


def frame(form: str, content: Any) -> Any:
    return inputs_of(SIGNATURE).bind(Sent(form, content)).data()


def test_rows_are_given_as_they_were_sent() -> None:
    split = {"columns": list(ROW), "data": [list(ROW.values())]}
    for form, content in (("dataframe_records", [ROW]), ("inputs", ROW), ("inputs", [ROW]), ("dataframe_split", split)):
        assert frame(form, content).to_dict("records") == [ROW]
    turned = dict(reversed(ROW.items()))
    assert frame("dataframe_records", [turned]).to_dict("records") == [ROW]
    assert list(frame("dataframe_records", [{"amount": 1.5, "card": {"weight": 0.5}}]).columns) == ["card", "amount"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"card": None}, "column 'card' takes an object: null was sent"),
        ({"card": {}}, "column 'card'.weight is required and was not sent"),
        ({"card": {"weight": "4000001234567899"}}, "column 'card'.weight takes double: a string was sent"),
        ({"card": {"weight": True}}, "column 'card'.weight takes double: a boolean was sent"),
        ({"card": {"weight": None}}, "column 'card'.weight takes double: null was sent"),
        ({"card": {"weight": 1.5, "tags": "a"}}, "column 'card'.tags takes an array: a string was sent"),
        ({"card": {"weight": 1.5, "tags": [5]}}, "column 'card'.tags[] takes string: an integer was sent"),
        ({"card": {"weight": 1.5, "seen": [5]}}, "column 'card'.seen takes an object: an array was sent"),
        ({"card": {"weight": 1.5, "seen": {"x": 2**63}}}, "column 'card'.seen.* takes long: a number is out of range"),
        ({"card": {"weight": 1.5, "wieght": 1}}, "column 'card' has no property 'wieght'"),
        ({"history": ["x"]}, "column 'history'[] takes double: a string was sent"),
        ({"history": {"x": 1}}, "column 'history' takes an array: an object was sent"),
        ({"amount": "x"}, "column 'amount' takes double: a string was sent"),
    ],
)
def test_a_fault_is_told_by_its_path(change: dict[str, Any], said: str) -> None:
    with pytest.raises(RequestError) as caught:
        frame("dataframe_records", [ROW, {**ROW, **change}])
    assert said in str(caught.value)
    assert "4000001234567899" not in str(caught.value)


@pytest.mark.parametrize(
    "sent",
    [
        Sent("csv", "card,amount\n{},1\n"), Sent("inputs", 5), Sent("dataframe_split", [1]), Sent("instances", [[1]]),
        Sent("dataframe_records", []), Sent("dataframe_records", [{"amount": 1.5}]),
        Sent("dataframe_split", {"columns": ["card"], "data": 5}),
    ],
)  # fmt: skip
def test_what_holds_no_rows_of_the_columns_is_refused(sent: Sent) -> None:
    with pytest.raises(RequestError):
        inputs_of(SIGNATURE).bind(sent)


def test_tensors_have_no_form_for_them() -> None:
    with pytest.raises(RequestError, match=r"no form for card, history .*/invocations"):
        inputs_of(SIGNATURE).bind(Tensors((Tensor("amount", [1.5], (1,), "FP64"),)), exact=True)


def test_a_column_of_any_type_takes_scalars_by_tensors() -> None:
    inputs = inputs_of(signature({"type": "any", "name": "x"}, {"type": "double", "name": "y"}))
    sent = Tensors((Tensor("x", ["a"], (1,), "BYTES"), Tensor("y", [1.5], (1,), "FP64")))
    assert inputs.bind(sent, exact=True).data().to_dict("records") == [{"x": "a", "y": 1.5}]
    with pytest.raises(RequestError):
        inputs.bind(Tensors((*sent.tensors, Tensor("z", [1.5], (1,), "FP64"))), exact=True)


def test_a_type_that_is_nested_without_end_is_refused_at_load() -> None:
    kind: dict[str, Any] = {"type": "double"}
    for _ in range(100):
        kind = {"type": "array", "items": kind}
    with pytest.raises(StartFailure):
        signature({**kind, "name": "x"})


def test_rows_without_declared_types_are_alone_in_their_batch_and_have_exact_keys() -> None:
    inputs, cache_keys = inputs_of(Signature()), CacheKeys(Signature(), "r")
    sent = [
        Sent("inputs", [1, 2]), Sent("inputs", [1.0, 2.0]), Sent("instances", ["1", "2"]), Sent("inputs", [[1, 2]]),
        Sent("inputs", {"a": [1, 2]}), Sent("inputs", [{"a": 1}]), Sent("inputs", [{"a": 1}, {"b": None}]),
        Sent("inputs", [{"a": 1, "b": None}, {"b": None}]), Sent("csv", "a\n1\n"),
        Sent("dataframe_records", [{"a": 1}]),
        Sent("dataframe_split", {"columns": ["a"], "data": [[1]]}), Tensors((Tensor("a", [1, 2], (2,), "INT64"),)),
        Tensors((Tensor("a", [1, 2], (2,), "INT32"),)),
    ]  # fmt: skip
    bounds = [inputs.bind(one) for one in sent]
    keys = [cache_keys.key(bound) for bound in bounds]
    assert None not in keys
    assert len(set(keys)) == len(keys)
    assert [cache_keys.key(inputs.bind(one)) for one in sent] == keys
    assert {_company(bound) for bound in bounds} == {None}


def test_one_row_at_a_time_has_the_form_of_all_of_them() -> None:
    inputs = inputs_of(Signature())
    texts = inputs.bind(Sent("inputs", ["a", "b"]))
    assert texts.row(1).data().tolist() == ["b"]
    records = inputs.bind(Sent("inputs", [{"a": 1}, {"a": 2}]))
    assert records.row(1).data() == [{"a": 2}]
    columns = inputs.bind(Sent("instances", [{"a": 1}, {"a": 2}]))
    assert columns.row(0).data()["a"].tolist() == [1]
    table = inputs.bind(Table(("a",), [[1], [2]]))
    assert table.row(1).data().to_dict("records") == [{"a": 2}]
    assert table.row(1).rows == [[2]]


@pytest.mark.parametrize("name", ["", "4000001234567899", "a" * 65, "a\nb", "card 4000001234567899", 5, None])
def test_a_name_that_may_be_a_value_is_not_shown(name: Any) -> None:
    assert showable(name) == "with a name that is not shown"
