"""Bodies of a known layout are answered as if they had been read in full, or else read in full."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serinus_runtime.artifact.signature import Column, Signature
from serinus_runtime.base import accelerators
from serinus_runtime.base.config import Config, Settings
from serinus_runtime.base.errors import ModelFailure
from serinus_runtime.base.messages import Request, Response
from serinus_runtime.model.model import Answer
from serinus_runtime.protocols.oip import OpenInference
from serinus_runtime.records.sender import FIELDS
from serinus_runtime.serving.application import Application
from serinus_runtime.serving.layouts import Layouts
from serinus_runtime.values.described import Answers
from serinus_runtime.values.inputs import Bound, ColumnInputs
from serinus_runtime.values.payload import Table

SIGNATURE = Signature((Column("a", "double"), Column("b", "double"), Column("c", "string")))
HEADERS = {b"content-type": b"application/json", b"x-request-id": b"same", b"x-serinus-split": b"s1"}


class Tells:
    """A model whose answer tells what it was given, and by which way."""

    def __init__(self, *, rows: bool = True, fails: bool = False, wide: bool = False) -> None:
        self.signature = SIGNATURE
        self.answers = Answers(SIGNATURE)
        self.seen: list[Any] = []
        self.short = 0
        self._inputs = ColumnInputs(SIGNATURE)
        self._fails = fails
        self._wide = wide
        if rows:
            self.predict_row: Callable[[Sequence[Any]], Any] = self._predict_row

    def bind(self, payload: Any, *, exact: bool = False) -> Bound:
        return self._inputs.bind(payload, exact=exact)

    def predict(self, bound: Bound, params: Any = None) -> Answer:
        bound.data()  # refuses what does not fit
        result = np.concatenate([self._told(row) for row in bound.rows])
        return Answer(result, self.answers.read(result))

    def _told(self, row: Sequence[Any]) -> Any:
        if row[0] == 13.0 and self._fails:
            raise ModelFailure("it does not like this one")
        told = float(hash(json.dumps(row)) % 1_000_003)
        return np.array([[1 - told, told]]) if self._wide else np.array([told])

    def _predict_row(self, row: Sequence[Any]) -> Any:
        self.predict(self._inputs.bind(Table(None, [list(row)])))  # raises as it would
        self.short += 1
        return self._told(row)


class Served:
    def __init__(self, model: Tells) -> None:
        self.model = model
        self.records: list[dict[str, Any]] = []
        config = Config("fraud-1-abc123", "fraud", "1", Path("/none"), -1, -1, Path("/none"), Settings())
        self._application = Application(
            config, model, lambda record: self.records.append(dict(zip(FIELDS, record, strict=True)))
        )

    def post(self, path: bytes, body: bytes) -> Response:
        request = Request(b"POST", path, dict(HEADERS), True)
        request.body = body
        response = self._application.handle(request)
        assert isinstance(response, Response)
        return response

    def record(self) -> dict[str, Any]:
        """The last one, with the rows in the order of the signature."""
        record = self.records[-1]
        inputs = json.loads(record["inputs"]) if isinstance(record["inputs"], bytes) else record["inputs"]
        if inputs is not None:
            inputs = [[row[record["columns"].index(name)] for name in "abc"] for row in inputs]
        kept = ("status", "rows", "scores", "answers", "fallback", "error", "cached", "split")
        return {"inputs": inputs, **{name: record[name] for name in kept}}


@pytest.fixture(autouse=True, params=["accelerated", "plain"])
def both_ways(request: pytest.FixtureRequest) -> Iterator[None]:
    accelerators.forget()
    if request.param == "accelerated":
        accelerators.find()
    yield
    accelerators.forget()


INFER, INVOKE = b"/v2/models/fraud/infer", b"/models/fraud/invocations"


def named(row: Sequence[Any], order: str = "abc", spaces: bool = False, **more: Any) -> bytes:
    kinds = {"a": "FP64", "b": "FP64", "c": "BYTES"}
    values = dict(zip("abc", row, strict=True))
    inputs = [{"name": name, "shape": [1], "datatype": kinds[name], "data": [values[name]]} for name in order]
    return json.dumps({"inputs": inputs, **more}, separators=None if spaces else (",", ":")).encode()


def split(row: Sequence[Any], order: str = "abc", spaces: bool = False) -> bytes:
    values = dict(zip("abc", row, strict=True))
    content = {"dataframe_split": {"columns": list(order), "data": [[values[name] for name in order]]}}
    return json.dumps(content, separators=None if spaces else (",", ":")).encode()


def instances(row: Sequence[Any]) -> bytes:
    return json.dumps({"instances": [list(row)]}).encode()


KINDS = {
    "named": (INFER, named),
    "another order": (INFER, lambda row: named(row, "cab")),
    "with spaces": (INFER, lambda row: named(row, spaces=True)),
    "an output chosen": (INFER, lambda row: named(row, outputs=[{"name": "output-0"}])),
    "an id": (INFER, lambda row: named(row, id="same")),
    "split": (INVOKE, split),
    "split, another order, spaces": (INVOKE, lambda row: split(row, "bca", spaces=True)),
    "instances": (INVOKE, instances),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wide", [False, True])
def test_the_second_body_of_a_layout_is_answered_and_recorded_as_the_long_way_would(kind: str, wide: bool) -> None:
    path, body = KINDS[kind]
    served, full = Served(Tells(wide=wide)), Served(Tells(rows=False, wide=wide))
    served.post(path, body([1.0, 2.0, "x"]))
    assert served.model.short == 0
    for row in ([3.5, -4, "yz"], [0, 1e300, ""], [None, 2.5, "é\\n"], [1e-7, None, 'quoted "text"']):
        response, wanted = served.post(path, body(row)), full.post(path, body(row))
        assert (response.status, response.headers) == (wanted.status, wanted.headers)
        assert response.body == wanted.body
        assert served.record() == full.record()
    assert served.model.short == 4


@pytest.mark.parametrize("kind", KINDS)
def test_what_does_not_fit_is_refused_with_the_words_of_the_long_way(kind: str) -> None:
    path, body = KINDS[kind]
    served, full = Served(Tells(fails=True)), Served(Tells(rows=False, fails=True))
    served.post(path, body([1.0, 2.0, "x"]))
    for row in (["1", 2.0, "x"], [1.0, True, "x"], [1.0, 2.0, 3], [1.0, {}, "x"], [13.0, 1, "x"]):
        response, wanted = served.post(path, body(row)), full.post(path, body(row))
        assert (response.status, response.body) == (wanted.status, wanted.body)
        assert response.status >= 400
        assert served.record() == full.record()
    assert served.model.short == 0


TRICKS = [
    (b"1.0", b"1.0,2"), (b"1.0", b""), (b"1.0", b" 1.0 "), (b"1.0", b"1.0]"), (b"1.0", b"NaN"), (b"1.0", b"01"),
    (b'"x"', b'"x]"'), (b'"x"', b'"x,y"'), (b'"x"', b'"x\\"data\\":["'),
    (b'"x"', b'"'), (b"1.0", b'"a'),
    (b"1.0", b'{"data":[1]}'), (b"1.0", b"1.0],\"data\":[2.0"),
    (b"[1]", b"[2]"), (b"FP64", b"FP32"), (b"FP64", b"BOOL"),
    (b"}", b"},"),
    (b"2.0", b"[2.0]"), (b'"a"', b'"A"'), (b"inputs", b"Inputs"), (b"columns", b"column"), (b'"x"', b'"\\ud800"'),
    (b"1.0", b"18446744073709551616"), (b"1.0", b"1e400"), (b'"x"', b'"\xff"'), (b'"x"', b'"\t"'),
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_body_that_is_nearly_of_a_layout_is_answered_as_by_the_long_way(kind: str) -> None:
    path, body = KINDS[kind]
    served, full = Served(Tells()), Served(Tells(rows=False))
    start = body([1.0, 2.0, "x"])
    for _ in range(2):
        served.post(path, start)
    for old, new in TRICKS:
        for trick in (start.replace(old, new), start.replace(old, new, 1)):
            response, wanted = served.post(path, trick), full.post(path, trick)
            assert (response.status, response.body) == (wanted.status, wanted.body), trick


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_change_of_some_bytes_makes_the_short_way_answer_otherwise(data: st.DataObject) -> None:
    path, body = KINDS[data.draw(st.sampled_from(sorted(KINDS)))]
    served, full = Served(Tells()), Served(Tells(rows=False))
    start = body([1.0, 2.0, "x"])
    served.post(path, start)
    changed = bytearray(start)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(changed) - 1))
        changed[at : at + data.draw(st.integers(0, 3))] = data.draw(
            st.text('0123456789.,-+eE"[]{}: \\abcnul', max_size=4)
        ).encode()
    response, wanted = served.post(path, bytes(changed)), full.post(path, bytes(changed))
    assert (response.status, response.body) == (wanted.status, wanted.body)


def test_values_that_stand_elsewhere_than_they_seem_to_are_not_learned() -> None:
    row = [5.0, 5.0, "5"]
    entries = [
        {"name": name, "shape": [1], "datatype": kind, "more": {"data": [value]}, "data ": 0}
        for name, kind, value in zip("abc", ("FP64", "FP64", "BYTES"), row, strict=True)
    ]
    body = json.dumps({"inputs": entries}, separators=(",", ":")).replace('"data ":0', '"data" :[5]').encode()
    layouts = Layouts(("a", "b", "c"))
    request = Request(b"POST", INFER, {}, True)
    request.body = body
    layouts.learn(body, OpenInference("m", "1").parse(request), row, (b"", b""))
    assert layouts.find(body) is None


def test_the_number_of_remembered_layouts_is_bounded() -> None:
    served = Served(Tells())
    for i in range(200):
        served.post(INFER, b'{"id":"%d",%b' % (i, named([1.0, 2.0, "x"])[1:]))
    served.post(INFER, b'{"id":"199",%b' % named([1.0, 2.0, "x"])[1:])
    assert served.model.short == 0
    served.post(INFER, b'{"id":"0",%b' % named([1.0, 2.0, "y"])[1:])
    assert served.model.short == 1
    layouts = served._application._routes[INFER].layouts
    assert layouts is not None
    assert len(layouts._known) <= 64


def test_a_caller_whose_text_always_changes_is_not_learned_from_without_end() -> None:
    served = Served(Tells())
    for i in range(2000):
        served.post(INFER, named([1.0, 2.0, "x"], id=f"id-{i}"))
    layouts = served._application._routes[INFER].layouts
    assert layouts is not None
    assert layouts._tries == 512
