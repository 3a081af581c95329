"""The protocol's gRPC messages, against those that the protobuf library reads and writes."""

from __future__ import annotations

import re
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import InferInput, InferResult, service_pb2

from serinus_runtime.artifact.loading import Loaded
from serinus_runtime.artifact.signature import Signature, TensorSpec
from serinus_runtime.base import protobuf
from serinus_runtime.base.config import Config, Settings
from serinus_runtime.base.errors import ModelFailure, RequestError
from serinus_runtime.base.messages import Request, Response
from serinus_runtime.model.model import Model
from serinus_runtime.protocols import grpc
from serinus_runtime.protocols.oip import Asked, Wanted
from serinus_runtime.serving.application import Application
from serinus_runtime.values.outputs import Output
from serinus_runtime.values.payload import Tensor, Tensors

CARD = "4000001234567899"
TYPED: dict[str, tuple[str, list[Any]]] = {
    "BOOL": ("bool_contents", [True, False]),
    "INT8": ("int_contents", [-128, 127]),
    "INT16": ("int_contents", [-32768, 32767]),
    "INT32": ("int_contents", [-(2**31), 2**31 - 1]),
    "INT64": ("int64_contents", [-(2**63), 2**63 - 1]),
    "UINT8": ("uint_contents", [0, 255]),
    "UINT16": ("uint_contents", [0, 65535]),
    "UINT32": ("uint_contents", [0, 2**32 - 1]),
    "UINT64": ("uint64_contents", [0, 2**64 - 1]),
    "FP32": ("fp32_contents", [-1.5, 0.25]),
    "FP64": ("fp64_contents", [-0.1, 1e300]),
    "BYTES": ("bytes_contents", [b"", "é".encode()]),
}
DTYPES = {
    "BOOL": "bool", "FP16": "float16", "FP32": "float32", "FP64": "float64", "BYTES": "object",
    **{f"{sign}INT{bits}": f"{sign.lower()}int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)},
}  # fmt: skip


def framed(message: bytes) -> bytes:
    return b"\0" + struct.pack(">I", len(message)) + message


def request(message: bytes) -> Request:
    """The call's request as the server reads it."""
    made = Request(b"POST", f"{grpc.SERVICE}/ModelInfer".encode(), {}, True)
    made.body = framed(message)
    return made


@pytest.fixture
def inference() -> grpc.GrpcInference:
    return grpc.GrpcInference("fraud", "1")


def asked_of(message: Any) -> Asked:
    return grpc.GrpcInference("fraud", "1").parse(request(message.SerializeToString()))


def infer_request(**fields: Any) -> Any:
    return service_pb2.ModelInferRequest(model_name="fraud", **fields)


def tensors(asked: Asked) -> tuple[Tensor, ...]:
    assert isinstance(asked.payload, Tensors)
    return asked.payload.tensors


def answered(response: Response) -> Any:
    assert response.body[:1] == b"\0"
    assert int.from_bytes(response.body[1:5], "big") == len(response.body) - 5
    return service_pb2.ModelInferResponse.FromString(response.body[5:])


def refusal(message: bytes) -> RequestError:
    with pytest.raises(RequestError) as raised:
        grpc.GrpcInference("fraud", "1").parse(request(message))
    assert CARD not in str(raised.value)
    return raised.value


# --- requests


@pytest.mark.parametrize("datatype", TYPED)
def test_typed_contents_of_every_datatype_are_read(datatype: str) -> None:
    field, values = TYPED[datatype]
    message = infer_request(id="mine")
    entry = message.inputs.add(name="x", datatype=datatype, shape=[2, 1])
    getattr(entry.contents, field).extend(values)
    asked = asked_of(message)
    expected = [value.decode() for value in values] if datatype == "BYTES" else values
    assert tensors(asked) == (Tensor("x", expected, (2, 1), datatype),)
    assert [type(value) for value in tensors(asked)[0].data] == [type(value) for value in expected]
    assert (asked.id, asked.wanted) == ("mine", Wanted())


@pytest.mark.parametrize("datatype", DTYPES)
def test_raw_contents_are_read_as_tritons_client_writes_them(datatype: str) -> None:
    values = TYPED.get(datatype, ("", [0.5, -2.0]))[1]
    given = InferInput("x", [1, 2], datatype)
    given.set_data_from_numpy(np.array([values], dtype=DTYPES[datatype]))
    message = infer_request(inputs=[given._get_tensor()], raw_input_contents=[given._get_content()])
    for _ in range(2):  # the second time the description is remembered
        asked = asked_of(message)
        expected = [value.decode() for value in values] if datatype == "BYTES" else values
        assert tensors(asked) == (Tensor("x", expected, (1, 2), datatype),)
        assert asked.wanted.raw


def test_nan_is_a_missing_value_in_both_encodings() -> None:
    message = infer_request()
    message.inputs.add(name="x", datatype="FP32", shape=[2]).contents.fp32_contents.extend([float("nan"), 1.0])
    assert tensors(asked_of(message))[0].data == [None, 1.0]
    raw = infer_request(raw_input_contents=[struct.pack("<2d", 2.0, float("nan"))])
    raw.inputs.add(name="x", datatype="FP64", shape=[2])
    assert tensors(asked_of(raw))[0].data == [2.0, None]


def test_repeated_fields_may_be_packed_or_not_and_a_message_may_come_in_parts() -> None:
    """The encoding allows both, and says that parts of one message are put together."""
    described = protobuf.text_field(1, "x") + protobuf.text_field(2, "INT64") + protobuf.number_field(3, 3)
    first = protobuf.bytes_field(5, protobuf.number_field(3, 7))
    second = protobuf.bytes_field(5, protobuf.bytes_field(3, protobuf.varint(-1) + protobuf.varint(300)))
    unknown = protobuf.bytes_field(99, b"later versions have more") + b"\xe1\x0612345678" + b"\xed\x061234"
    message = protobuf.text_field(1, "fraud") + unknown + protobuf.bytes_field(5, described + first + second)
    assert tensors(grpc.GrpcInference("fraud", "1").parse(request(message)))[0].data == [7, -1, 300]


def test_wanted_outputs_and_parameters_are_understood_or_passed_over() -> None:
    message = infer_request(model_version="1")
    message.parameters["priority"].uint64_param = 1
    message.inputs.add(name="x", datatype="BOOL", shape=[1]).contents.bool_contents.append(True)
    message.outputs.add(name="b").parameters["classification"].int64_param = 1
    message.outputs.add(name="a")
    assert asked_of(message).wanted.names == ("b", "a")


@pytest.mark.parametrize(("name", "version"), [("other", ""), ("fraud", "2"), ("", "")])
def test_another_models_call_is_not_found(name: str, version: str) -> None:
    message = service_pb2.ModelInferRequest(model_name=name, model_version=version)
    assert refusal(message.SerializeToString()).status == 404


def bad(datatype: str = "FP64", shape: tuple[int, ...] = (1,), raw: tuple[bytes, ...] = (), **contents: Any) -> bytes:
    message = infer_request(raw_input_contents=raw)
    entry = message.inputs.add(name=CARD, datatype=datatype, shape=shape)
    for field, values in contents.items():
        getattr(entry.contents, field).extend(values)
    written: bytes = message.SerializeToString()
    return written


def deep(levels: int) -> bytes:
    message = b""
    for _ in range(levels):
        message = protobuf.bytes_field(5, message)[-100_000:]
    return message


NAMED = protobuf.text_field(1, "fraud")
BAD = {
    "a number beyond its end": (NAMED + b"\x10\x80", "a number goes beyond the end .byte 8."),
    "a number longer than 64 bits": (NAMED + b"\x10" + b"\xff" * 10 + b"\x01", "longer than 64 bits"),
    "a number bomb": (b"\x10" + b"\xff" * 500_000, "longer than 64 bits"),
    "65 bits": (b"\x10" + b"\xff" * 9 + b"\x02", "longer than 64 bits"),
    "a length beyond the end": (NAMED + b"\x2a\x7f" + CARD.encode(), "goes beyond the end .byte 7."),
    "an endless length": (b"\x2a" + b"\xff" * 9 + b"\x01" + CARD.encode(), "goes beyond the end"),
    "a group": (NAMED + b"\x2b\x2c", "groups"),
    "field zero": (b"\x00\x01", "number 0"),
    "cut off in a fixed field": (NAMED + b"\xe1\x06123", "goes beyond the end"),
    "a name that is a number": (b"\x08\x01", "another type"),
    "inputs that are numbers": (NAMED + b"\x28\x01", "another type"),
    "a name of other bytes": (b"\x0a\x02\xff\xfe", "not UTF-8"),
    "deep nesting": (NAMED + deep(3000), "input|protobuf"),
    "no inputs": (NAMED, "no inputs"),
    "no datatype": (bad(""), "datatype"),
    "an unknown datatype": (bad(CARD), "one of BOOL, BYTES, FP16"),
    "no shape": (bad(shape=(), fp64_contents=[1.0]), "shape"),
    "a negative size": (bad(shape=(-1,), fp64_contents=[1.0]), "whole numbers from 0"),
    "a huge size": (bad(shape=(2**40,), fp64_contents=[1.0]), "whole numbers from 0"),
    "a huge product": (bad(shape=(2**31 - 1,) * 32, raw=(b"12345678",)), "does not match its shape"),
    "a shape of many sizes": (bad(shape=(2**31 - 1,) * 60_000, raw=(b"",)), "1 to 32 sizes"),
    "too few values": (bad(shape=(2,), fp64_contents=[1.0]), "has 1 values"),
    "no values": (bad(), "has 0 values"),
    "values in another field": (bad("INT32", int64_contents=[1]), "not in the field for INT32"),
    "half a number": (
        NAMED + protobuf.bytes_field(5, bad()[9:] + protobuf.bytes_field(5, protobuf.bytes_field(7, b"1234"))),
        "not whole",
    ),
    "typed FP16": (bad("FP16", fp32_contents=[1.0]), "raw_input_contents"),
    "raw bytes too short": (bad(raw=(b"1234",)), "4 bytes"),
    "raw bytes of more inputs": (bad(raw=(b"12345678",) * 2), "1 inputs, and raw contents for 2"),
    "raw and typed": (bad(raw=(b"12345678",), fp64_contents=[1.0]), "contents of its own"),
    "a string's length beyond its bytes": (bad("BYTES", raw=(b"\xff\xff\xff\x7fabc",)), "strings"),
    "a string that is not UTF-8": (bad("BYTES", bytes_contents=[b"\xff"]), "not UTF-8"),
    "a raw string that is not UTF-8": (bad("BYTES", raw=(b"\x01\0\0\0\xff",)), "not UTF-8"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_message_that_is_none_is_refused_with_what_and_where_without_values(case: str) -> None:
    message, says = BAD[case]
    error = refusal(message)
    assert error.status == 400
    assert re.search(says, str(error)), str(error)


def test_values_are_not_remembered_with_a_description() -> None:
    message = bad("BYTES", raw=(b"\x10\0\0\0" + CARD.encode(),), bytes_contents=[CARD.encode()])
    for _ in range(2):
        assert "contents of its own" in str(refusal(message))


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"\0\0\0\0", 400),
        (b"\0\0\0\0\x05abc", 400),
        (framed(NAMED) * 2, 400),
        (b"\x02" + framed(NAMED)[1:], 400),
        (b"\x01" + framed(NAMED)[1:], 415),
    ],
)
def test_a_body_that_is_not_one_message_is_refused(body: bytes, status: int) -> None:
    wrong = request(b"")
    wrong.body = body
    with pytest.raises(RequestError) as raised:
        grpc.message_of(wrong)
    assert raised.value.status == status


