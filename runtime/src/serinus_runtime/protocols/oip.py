"""The Open Inference Protocol v2 over REST: requests, responses and metadata."""

from __future__ import annotations

from math import prod
from typing import Any, Mapping, NamedTuple, Sequence

from serinus_runtime.artifact.signature import Column, Param, Signature, TensorSpec
from serinus_runtime.base.errors import RequestError
from serinus_runtime.base.messages import Request, Response, error_response
from serinus_runtime.protocols import binary
from serinus_runtime.values.described import Described, check_sendable
from serinus_runtime.values.outputs import Output, encode
from serinus_runtime.values.parameters import check_tensor_parameters, params_of
from serinus_runtime.values.payload import Payload, Tensor, Tensors, read_object
from serinus_runtime.values.shapes import check_shape

DATATYPES = frozenset(
    {"BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES"}
)


_ONE = (1,)


class Wanted(NamedTuple):
    """The outputs that were requested, and their format. `names` empty: all. `raw`: as bytes, except `exceptions`."""

    names: tuple[str, ...] = ()
    raw: bool = False
    exceptions: frozenset[str] = frozenset()


_ALL = Wanted()


class Asked(NamedTuple):
    """A request for predictions in any protocol."""

    payload: Payload
    params: Mapping[str, Any] | None = None
    id: str | None = None
    wanted: Wanted = _ALL


class OpenInference:
    """The protocol for one model."""

    exact = True
    """Unknown inputs are errors."""

    def __init__(self, model: str, version: str, params: Sequence[Param] = ()) -> None:
        """`params` are those that the model declares."""
        self._params = params
        self._head = {"model_name": model, "model_version": version}

    def parse(self, request: Request) -> Asked:
        """Parses a request. Raises RequestError. Without a header with the length of the JSON part, the body is JSON
        whatever its Content-Type, because known clients send a wrong one or none."""
        length = request.headers.get(b"inference-header-content-length")
        body, raw = (request.body, None) if length is None else binary.split(request.body, length)
        content = read_object(body)
        inputs = content.get("inputs")
        if not isinstance(inputs, list) or not inputs:
            raise RequestError("`inputs` must be a list of tensors with name, shape, datatype and data")
        reader = None if raw is None else binary.Reader(raw)
        tensors = tuple([_tensor(entry, reader) for entry in inputs])
        if reader is not None:
            reader.check_end()
        identity = content.get("id")
        if identity is not None and not isinstance(identity, str):
            raise RequestError("`id` must be a string")
        wanted, parameters = content.get("outputs"), content.get("parameters")
        if wanted is not None or parameters is not None:
            if parameters is not None and not isinstance(parameters, dict):
                raise RequestError("`parameters` must be an object")
            parameters = parameters or {}
            params = params_of(parameters, self._params)
            return Asked(Tensors(tensors), params, identity, _wanted([] if wanted is None else wanted, parameters))
        return Asked(Tensors(tensors), None, identity)

    def reply(self, result: Any, outputs: Sequence[Output], asked: Asked, head: bytes) -> Response:  # noqa: ARG002
        """Returns the response. Raises RequestError where an unknown output was requested, or a missing value as bytes,
        and ModelFailure where tensors cannot express an output."""
        wanted = asked.wanted
        outputs = chosen(outputs, wanted.names)
        check_sendable(outputs)
        if wanted.raw or wanted.exceptions:
            return self._with_bytes(outputs, asked, head)
        return Response(200, encode(self._content(outputs, asked)), head)

    def _with_bytes(self, outputs: Sequence[Output], asked: Asked, head: bytes) -> Response:
        """Returns the response with the outputs as bytes after the JSON."""
        content, wanted, parts = self._content(outputs, asked), asked.wanted, []
        for output, entry in zip(outputs, content["outputs"]):
            if wanted.raw != (output.name in wanted.exceptions):
                binary.check_present(output)
                parts.append(binary.pack(entry.pop("data"), output.datatype))
                entry["parameters"] = {"binary_data_size": len(parts[-1])}
        text = encode(content)
        if not parts:
            return Response(200, text, head)
        length = b"inference-header-content-length: %d\r\n" % len(text)
        return Response(200, b"".join([text, *parts]), head + length, b"application/octet-stream")

    def around(self, output: Output, asked: Asked) -> tuple[bytes, bytes] | None:
        """Returns the response before and after the values, where it has this one output. None: it cannot be divided
        like that."""
        if asked.wanted.names not in ((), (output.name,)):
            return None
        text = encode(self._content([output._replace(data=[])], asked))
        before, empty, after = text.rpartition(b"[]")
        return (before, after) if empty else None

    def fallback(self, output: Output, reason: str, asked: Asked, head: bytes) -> Response:
        content = self._content([output], asked)
        content["parameters"] = {"fallback": True, "fallback_reason": reason}
        return Response(200, encode(content), head)

    def error(self, status: int, message: str, head: bytes) -> Response:
        return error_response(status, message, head)

    def _content(self, outputs: Sequence[Output], asked: Asked) -> dict[str, Any]:
        content: dict[str, Any] = dict(self._head)
        if asked.id is not None:
            content["id"] = asked.id
        content["outputs"] = [
            {"name": output.name, "datatype": output.datatype, "shape": output.shape, "data": output.data}
            for output in outputs
        ]
        return content


