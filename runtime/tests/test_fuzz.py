"""Whatever is sent: the same bytes in other pieces are the same requests, and nothing but a refusal comes of nonsense.

Cases that were found once are kept in `corpus/` and replayed. `SERINUS_FUZZ_EXAMPLES=100000` looks for more of them.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from serinus_runtime.artifact.loading import Loaded
from serinus_runtime.artifact.signature import Column, Param, Signature, TensorSpec, signature_of
from serinus_runtime.base import accelerators
from serinus_runtime.base.config import Config
from serinus_runtime.base.errors import ProtocolError
from serinus_runtime.base.messages import Request, Response
from serinus_runtime.http.http1 import Parser
from serinus_runtime.model.model import Model
from serinus_runtime.protocols import grpc
from serinus_runtime.records.sender import FIELDS, Record
from serinus_runtime.serving.application import Application
from serinus_runtime.values.payload import Table

CORPUS = Path(__file__).parent / "corpus"
CARD = b"4000001234567899"
_MORE = os.environ.get("SERINUS_FUZZ_EXAMPLES")
fuzzed = settings(
    max_examples=int(_MORE or 250),
    derandomize=_MORE is None,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(autouse=True)
def accelerated() -> Iterator[None]:
    """As it was, when a test is done."""
    before = accelerators.orjson
    yield
    accelerators.orjson = before


# --- bytes that are nearly right

SPICE = (
    b"", b"\0", b"\xff", b"\r\n", b"\n", b'"', b"[", b"]", b"{", b"}", b",", b":", b"-", b"null", b"NaN", b"Infinity",
    b"-1", b"1e999", b"9" * 400, b"1" * 5000, b"[" * 3000, b'{"a":' * 3000, b"\\ud800", b'"\\u0000"', b"\x80" * 12,
    b"\xff" * 9, b"true", b"[]", b"{}", b"[[1],[1,2]]", b"0.5", b"18446744073709551616", b"-0", b'""', b"2147483647",
    CARD, b"Content-Length: 3\r\n",
)  # fmt: skip


@st.composite
def nearly(draw: st.DrawFn, right: list[bytes]) -> bytes:
    """One of `right` with a few places cut out, replaced or repeated."""
    body = bytearray(draw(st.sampled_from(right)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(body)))
        end = min(len(body), at + draw(st.sampled_from((0, 0, 1, 2, 5, 20, 10_000))))
        body[at:end] = draw(st.one_of(st.sampled_from(SPICE), st.binary(max_size=6), st.just(bytes(body[at:end]) * 2)))
    return bytes(body)


# --- HTTP

REQUESTS = [
    b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Type: text/csv\r\n\r\na,b\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nT: v\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 90\r\n\r\n" + b"x" * 90,
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n51\r\n" + b"y" * 81 + b"\r\n0\r\n\r\n",
    b"\r\nHEAD /%20?q HTTP/1.0\r\nConnection: keep-alive\r\nX: \xe9\r\nX: 2\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nz",
    b"GET /" + b"a" * 300 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
]
Outcome = list[Any]


def outcome(pieces: list[bytes]) -> Outcome:
    """Every request that the pieces hold, and how it ended. Bodies over 80 bytes and heads over 256 are too large."""
    parser = Parser(80, 256)
    found: Outcome = []
    try:
        for piece in pieces:
            parser.feed(piece)
            while (request := parser.next_request()) is not None:
                refusal = None if request.refusal is None else request.refusal.status
                found.append(
                    (request.method, request.target, request.headers, request.keep_alive, refusal, request.body)
                )
    except ProtocolError as error:
        found.append((error.status, str(error)))
        return found
    return [*found, parser.idle]


def split(stream: bytes, places: list[int]) -> list[bytes]:
    cuts = sorted({place % (len(stream) + 1) for place in places})
    return [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


@fuzzed
@given(st.lists(nearly(REQUESTS), min_size=1, max_size=4), st.lists(st.integers(0, 100_000), max_size=12))
def test_how_bytes_are_split_changes_nothing(parts: list[bytes], places: list[int]) -> None:
    stream = b"".join(parts)
    whole = outcome([stream])
    assert CARD.decode() not in str(whole[-1])
    assert outcome(split(stream, places)) == whole
    if len(stream) < 2000:
        assert outcome([stream[i : i + 1] for i in range(len(stream))]) == whole


@fuzzed
@given(st.lists(st.sampled_from(REQUESTS), max_size=6), st.lists(st.integers(0, 10_000), max_size=12))
def test_requests_that_are_right_are_all_found(parts: list[bytes], places: list[int]) -> None:
    parser_says = outcome(split(b"".join(parts), places))
    refused = any(b"a" * 300 in part for part in parts)
    assert len(parser_says) == len(parts) + 1 or refused
    assert parser_says[-1] is True or refused


# --- bodies


def zeros(data: Any, params: Any = None) -> Any:
    rows = next(iter(data.values())) if isinstance(data, dict) else data
    return np.zeros(len(rows) if np.ndim(rows) else 1)


KINDS = ("double", "long", "string", "boolean", "datetime", "binary", "integer", "float")
NESTED = [
    {"type": "double", "name": "double"},
    {"type": "array", "items": {"type": "double"}, "name": "long", "required": False},
    {
        "type": "object",
        "properties": {"a": {"type": "map", "values": {"type": "long"}}},
        "name": "more",
        "required": False,
    },
]
SIGNATURES = {
    "columns": Signature((*(Column(kind, kind) for kind in KINDS), Column("note", "string", required=False))),
    "numbers": Signature((Column("double", "double"), Column("long", "long"))),
    "unnamed": Signature((Column(None, "double"), Column(None, "long"))),
    "tensor": Signature((), (TensorSpec(None, "float32", (-1, 2)),)),
    "tensors": Signature((), (TensorSpec("double", "float64", (-1, -1)), TensorSpec("long", "int64", (-1,)))),
    "objects": Signature((), (TensorSpec(None, "object", (-1, 2)),)),
    "none": Signature(),
    "numbered": Signature((Column(0, "double"), Column(1.5, "long"))),
    "texts": Signature((), (TensorSpec(None, "str", (-1,)),)),
    "times": Signature((), (TensorSpec(None, "datetime64[ns]", (-1,)),)),
    "nested": signature_of({"signature": {"inputs": json.dumps(NESTED)}}),
    "hinted": Signature((Column(None, "string"),), hinted=True),
    "params": Signature((Column("double", "double"), Column("long", "long")), params=(Param("a", "double"),)),
}


def application(signature: Signature) -> Application:
    config = Config("fraud-1-abc123", "fraud", "1", Path("/none"), -1, -1, Path("/none"))
    return Application(config, Model(Loaded(zeros, zeros, zeros, "tests"), signature), lambda *_: None)


APPLICATIONS = {name: application(signature) for name, signature in SIGNATURES.items()}
ANY = st.sampled_from(sorted(APPLICATIONS))


Answered = tuple[int, bytes, bytes]
"""Status, headers and body."""


def ask(application: Application, path: bytes, body: bytes, **headers: bytes) -> Answered:
    lines = {key.replace("_", "-").encode(): value for key, value in headers.items()}
    given = {b"x-serinus-split": b"s", b"x-request-id": b"r", b"content-type": b"application/json", **lines}
    request = Request(b"POST", path, given, True)
    request.body = body
    response = application.handle(request)
    assert isinstance(response, Response)
    return response.status, response.headers, response.body


def post(name: str, path: bytes, body: bytes, **headers: bytes) -> Answered:
    """With the standard library and with orjson, which must make no difference."""
    answers = []
    for accelerators.orjson in (None, orjson):
        answers.append(ask(APPLICATIONS[name], path, body, **headers))
    assert answers[0] == answers[1]
    return answers[0]


def check(status: int, body: bytes) -> None:
    assert status in (200, 400, 415), (status, body)
    if status != 200:
        assert CARD not in body
        assert json.loads(body).keys() == {"error"}


VALUES = [1.5, 2, "FR", True, "2026-01-02T03:04:05", "AP8=", 7, 0.5]
COLUMNS: list[dict[str, Any]] = [dict(zip(KINDS, VALUES, strict=True)), {"double": 1.5, "long": 2}]
INVOCATIONS = [
    json.dumps(content).encode()
    for columns in COLUMNS
    for content in (
        {"dataframe_split": {"columns": list(columns), "data": [list(columns.values())] * 2}},
        {"dataframe_records": [columns, {**columns, "more": 1}]},
        {"instances": [columns]},
        {"instances": [list(columns.values())]},
        {"inputs": {name: [value] for name, value in columns.items()}, "params": {"a": 1}},
        {"inputs": [[1, 2.5], [3, 4]]},
        {"inputs": {"double": [[1.5, 2], [3, 4]], "long": [1, 2]}},
    )
]
DATATYPES = {
    "double": "FP64", "long": "INT64", "string": "BYTES", "boolean": "BOOL", "datetime": "BYTES", "binary": "BYTES",
    "integer": "INT32", "float": "FP32",
}  # fmt: skip


def oip(inputs: list[dict[str, Any]], **more: Any) -> bytes:
    return json.dumps({"inputs": inputs, **more}).encode()


INFERS = [
    *(
        oip([{"name": n, "datatype": DATATYPES[n], "shape": [1], "data": [v]} for n, v in columns.items()], id="a")
        for columns in COLUMNS
    ),
    oip([{"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [[1, 2], [3, 4]]}], outputs=[{"name": "output-0"}]),
    oip([{"name": "x", "datatype": "FP16", "shape": [1, 2], "data": [1, 2]}], parameters={"binary_data_output": True}),
    oip([
        {"name": "double", "datatype": "FP64", "shape": [2, 1], "data": [1, None]},
        {"name": "long", "datatype": "INT64", "shape": [2], "data": [1, 2]},
    ]),
]  # fmt: skip


@fuzzed
@given(ANY, nearly(INFERS))
def test_any_body_to_infer_is_answered_or_refused(name: str, body: bytes) -> None:
    status, _, answer = post(name, b"/v2/models/fraud/infer", body)
    check(status, answer if not answer.startswith(b'{"model_name"') else b"{}")


@fuzzed
@given(ANY, nearly(INVOCATIONS))
def test_any_body_to_invocations_is_answered_or_refused(name: str, body: bytes) -> None:
    status, _, answer = post(name, b"/invocations", body)
    check(status, answer)


CSV = [b'double,long\r\n1.5,2\r\n,3\r\n"4",5\r\n', ",".join(KINDS).encode() + b"\n1.5,2,FR,true,2026-01-02,AP8=,7,1\n"]


@fuzzed
@given(ANY, nearly(CSV))
def test_any_csv_is_answered_or_refused(name: str, body: bytes) -> None:
    status, _, answer = post(name, b"/invocations", body, content_type=b"text/csv")
    check(status, answer)


@pytest.mark.parametrize("beside", [b"1.5", b"null", b'"a"'])
@pytest.mark.parametrize("number", [b"9" * 400, b"-" + b"9" * 400])
def test_a_number_that_no_float_holds_is_refused_by_its_column(number: bytes, beside: bytes) -> None:
    for body, column in (
        (b'{"dataframe_split":{"columns":["x","y"],"data":[[1,%b],[2,%b]]}}' % (number, beside), b"column 'y'"),
        (b'{"inputs":[[1,%b],[2,%b]]}' % (number, beside), b"column 1"),
    ):
        status, _, answer = post("none", b"/invocations", body)
        assert status == 400, answer
        assert column in answer
        assert b"999" not in answer


def binary_body(sizes: tuple[int, int], raw: bytes) -> bytes:
    inputs = [
        {"name": name, "datatype": kind, "shape": [1], "parameters": {"binary_data_size": size}}
        for name, kind, size in (("double", "FP64", sizes[0]), ("long", "INT64", sizes[1]))
    ]
    return oip(inputs) + raw


BINARIES = [
    binary_body((8, 8), struct.pack("<dq", 1.5, 2)),
    oip([{"name": "x", "datatype": "BYTES", "shape": [1, 2], "parameters": {"binary_data_size": 10}}])
    + b"\x01\0\0\0a\x01\0\0\0b",
    oip([{"name": "x", "datatype": "FP16", "shape": [1, 2], "parameters": {"binary_data_size": 4}}]) + b"\0\x7c\0\x7e",
]


@fuzzed
@given(ANY, nearly(BINARIES), st.one_of(st.none(), st.binary(max_size=20)))
def test_any_binary_body_is_answered_or_refused(name: str, body: bytes, length: bytes | None) -> None:
    said = b"%d" % (body.rfind(b"]}") + 2) if length is None else length
    status, _, answer = post(name, b"/v2/models/fraud/infer", body, inference_header_content_length=said)
    check(status, answer if status != 200 else b"{}")


def grpc_message(raw: bool) -> bytes:
    message = service_pb2.ModelInferRequest(model_name="fraud", model_version="1", id="a")
    message.parameters["priority"].uint64_param = 1
    for kind, field, value, as_raw in (
        ("double", "fp64_contents", 1.5, struct.pack("<d", 1.5)),
        ("long", "int64_contents", -2, struct.pack("<q", -2)),
        ("string", "bytes_contents", b"FR", b"\x02\0\0\0FR"),
    ):
        entry = message.inputs.add(name=kind, datatype=DATATYPES[kind], shape=[1])
        if raw:
            message.raw_input_contents.append(as_raw)
        else:
            getattr(entry.contents, field).append(value)
    written: bytes = message.SerializeToString()
    return written


MESSAGES = [grpc_message(raw=True), grpc_message(raw=False)]


@fuzzed
@given(ANY, nearly(MESSAGES), st.booleans())
def test_any_grpc_message_is_answered_or_refused(name: str, message: bytes, framed: bool) -> None:
    body = b"\0" + struct.pack(">I", len(message)) + message if framed else message
    status, headers, answer = post(name, f"{grpc.SERVICE}/ModelInfer".encode(), body)
    check_grpc(status, headers, answer)


def check_grpc(status: int, headers: bytes, answer: bytes) -> None:
    assert status == 200
    if answer:
        service_pb2.ModelInferResponse.FromString(answer[5:])
        return
    assert CARD not in headers
    assert any(b"grpc-status: %d\r\n" % code in headers for code in (3, 5, 12)), headers


# --- the short way


class ShortModel(Model):
    """Answers single rows by the short way as well, and differently for each value."""

    def predict_row(self, row: Sequence[Any]) -> Any:
        return self.predict(self.bind(Table(None, [list(row)]))).result


def weighed(frame: Any) -> Any:
    return frame["amount"].fillna(0.25).to_numpy() + 1000.0 * frame["hour"].to_numpy() + frame["country"].str.len()


WEIGHED = Signature((Column("amount", "double"), Column("hour", "long"), Column("country", "string")))
NAMED = [{"amount": 1.5, "hour": 2, "country": "FR"}, {"country": "a,b", "hour": -3, "amount": None}]
ONE_ROW = [
    *(json.dumps({"dataframe_split": {"columns": list(row), "data": [list(row.values())]}}).encode() for row in NAMED),
    *(json.dumps({"instances": [list(row.values())]}, separators=(",", ":")).encode() for row in NAMED[:1]),
    *(
        oip([
            {"name": name, "shape": [1], "datatype": kind, "data": [row[name]]}
            for name, kind in (("amount", "FP64"), ("hour", "INT64"), ("country", "BYTES"))
        ])
        for row in NAMED
    ),
]  # fmt: skip


def weighing(model: type[Model], records: list[Record]) -> Application:
    config = Config("fraud-1-abc123", "fraud", "1", Path("/none"), -1, -1, Path("/none"))
    return Application(config, model(Loaded(weighed, weighed, weighed, "tests"), WEIGHED), records.append)


def kept(records: list[Record]) -> list[Any]:
    """But for the times. Rows may be kept as their JSON text, and their columns in any order."""
    fields = dict(zip(FIELDS, records.pop(), strict=True))
    columns, rows = fields.pop("columns"), fields.pop("inputs")
    rows = json.loads(rows) if isinstance(rows, bytes) else rows or []
    own = [value for name, value in fields.items() if name not in ("t", "ms")]
    return [*own, [dict(zip(columns, row, strict=True)) for row in rows]]


LONG_RECORDS: list[Record] = []
SHORT_RECORDS: list[Record] = []
LONG_WAY = weighing(Model, LONG_RECORDS)
SHORT_WAY = weighing(ShortModel, SHORT_RECORDS)


@fuzzed
@given(nearly(ONE_ROW), st.sampled_from([b"/invocations", b"/v2/models/fraud/infer"]))
def test_a_body_whose_layout_is_known_is_answered_and_recorded_like_any_other(body: bytes, path: bytes) -> None:
    for accelerators.orjson in (None, orjson):
        for seen in ONE_ROW:
            ask(SHORT_WAY, path, seen)
        assert ask(SHORT_WAY, path, body) == ask(LONG_WAY, path, body)
        assert kept(SHORT_RECORDS) == kept(LONG_RECORDS)


# --- what was found once

REPLAYED: dict[str, Callable[[str, bytes], Answered]] = {
    "infer": lambda name, body: post(name, b"/v2/models/fraud/infer", body),
    "invocations": lambda name, body: post(name, b"/invocations", body),
    "csv": lambda name, body: post(name, b"/invocations", body, content_type=b"text/csv"),
    "grpc": lambda name, body: post(
        name, f"{grpc.SERVICE}/ModelInfer".encode(), b"\0" + struct.pack(">I", len(body)) + body
    ),
}
KEPT = sorted(path for kind in REPLAYED for path in (CORPUS / kind).glob("*"))


@pytest.mark.parametrize("path", KEPT, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_body_that_was_found_once_is_answered_or_refused_by_every_model(path: Path) -> None:
    for name in APPLICATIONS:
        status, headers, answer = REPLAYED[path.parent.name](name, path.read_bytes())
        if path.parent.name == "grpc":
            check_grpc(status, headers, answer)
        else:
            check(status, answer if status != 200 else b"{}")


@pytest.mark.parametrize("path", sorted((CORPUS / "http").glob("*")), ids=lambda path: path.name)
def test_a_stream_that_was_found_once_is_read_the_same_in_any_pieces(path: Path) -> None:
    stream = path.read_bytes()
    whole = outcome([stream])
    for width in (1, 2, 7):
        assert outcome([stream[i : i + width] for i in range(0, len(stream), width)]) == whole