# --- answers


@pytest.mark.parametrize("datatype", TYPED)
def test_typed_answers_of_every_datatype_are_read_by_the_library(inference: grpc.GrpcInference, datatype: str) -> None:
    field, values = TYPED[datatype]
    data = [value.decode() for value in values] if datatype == "BYTES" else values
    reply = inference.reply(None, [Output("y", datatype, [2, 1], data)], Asked(Tensors(()), None, "mine"))
    answer = answered(reply)
    assert (answer.model_name, answer.model_version, answer.id) == ("fraud", "1", "mine")
    (output,) = answer.outputs
    assert (output.name, output.datatype, list(output.shape)) == ("y", datatype, [2, 1])
    assert list(getattr(output.contents, field)) == values
    assert not answer.raw_output_contents


@pytest.mark.parametrize("datatype", DTYPES)
def test_raw_answers_are_what_tritons_client_reads(inference: grpc.GrpcInference, datatype: str) -> None:
    values = TYPED.get(datatype, ("", [0.5, -2.0]))[1]
    data = [value.decode() for value in values] if datatype == "BYTES" else values
    answer = answered(
        inference.reply(None, [Output("y", datatype, [2], data)], Asked(Tensors(()), wanted=Wanted(raw=True)))
    )
    array = InferResult(answer).as_numpy("y")
    assert array.dtype == DTYPES[datatype]
    assert array.tolist() == values


