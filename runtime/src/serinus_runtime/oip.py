"""The Open Inference Protocol v2 over REST: requests, replies, metadata."""

from __future__ import annotations

from math import prod
from typing import Any, Mapping, NamedTuple, Sequence

from serinus_runtime import binary
from serinus_runtime.errors import RequestError
from serinus_runtime.http1 import Request
from serinus_runtime.outputs import Output, encode
from serinus_runtime.payload import Payload, Tensor, Tensors, read_object
from serinus_runtime.signature import Column, Signature, TensorSpec

DATATYPES = frozenset(
    {"BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES"}
)


class Asked(NamedTuple):
    """One request for predictions. `wanted`: names of the outputs to answer with, empty: all."""

    payload: Payload
    params: Mapping[str, Any] | None = None
    id: str | None = None
    wanted: tuple[str, ...] = ()


class OpenInference:
    exact = True
    """An input that the model does not have is a mistake here."""

    def __init__(self, model: str, version: str) -> None:
        self._head = {"model_name": model, "model_version": version}

    def parse(self, request: Request) -> Asked:
        """RequestError: not a request of the protocol. Without a length of its own header part the body is JSON,
        whatever its Content-Type says: known clients label it wrongly or not at all."""
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
        wanted = content.get("outputs")
        return Asked(Tensors(tensors), None, identity, _wanted(wanted) if wanted else ())

    def reply(self, result: Any, outputs: Sequence[Output], asked: Asked) -> bytes:  # noqa: ARG002
        """RequestError: an output was asked for that the model does not have."""
        if asked.wanted:
            by_name = {output.name: output for output in outputs}
            if not by_name.keys() >= set(asked.wanted):
                raise RequestError(f"an output was asked for that there is not; there are: {', '.join(by_name)}")
            outputs = [by_name[name] for name in asked.wanted]
        return encode(self._content(outputs, asked))

    def fallback(self, score: float, rows: int, name: str, reason: str, asked: Asked) -> bytes:
        content = self._content([Output(name, "FP64", [rows], [score] * rows)], asked)
        content["parameters"] = {"fallback": True, "fallback_reason": reason}
        return encode(content)

    def _content(self, outputs: Sequence[Output], asked: Asked) -> dict[str, Any]:
        content: dict[str, Any] = dict(self._head)
        if asked.id is not None:
            content["id"] = asked.id
        content["outputs"] = [output._asdict() for output in outputs]
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
    if type(shape) is not list or not shape:
        raise RequestError("the shape of an input must be a list of whole numbers")
    for size in shape:
        if type(size) is not int or size < 0:
            raise RequestError("the shape of an input must be a list of whole numbers")
    data = entry.get("data")
    if type(data) is list:
        return Tensor(name, data, tuple(shape), datatype)
    if data is not None or reader is None:
        raise RequestError("the data of an input must be an array")
    parameters = entry.get("parameters")
    length = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    return Tensor(name, reader.take(datatype, prod(shape), length), tuple(shape), datatype)


def _wanted(outputs: Any) -> tuple[str, ...]:
    if not isinstance(outputs, list) or not all(
        isinstance(entry, dict) and isinstance(entry.get("name"), str) for entry in outputs
    ):
        raise RequestError("`outputs` must be a list of objects with a name")
    return tuple(entry["name"] for entry in outputs)


def metadata(model: str, version: str, signature: Signature, seen: Sequence[Output]) -> dict[str, Any]:
    """Of one model. Outputs as the signature declares them, else as the warm-up `seen` them."""
    outputs: list[dict[str, Any]] = [_described(spec, f"output-{i}") for i, spec in enumerate(signature.outputs)]
    if not outputs:
        outputs = [
            {"name": output.name, "datatype": output.datatype, "shape": [-1, *output.shape[1:]]} for output in seen
        ]
    return {
        "name": model,
        "versions": [version],
        "platform": "mlflow_python_function",
        "inputs": [_described(spec, f"input-{i}") for i, spec in enumerate(signature.inputs)],
        "outputs": outputs,
    }


def _described(spec: Column | TensorSpec, unnamed: str) -> dict[str, Any]:
    return {"name": spec.name or unnamed, "datatype": spec.datatype, "shape": list(spec.shape)}
