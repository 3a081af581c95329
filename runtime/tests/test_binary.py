"""The binary tensor data extension of REST, both ways; bytes as the protocol lays them out."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serinus_runtime.artifact.loading import Loaded
from serinus_runtime.artifact.signature import Signature, TensorSpec
from serinus_runtime.base.config import Config
from serinus_runtime.base.errors import ModelFailure, RequestError
from serinus_runtime.base.messages import Request, Response
from serinus_runtime.model.model import Model
from serinus_runtime.protocols import binary
from serinus_runtime.serving.application import Application
from serinus_runtime.values.payload import Tensor
from serinus_runtime.values.tensors import array_of

INPUTS = [{"name": "x", "datatype": "FP64", "shape": [2], "data": [1.5, None]}]


def two(array: Any) -> Mapping[str, Any]:
    return {"twice": array * 2, "text": np.array(["a", "é"], dtype=object)}


def infer(content: Mapping[str, Any]) -> Response:
    signature = Signature((), (TensorSpec(None, "float64", (-1,)),))
    config = Config("fraud-1-abc123", "fraud", "1", Path("/none"), -1, -1, Path("/none"))
    request = Request(b"POST", b"/v2/models/fraud/infer", {}, True)
    request.body = json.dumps(content).encode()
    response = Application(config, Model(Loaded(two, two, two, "tests"), signature)).handle(request)
    assert isinstance(response, Response)
    return response


def parts(response: Response) -> tuple[Any, bytes]:
    """The JSON, and the bytes after it."""
    lines = dict(line.split(b": ") for line in response.headers.split(b"\r\n") if line)
    length = int(lines[b"inference-header-content-length"])
    assert response.content_type == b"application/octet-stream"
    return json.loads(response.body[:length]), response.body[length:]


def test_all_outputs_are_bytes_after_the_json_where_the_request_says_so() -> None:
    content, raw = parts(infer({"inputs": INPUTS, "parameters": {"binary_data_output": True}}))
    assert content["outputs"] == [
        {"name": "twice", "datatype": "FP64", "shape": [2], "parameters": {"binary_data_size": 16}},
        {"name": "text", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": 11}},
    ]
    number, missing = struct.unpack("<2d", raw[:16])
    assert number == 3.0
    assert np.isnan(missing)
    assert raw[16:] == b"\x01\0\0\0a\x02\0\0\0" + "é".encode()


@pytest.mark.parametrize("default", [False, True])
def test_one_output_may_be_asked_for_otherwise_than_the_rest(default: bool) -> None:
    wanted = [{"name": "text"}, {"name": "twice", "parameters": {"binary_data": not default}}]
    response = infer({"inputs": INPUTS, "outputs": wanted, "parameters": {"binary_data_output": default}})
    content, raw = parts(response)
    assert [("data" in output) for output in content["outputs"]] == [not default, default]
    assert len(raw) == (11 if default else 16)


def test_without_a_word_about_it_the_answer_is_json() -> None:
    response = infer({"inputs": INPUTS, "parameters": {"binary_data_output": False}})
    assert response.content_type == b"application/json"
    assert b"inference-header-content-length" not in response.headers
    assert json.loads(response.body)["outputs"][0]["data"] == [3.0, None]


@pytest.mark.parametrize(
    "content",
    [
        {"parameters": {"binary_data_output": "yes"}},
        {"parameters": [1]},
        {"outputs": [{"name": "text", "parameters": {"binary_data": 1}}]},
        {"outputs": [{"name": "text", "parameters": "binary"}]},
    ],
)
def test_a_wish_that_is_none_is_a_400(content: Mapping[str, Any]) -> None:
    response = infer({"inputs": INPUTS, **content})
    assert response.status == 400
    assert "parameters" in json.loads(response.body)["error"] or "binary_data" in json.loads(response.body)["error"]


def test_a_number_beyond_its_tensors_type_is_refused_and_does_not_become_infinite() -> None:
    spec = TensorSpec("x", "float32", (-1,))
    with pytest.raises(RequestError, match="input 'x' takes float32: a number out of range was sent"):
        array_of(Tensor("x", [1e300, None], (2,), "FP64"), spec)
    assert array_of(Tensor("x", [float("-inf"), None], (2,), "FP64"), spec).tolist()[0] == float("-inf")


def test_a_value_that_its_datatype_cannot_hold_is_the_models_failure() -> None:
    for data, datatype in (([256], "UINT8"), ([1e300], "FP32"), (["a"], "FP64"), ([10**400], "FP64")):
        with pytest.raises(ModelFailure, match=f"not a valid {datatype}"):
            binary.pack(data, datatype)


@pytest.mark.parametrize("length", [b"", b"-1", b"+1", b"9" * 5000, b"7", "٣".encode()])
def test_a_length_that_is_none_is_refused(length: bytes) -> None:
    with pytest.raises(RequestError, match="not a length within the body"):
        binary.split(b"{} 123", length)