def test_fp16_is_answered_raw_because_it_has_no_typed_contents(inference: grpc.GrpcInference) -> None:
    outputs = [Output("a", "FP16", [1], [0.5]), Output("b", "FP64", [1], [2.0])]
    answer = answered(inference.reply(None, outputs, Asked(Tensors(()))))
    assert list(answer.raw_output_contents) == [struct.pack("<e", 0.5), struct.pack("<d", 2.0)]


def test_a_missing_number_is_nan_and_bytes_are_bytes(inference: grpc.GrpcInference) -> None:
    outputs = [Output("a", "FP64", [2], [None, 1.0]), Output("b", "BYTES", [2], ["é\ud800", b"\xff\0"])]
    for raw in (False, True):
        answer = answered(inference.reply(None, outputs, Asked(Tensors(()), wanted=Wanted(raw=raw))))
        if not raw:
            assert np.isnan(answer.outputs[0].contents.fp64_contents[0])
            assert list(answer.outputs[1].contents.bytes_contents) == [b"\xc3\xa9?", b"\xff\0"]
        else:
            assert np.isnan(struct.unpack("<2d", answer.raw_output_contents[0])[0])
            assert answer.raw_output_contents[1] == b"\3\0\0\0\xc3\xa9?\2\0\0\0\xff\0"