def _tensor(entry: Any, reader: binary.Reader | None) -> Tensor:
    try:
        name, datatype, shape = entry["name"], entry["datatype"], entry["shape"]
    except (TypeError, KeyError) as error:
        raise RequestError("each input must have name, shape, datatype and data") from error
    if type(name) is not str:
        raise RequestError("the name of an input must be a string")
    if type(datatype) is not str or datatype not in DATATYPES:
        raise RequestError(f"the datatype of an input must be one of {', '.join(sorted(DATATYPES))}")
    if type(shape) is not list:
        raise RequestError("the shape of an input must be a list of whole numbers")
    sizes = _ONE if shape == [1] and type(shape[0]) is int else check_shape(shape)
    data, parameters = entry.get("data"), entry.get("parameters")
    if parameters is not None:
        parameters = check_tensor_parameters(parameters)
    if type(data) is list:
        return Tensor(name, data, sizes, datatype)
    if data is not None or reader is None:
        raise RequestError("the data of an input must be an array")
    length = (parameters or {}).get("binary_data_size")
    return Tensor(name, reader.take(datatype, prod(sizes), length), sizes, datatype)


def _wanted(outputs: Any, parameters: Any) -> Wanted:
    if not isinstance(outputs, list) or not all(
        isinstance(entry, dict) and isinstance(entry.get("name"), str) for entry in outputs
    ):
        raise RequestError("`outputs` must be a list of objects with a name")
    raw = _flag(parameters, "binary_data_output", False)
    flags = [_flag(entry.get("parameters"), "binary_data", raw) for entry in outputs]
    names = tuple(entry["name"] for entry in outputs)
    return Wanted(names, raw, frozenset(name for name, flag in zip(names, flags) if flag != raw))


def _flag(parameters: Any, name: str, default: bool) -> bool:
    if parameters is None:
        return default
    if not isinstance(parameters, dict):
        raise RequestError("the `parameters` of an output must be an object")
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise RequestError(f"`{name}` must be true or false")
    return value


def chosen(outputs: Sequence[Output], wanted: Sequence[str]) -> Sequence[Output]:
    """Returns the requested outputs. Raises RequestError where one does not exist."""
    if not wanted:
        return outputs
    by_name = {output.name: output for output in outputs}
    if not by_name.keys() >= set(wanted):
        raise RequestError(f"an unknown output was requested; the outputs are: {', '.join(by_name)}")
    return [by_name[name] for name in wanted]


def metadata(model: str, version: str, signature: Signature, outputs: Sequence[Described]) -> dict[str, Any]:
    """Returns the metadata of a model."""
    return {
        "name": model,
        "versions": [version],
        "platform": "mlflow_python_function",
        "inputs": [_described(spec, f"input-{i}") for i, spec in enumerate(signature.inputs)],
        "outputs": [{**output._asdict(), "shape": list(output.shape)} for output in outputs],
    }


def _described(spec: Column | TensorSpec, unnamed: str) -> dict[str, Any]:
    return {"name": unnamed if spec.name is None else spec.label, "datatype": spec.datatype, "shape": list(spec.shape)}
