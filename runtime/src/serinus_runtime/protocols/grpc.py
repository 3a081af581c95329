"""The Open Inference Protocol over gRPC, without a gRPC or protobuf library, because a model may pin these.

The proxy terminates HTTP/2 and forwards each call as HTTP/1.1, `POST /inference.GRPCInferenceService/<Method>` of type
`application/grpc`, with one message after its length as the body. The status is sent as a trailer of a chunked body, or
among the headers where there is no message (grpc/grpc, doc/PROTOCOL-HTTP2.md, "Trailers-Only"). Field numbers are those
of the Open Inference Protocol's grpc_predict_v2.proto.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from math import prod
from typing import Any, Callable, Mapping, NamedTuple, Sequence
from urllib.parse import quote

from serinus_runtime.artifact.signature import Param
from serinus_runtime.base import protobuf
from serinus_runtime.base.errors import ModelFailure, RequestError
from serinus_runtime.base.messages import Request, Response
from serinus_runtime.base.protobuf import LENGTH, bytes_field, fields, number_field, packed_field, text_field
from serinus_runtime.protocols import binary
from serinus_runtime.protocols.oip import DATATYPES, Asked, Wanted, chosen
from serinus_runtime.values.described import check_sendable
from serinus_runtime.values.outputs import Output
from serinus_runtime.values.parameters import check_tensor_parameters, params_of
from serinus_runtime.values.payload import Tensor, Tensors
from serinus_runtime.values.shapes import check_shape

SERVICE = "/inference.GRPCInferenceService"
CONTENT_TYPE = b"application/grpc"
_STATUSES = {400: 3, 404: 5, 408: 4, 413: 8, 415: 12, 500: 13, 501: 12, 503: 14, 504: 4}
"""The gRPC status for each HTTP status of the worker (grpc.io/docs/guides/status-codes)."""
_UNKNOWN = 2
# The field of InferTensorContents for each datatype. FP16 has none and is sent raw.
_CONTENTS = {
    "BOOL": 1, "INT8": 2, "INT16": 2, "INT32": 2, "INT64": 3, "UINT8": 4, "UINT16": 4, "UINT32": 4, "UINT64": 5,
    "FP32": 6, "FP64": 7, "BYTES": 8,
}  # fmt: skip
_LONGEST_REMEMBERED = 256


class Answered(Response):
    """One message, followed by the trailer of success."""

    def __init__(self, message: bytes, headers: bytes = b"") -> None:
        super().__init__(200, b"\0" + struct.pack(">I", len(message)) + message, headers, CONTENT_TYPE)

    def encode(self, close: bool, without_body: bool = False) -> bytes:
        return b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\n%stransfer-encoding: chunked\r\n%s\r\n%s" % (
            CONTENT_TYPE,
            self.headers,
            b"connection: close\r\n" if close else b"",
            b"" if without_body else b"%x\r\n%s\r\n0\r\ngrpc-status: 0\r\n\r\n" % (len(self.body), self.body),
        )


def refused(status: int, message: str, headers: bytes = b"") -> Response:
    """Returns an error. `status` is that of HTTP."""
    said = quote(message, safe=" !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~").encode()
    lines = b"grpc-status: %d\r\ngrpc-message: %s\r\n" % (_STATUSES.get(status, _UNKNOWN), said)
    return Response(200, b"", headers + lines, CONTENT_TYPE)


def message_of(request: Request) -> bytes:
    """Returns the message of a request. Raises RequestError where the body is not exactly one message, or is
    compressed."""
    if request.refusal is not None:
        raise request.refusal
    body = request.body
    if len(body) < 5 or body[0] > 1 or int.from_bytes(body[1:5], "big") != len(body) - 5:
        raise RequestError("the body is not one gRPC message after its length")
    if body[0]:
        raise RequestError("compressed messages are not supported; send them uncompressed", 415, "unsupported-type")
    return body[5:]


class _Input(NamedTuple):
    name: str
    datatype: str
    shape: tuple[int, ...]
    contents: bytes | None


class GrpcInference:
    """ModelInfer. It answers in the form of the request: raw contents to raw contents, typed ones to typed ones."""

    exact = True

    def __init__(self, model: str, version: str, params: Sequence[Param] = ()) -> None:
        """`params` are those that the model declares."""
        self._params = params
        self._model = model
        self._version = version
        self._head = text_field(1, model) + text_field(2, version)

    def parse(self, request: Request) -> Asked:
        """Parses a request. Raises RequestError, with 404 for another model."""
        name = version = identity = ""
        inputs: list[bytes] = []
        wanted: list[bytes] = []
        raw: list[bytes] = []
        parameters: dict[str, Any] = {}
        for number, wire, value in fields(message_of(request), "the request"):
            if number == 1:
                name = protobuf.text(value, wire, "the request")
            elif number == 2:
                version = protobuf.text(value, wire, "the request")
            elif number == 3:
                identity = protobuf.text(value, wire, "the request")
            elif number == 4:
                parameters.update([_parameter_of(value, wire, "the request")])
            elif number in (5, 6, 7):
                protobuf.expect(wire, LENGTH, "the request")
                (inputs if number == 5 else wanted if number == 6 else raw).append(value)
        check_name(name, version, self._model, self._version)
        if not inputs:
            raise RequestError("there are no inputs")
        tensors = _raw_tensors(inputs, raw) if raw else [_typed_tensor(_input(message)) for message in inputs]
        names = tuple([_first_text(message, "a requested output") for message in wanted])
        params = params_of(parameters, self._params) if parameters else None
        return Asked(Tensors(tuple(tensors)), params, identity or None, Wanted(names, bool(raw)))

    def reply(self, result: Any, outputs: Sequence[Output], asked: Asked, head: bytes = b"") -> Response:  # noqa: ARG002
        """Returns the response. Raises RequestError where an unknown output was requested, or a missing value cannot be
        expressed, and ModelFailure where tensors cannot express an output."""
        outputs = chosen(outputs, asked.wanted.names)
        check_sendable(outputs)
        for output in outputs:
            binary.check_present(output)
        return Answered(self._message(outputs, asked), head)

    def fallback(self, output: Output, reason: str, asked: Asked, head: bytes = b"") -> Response:
        parameters = _parameter(4, "fallback", number_field(1, 1))
        parameters += _parameter(4, "fallback_reason", text_field(3, reason))
        return Answered(self._message([output], asked, parameters), head)

    def error(self, status: int, message: str, head: bytes = b"") -> Response:
        return refused(status, message, head)

    def _message(self, outputs: Sequence[Output], asked: Asked, parameters: bytes = b"") -> bytes:
        # Either all outputs have raw contents or none.
        raw = asked.wanted.raw or any(output.datatype not in _CONTENTS for output in outputs)
        parts = [self._head]
        if asked.id is not None:
            parts.append(text_field(3, asked.id))
        parts.append(parameters)
        for output in outputs:
            described = _described(output.name, output.datatype, output.shape)
            if not raw:
                described += bytes_field(5, _contents(output))
            parts.append(bytes_field(5, described))
        if raw:
            parts += [bytes_field(6, binary.pack(output.data, output.datatype)) for output in outputs]
        return b"".join(parts)


def check_name(name: str, version: str, model: str, served: str) -> None:
    """Raises RequestError with 404 where the call is for another model or version."""
    if name != model or version not in ("", served):
        raise RequestError(f"there is no such model; this is model {model}, version {served}", 404, "not-found")


def _first_text(message: bytes, what: str) -> str:
    """Returns the text in field 1."""
    found = ""
    for number, wire, value in fields(message, what):
        if number == 1:
            found = protobuf.text(value, wire, what)
    return found


def _raw_tensors(inputs: Sequence[bytes], raw: Sequence[bytes]) -> list[Tensor]:
    if len(raw) != len(inputs):
        raise RequestError(f"there are {len(inputs)} inputs, and raw contents for {len(raw)}")
    tensors = []
    for message, part in zip(inputs, raw):
        # The description of an input is the same in each request. Only the contents differ.
        name, datatype, shape, contents = (_remembered if len(message) <= _LONGEST_REMEMBERED else _input)(message)
        if contents is not None:
            raise RequestError("an input has contents of its own beside the raw contents")
        tensors.append(Tensor(name, binary.unpack(part, datatype, prod(shape)), shape, datatype))
    return tensors


def _input(message: bytes) -> _Input:
    name = datatype = ""
    shape: list[int] = []
    contents: bytes | None = None
    parameters: dict[str, Any] = {}
    for number, wire, value in fields(message, "an input"):
        if number == 1:
            name = protobuf.text(value, wire, "an input")
        elif number == 2:
            datatype = protobuf.text(value, wire, "an input")
        elif number == 3:
            shape += map(protobuf.signed, protobuf.integers(value, wire, "the shape of an input"))
        elif number == 4:
            parameters.update([_parameter_of(value, wire, "an input")])
        elif number == 5:
            protobuf.expect(wire, LENGTH, "an input")
            contents = value if contents is None else contents + value
    check_tensor_parameters(parameters)
    if datatype not in DATATYPES:
        raise RequestError(f"the datatype of an input must be one of {', '.join(sorted(DATATYPES))}")
    return _Input(name, datatype, check_shape(shape), contents)


def _parameter_of(value: Any, wire: int, what: str) -> tuple[str, Any]:
    """Returns one entry of a map of InferParameter: bool_param, int64_param, string_param, double_param or
    uint64_param."""
    protobuf.expect(wire, LENGTH, what)
    name, given = "", None
    for number, kind, part in fields(value, what):
        if number == 1:
            name = protobuf.text(part, kind, what)
        elif number == 2:
            protobuf.expect(kind, LENGTH, what)
            for field, wired, content in fields(part, what):
                given = _choice(field, wired, content, what)
    return name, given


def _choice(field: int, wire: int, value: Any, what: str) -> Any:
    if field == 3:
        return protobuf.text(value, wire, what)
    if field == 4:
        return protobuf.doubles(value, wire, what)[-1]
    numbers = protobuf.integers(value, wire, what)
    if not numbers or field not in (1, 2, 5):
        raise RequestError(f"{what} has a parameter of a type that cannot be read")
    return numbers[-1] != 0 if field == 1 else numbers[-1] if field == 5 else protobuf.signed(numbers[-1])


@lru_cache(maxsize=1024)
def _remembered(message: bytes) -> _Input:
    found = _input(message)
    # The caller's values are not kept, because a request that has them here is refused anyway.
    return found if found.contents is None else found._replace(contents=b"")


def _typed_tensor(given: _Input) -> Tensor:
    wanted = _CONTENTS.get(given.datatype)
    if wanted is None:
        raise RequestError("FP16 has no contents of its own: send it in raw_input_contents")
    values: list[Any] = []
    for number, wire, value in fields(given.contents or b"", "the contents of an input"):
        if number != wanted:
            raise RequestError(f"the contents of an input are not in the field for {given.datatype}")
        values += _values(number, wire, value)
    if len(values) != prod(given.shape):
        raise RequestError(f"an input of shape {list(given.shape)} has {len(values)} values")
    return Tensor(given.name, values, given.shape, given.datatype)


def _values(number: int, wire: int, value: Any) -> list[Any]:
    what = "the contents of an input"
    if number == 8:
        protobuf.expect(wire, LENGTH, what)
        return [binary.text_of(value)]
    if number in (6, 7):
        return binary.without_nan((protobuf.floats if number == 6 else protobuf.doubles)(value, wire, what))
    found = protobuf.integers(value, wire, what)
    if number == 1:
        return [value != 0 for value in found]
    return found if number in (4, 5) else [protobuf.signed(value) for value in found]


def _contents(output: Output) -> bytes:
    field, data = _CONTENTS[output.datatype], output.data
    try:
        if field == 8:
            return b"".join([bytes_field(8, binary.bytes_of(value)) for value in data])
        if field in (6, 7):
            packed = struct.pack(f"<{len(data)}{'f' if field == 6 else 'd'}", *binary.with_nan(data))
        else:
            return packed_field(field, map(int, data))
    except (struct.error, OverflowError, TypeError) as error:
        raise ModelFailure(f"the model answered a value that is not a valid {output.datatype}", "bad-answer") from error
    return bytes_field(field, packed)


def _described(name: str, datatype: str, shape: Sequence[int]) -> bytes:
    return text_field(1, name) + text_field(2, datatype) + packed_field(3, shape)


def _parameter(field: int, name: str, value: bytes) -> bytes:
    return bytes_field(field, text_field(1, name) + bytes_field(2, value))


Call = Callable[[Request], Response]


def refusing(message: str) -> Call:
    """Returns a handler for ModelInfer where the release does not have this protocol."""
    return lambda _: refused(501, message)


def calls(model: str, version: str, server: Mapping[str, Any], described: Mapping[str, Any]) -> dict[bytes, Call]:
    """Returns the handlers of all calls except ModelInfer, by path. `server` and `described` are the metadata of
    REST."""
    yes = number_field(1, 1)
    about = text_field(1, server["name"]) + text_field(2, server["version"])
    about += b"".join([text_field(3, extension) for extension in server["extensions"]])
    metadata = text_field(1, described["name"]) + text_field(2, version) + text_field(3, described["platform"])
    for field, entries in ((4, described["inputs"]), (5, described["outputs"])):
        for entry in entries:
            metadata += bytes_field(field, _described(entry["name"], entry["datatype"], entry["shape"]))

    def of_model(message: bytes) -> Call:
        def answer(sent: bytes) -> Response:
            check_name(*_name_and_version(sent), model, version)
            return Answered(message)

        return _guarded(answer)

    answers = {
        "ServerLive": _guarded(lambda _: Answered(yes)),
        "ServerReady": _guarded(lambda _: Answered(yes)),
        "ServerMetadata": _guarded(lambda _: Answered(about)),
        "ModelReady": of_model(yes),
        "ModelMetadata": of_model(metadata),
    }
    return {f"{SERVICE}/{method}".encode(): answer for method, answer in answers.items()}


def _guarded(answer: Callable[[bytes], Response]) -> Call:
    def call(request: Request) -> Response:
        try:
            return answer(message_of(request))
        except RequestError as error:
            return refused(error.status, str(error))

    return call


def _name_and_version(message: bytes) -> tuple[str, str]:
    """Returns name and version of a ModelReady or ModelMetadata request."""
    found = {1: "", 2: ""}
    for number, wire, value in fields(message, "the request"):
        if number in found:
            found[number] = protobuf.text(value, wire, "the request")
    return found[1], found[2]