@pytest.mark.parametrize("datatype", ["INT64", "BOOL", "BYTES"])
def test_a_missing_value_of_what_is_no_float_is_refused_with_the_outputs_name(
    inference: grpc.GrpcInference, datatype: str
) -> None:
    outputs = [Output("a", "FP64", [1], [1.0]), Output("b", datatype, [1], [None])]
    for raw in (False, True):
        with pytest.raises(RequestError, match="output 'b' has a missing value"):
            inference.reply(None, outputs, Asked(Tensors(()), wanted=Wanted(raw=raw)))
        inference.reply(None, outputs, Asked(Tensors(()), wanted=Wanted(("a",), raw)))


def test_a_number_that_its_datatype_cannot_hold_is_the_models_failure(inference: grpc.GrpcInference) -> None:
    for raw in (False, True):
        with pytest.raises(ModelFailure, match="not a valid FP64"):
            inference.reply(None, [Output("y", "FP64", [1], [10**400])], Asked(Tensors(()), wanted=Wanted(raw=raw)))


def test_outputs_can_be_chosen_by_name(inference: grpc.GrpcInference) -> None:
    outputs = [Output("a", "INT64", [1], [1]), Output("b", "INT64", [1], [2])]
    chosen = answered(inference.reply(None, outputs, Asked(Tensors(()), wanted=Wanted(("b",)))))
    assert [output.name for output in chosen.outputs] == ["b"]
    with pytest.raises(RequestError, match="the outputs are: a, b"):
        inference.reply(None, outputs, Asked(Tensors(()), wanted=Wanted((CARD,))))


def test_a_fallback_is_marked_in_the_answers_parameters(inference: grpc.GrpcInference) -> None:
    answer = answered(inference.fallback(Output("score", "FP64", [2], [0.25, 0.25]), "timeout", Asked(Tensors(()))))
    assert answer.parameters["fallback"].bool_param is True
    assert answer.parameters["fallback_reason"].string_param == "timeout"
    assert list(answer.outputs[0].contents.fp64_contents) == [0.25, 0.25]


def test_a_success_ends_with_its_status_as_a_trailer() -> None:
    sent = grpc.Answered(b"\x08\x01", b"x-request-id: r\r\n").encode(close=True)
    head, _, rest = sent.partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"HTTP/1.1 200 OK", b"content-type: application/grpc", b"x-request-id: r", b"transfer-encoding: chunked",
        b"connection: close",
    ]  # fmt: skip
    assert rest == b"7\r\n\0\0\0\0\x02\x08\x01\r\n0\r\ngrpc-status: 0\r\n\r\n"


@pytest.mark.parametrize(("status", "code"), [(400, 3), (404, 5), (413, 8), (503, 14), (504, 4), (500, 13), (418, 2)])
def test_an_error_is_a_status_and_a_message_among_the_headers(status: int, code: int) -> None:
    response = grpc.refused(status, "50% of “it”\n", b"x-request-id: r\r\n")
    assert (response.status, response.body) == (200, b"")
    lines = response.headers.split(b"\r\n")
    assert lines[:2] == [b"x-request-id: r", b"grpc-status: %d" % code]
    assert lines[2] == b"grpc-message: 50%25 of %E2%80%9Cit%E2%80%9D%0A"


# --- the other calls


SERVER = {"name": "serinus", "version": "1.2", "extensions": ["binary_tensor_data"]}
DESCRIBED = {
    "name": "fraud", "versions": ["1"], "platform": "mlflow_python_function",
    "inputs": [{"name": "amount", "datatype": "FP64", "shape": [-1]}],
    "outputs": [{"name": "output-0", "datatype": "FP64", "shape": [-1, 2]}],
}  # fmt: skip


