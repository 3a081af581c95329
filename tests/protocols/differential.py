"""One artifact, asked by MLflow's own scoring code and by a worker's application in this process."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import mlflow
import numpy
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.model import PythonModel
from mlflow.pyfunc.scoring_server import invocations
from serinus_runtime.base.config import Config
from serinus_runtime.base.messages import Request, Response
from serinus_runtime.model.model import Model
from serinus_runtime.protocols.binary import unpack
from serinus_runtime.serving.application import Application
from tritonclient.grpc import service_pb2

_CONTENTS = {"FP64": "fp64_contents", "FP32": "fp32_contents", "INT64": "int64_contents", "INT32": "int_contents",
             "INT16": "int_contents", "INT8": "int_contents", "UINT8": "uint_contents", "UINT16": "uint_contents",
             "UINT32": "uint_contents", "UINT64": "uint64_contents", "BOOL": "bool_contents",
             "BYTES": "bytes_contents"}  # fmt: skip


class Told(NamedTuple):
    """`answer`: the predictions, or of an error its words."""

    status: int
    answer: Any


class Pair:
    """MLflow and Serinus, with the same model."""

    def __init__(self, artifact: Path) -> None:
        self._mlflow = mlflow.pyfunc.load_model(str(artifact))
        self.model = Model.read(artifact)
        config = Config("m-1-abc", "m", "1", artifact, -1, -1, artifact)
        self._application = Application(config, self.model, lambda *_: None)

    def mlflow(self, body: Any, kind: str = "application/json") -> Told:
        schema = self._mlflow.metadata.get_input_schema()
        try:
            told = invocations(body if isinstance(body, str) else json.dumps(body), kind, self._mlflow, schema)
        except MlflowException as error:
            return Told(error.get_http_status_code(), error.message)
        return Told(told.status, json.loads(told.response)["predictions"] if told.status == 200 else told.response)

    def invoke(self, body: Any, kind: str = "application/json") -> Told:
        response = self._post(b"/invocations", body, {b"content-type": kind.encode()})
        content = json.loads(response.body)
        return Told(response.status, content["predictions"] if response.status == 200 else content["error"])

    def infer(self, inputs: Sequence[Mapping[str, Any]], **more: Any) -> Told:
        """The first output's values."""
        response = self._post(b"/v2/models/m/infer", {"inputs": inputs, **more}, {})
        content = json.loads(response.body)
        return Told(response.status, content["outputs"][0]["data"] if response.status == 200 else content["error"])

    def grpc(self, inputs: Sequence[Mapping[str, Any]], **parameters: Any) -> Told:
        message = service_pb2.ModelInferRequest(model_name="m")
        for name, value in parameters.items():
            kind = {bool: "bool_param", int: "int64_param", float: "double_param"}.get(type(value), "string_param")
            setattr(message.parameters[name], kind, value)
        for given in inputs:
            entry = message.inputs.add(name=given["name"], datatype=given["datatype"], shape=given["shape"])
            if given["datatype"] not in _CONTENTS:
                message.raw_input_contents.append(numpy.array(given["data"], "<f2").tobytes())
                continue
            values = [value.encode() if isinstance(value, str) else value for value in given["data"]]
            getattr(entry.contents, _CONTENTS[given["datatype"]]).extend(values)
        body = message.SerializeToString()
        response = self._post(
            b"/inference.GRPCInferenceService/ModelInfer", struct.pack(">BI", 0, len(body)) + body, {}
        )
        if b"grpc-message: " in response.headers:
            assert b"grpc-status: 3\r\n" in response.headers, response.headers
            return Told(400, response.headers.decode())
        answered = service_pb2.ModelInferResponse.FromString(response.body[5:])
        output = answered.outputs[0]
        if answered.raw_output_contents:
            return Told(200, unpack(answered.raw_output_contents[0], output.datatype, len(inputs[0]["data"])))
        return Told(200, [v.decode() if isinstance(v, bytes) else v for v in
                          getattr(output.contents, _CONTENTS[output.datatype])])  # fmt: skip

    def get(self, path: str) -> bytes:
        response = self._application.handle(Request(b"GET", path.encode(), {}, True))
        assert isinstance(response, Response)
        return response.body

    def _post(self, path: bytes, body: Any, headers: dict[bytes, bytes]) -> Response:
        request = Request(b"POST", path, headers, True)
        request.body = (
            body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
        )
        response = self._application.handle(request)
        assert isinstance(response, Response)
        return response


class Echo(PythonModel):
    """Answers what it was given: one text for each row, with the types that a model could notice."""

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        return [f"{row}{params or ''}" for row in described(model_input)]


def described(data: Any) -> list[str]:
    if hasattr(data, "iloc"):
        heads = [f"{name!r}:{kind}" for name, kind in zip(data.columns, data.dtypes, strict=True)]
        rows = [[data.iloc[i, j] for j in range(data.shape[1])] for i in range(len(data))]
        return [" ".join(f"{head}={value_of(value)}" for head, value in zip(heads, row, strict=True)) for row in rows]
    if isinstance(data, dict):
        parts = {name: described(part) for name, part in data.items()}
        return [
            " ".join(f"{name!r}={part[i]}" for name, part in parts.items())
            for i in range(min(map(len, parts.values())))
        ]
    if hasattr(data, "dtype"):
        rows = list(data) if data.ndim else [data]
        kind = data.dtype.kind if data.dtype.kind == "U" else data.dtype
        return [f"{kind}{data.shape[1:]} {value_of(row)}" for row in rows]
    return [f"{type(row).__name__} {value_of(row)}" for row in data]


def value_of(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {value_of(part)}" for name, part in sorted(value.items())) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(value_of, value)) + "]"
    if hasattr(value, "tolist"):
        return value_of(value.tolist())
    return "null" if value is None or value != value else f"{type(value).__name__}({value!r})"