def call(method: str, message: Any) -> Response:
    return grpc.calls("fraud", "1", SERVER, DESCRIBED)[f"{grpc.SERVICE}/{method}".encode()](
        request(message.SerializeToString())
    )


def test_health_and_metadata_are_answered_as_the_library_reads_them() -> None:
    live = call("ServerLive", service_pb2.ServerLiveRequest())
    assert service_pb2.ServerLiveResponse.FromString(live.body[5:]).live
    assert service_pb2.ServerReadyResponse.FromString(
        call("ServerReady", service_pb2.ServerReadyRequest()).body[5:]
    ).ready
    server = service_pb2.ServerMetadataResponse.FromString(
        call("ServerMetadata", service_pb2.ServerMetadataRequest()).body[5:]
    )
    assert (server.name, server.version, list(server.extensions)) == ("serinus", "1.2", ["binary_tensor_data"])
    ready = call("ModelReady", service_pb2.ModelReadyRequest(name="fraud", version="1"))
    assert service_pb2.ModelReadyResponse.FromString(ready.body[5:]).ready
    model = service_pb2.ModelMetadataResponse.FromString(
        call("ModelMetadata", service_pb2.ModelMetadataRequest(name="fraud")).body[5:]
    )
    assert (model.name, list(model.versions), model.platform) == ("fraud", ["1"], "mlflow_python_function")
    assert [(entry.name, entry.datatype, list(entry.shape)) for entry in (*model.inputs, *model.outputs)] == [
        ("amount", "FP64", [-1]),
        ("output-0", "FP64", [-1, 2]),
    ]


@pytest.mark.parametrize("method", ["ModelReady", "ModelMetadata"])
def test_another_model_is_not_ready_and_not_described(method: str) -> None:
    response = call(method, service_pb2.ModelReadyRequest(name="other"))
    assert b"grpc-status: 5\r\n" in response.headers


# --- through the application


def doubles(array: Any) -> Any:
    if array[0] == 13:
        raise ValueError(CARD)
    return array * 2


def served(**settings: Any) -> Application:
    config = Config("fraud-1-abc123", "fraud", "1", Path("/none"), -1, -1, Path("/none"), Settings.of(settings))
    signature = Signature((), (TensorSpec(None, "float64", (-1,)),))
    return Application(config, Model(Loaded(doubles, doubles, doubles, "tests"), signature))


def ask(application: Application, value: float, headers: Mapping[bytes, bytes] = {}) -> Response:
    message = infer_request()
    message.inputs.add(name="x", datatype="FP64", shape=[1]).contents.fp64_contents.append(value)
    asked = request(message.SerializeToString())
    asked.headers.update(headers)
    response = application.handle(asked)
    assert isinstance(response, Response)
    return response


def test_a_call_is_predicted_and_answered_with_the_release_and_the_request_id() -> None:
    response = ask(served(), 1.5, {b"x-request-id": b"r-1"})
    assert list(answered(response).outputs[0].contents.fp64_contents) == [3.0]
    assert response.headers == b"x-serinus-release: fraud-1-abc123\r\nx-request-id: r-1\r\n"


def test_a_models_failure_is_internal_without_its_words_or_the_marked_fallback() -> None:
    response = ask(served(), 13)
    assert b"grpc-status: 13\r\ngrpc-message: the model failed: ValueError\r\n" in response.headers
    fallback = ask(served(fallback_score=0.5), 13)
    assert answered(fallback).parameters["fallback_reason"].string_param == "model-error"
    assert b"x-serinus-fallback: true\r\n" in fallback.headers


def test_a_call_whose_time_is_up_is_deadline_exceeded() -> None:
    late = {b"x-serinus-start": b"%f" % (time.time() - 9), b"x-envoy-expected-rq-timeout-ms": b"250"}
    assert b"grpc-status: 4\r\n" in ask(served(), 1, late).headers


def test_a_message_over_the_limit_is_resource_exhausted() -> None:
    for method in ("ModelInfer", "ModelReady"):
        large = Request(b"POST", f"{grpc.SERVICE}/{method}".encode(), {}, True)
        large.refusal = RequestError("the body is larger than 10 bytes", 413, "too-large")
        response = served().handle(large)
        assert isinstance(response, Response)
        assert b"grpc-status: 8\r\ngrpc-message: the body is larger than 10 bytes\r\n" in response.headers
