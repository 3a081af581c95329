"""Serinus in this process: the very application of a worker, fed with the bytes of whole requests."""

from __future__ import annotations

import json
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from serinus_runtime.base import accelerators
from serinus_runtime.base.config import PROTOCOLS, CacheSettings, Config, Settings
from serinus_runtime.base.errors import ProtocolError, StartFailure
from serinus_runtime.base.messages import Response, error_response
from serinus_runtime.cache.response_cache import response_cache_of
from serinus_runtime.compiling import convert
from serinus_runtime.compiling.graph import Unsupported
from serinus_runtime.http.http1 import Parser
from serinus_runtime.model import compiled
from serinus_runtime.model.model import Model
from serinus_runtime.model.predictor import Predictor
from serinus_runtime.serving.application import Application
from serinus_runtime.trials import prove
from tritonclient.grpc import service_pb2

from fidelity.build import Built
from fidelity.case import Ask, Recipe
from fidelity.forms import MODEL, VERSION, CannotEncode, sent_of
from fidelity.pyfuncs import NOT_BY_TENSORS
from serinus.core.examination import Outcome
from serinus.gates.evidence import ParityEvidence
from serinus.gates.parity import parity

MOST_BODY = 1 << 20
_BUDGET = 0.05
"""Share of the rows that alert, in the gate of parity."""


@dataclass(frozen=True)
class Tensor:
    """An output. `data` is flat, as JSON has it; what is no finite number is None."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any]


@dataclass(frozen=True)
class Reply:
    """`value`: the JSON of `/invocations`; `tensors`: the outputs of the Open Inference Protocol. `crash`: what the
    application raised, which it never should."""

    status: int
    text: str = ""
    value: Any = None
    tensors: list[Tensor] = field(default_factory=list)
    crash: str = ""


def _passed_over(what: object) -> None:
    """Records and notes, which nobody reads here."""
    del what


class Served:
    """One model as one worker has it. `way`, `within`: how it predicts."""

    def __init__(
        self, model: Predictor, built: Built, way: str, *, protocols: Sequence[str] = PROTOCOLS, together: bool = False
    ) -> None:
        self.way = self.within = way
        self.by_tensors = "open-inference" in protocols
        settings = Settings(
            cache=CacheSettings(1 << 20, 3600.0) if built.recipe.cached else None,
            protocols=protocols,
            rows="together" if together else "each",
        )
        config = Config("fuzzed-1-abc", MODEL, VERSION, built.artifact, 0, 0, built.artifact, settings)
        cache = response_cache_of(config, model.signature, _passed_over)
        self._application = Application(config, model, _passed_over, cache=cache)
        self._orjson = built.recipe.orjson
        self.described: dict[str, Any] = self.get(f"/v2/models/{MODEL}")

    def get(self, path: str) -> dict[str, Any]:
        reply = self._exchange(f"GET {path} HTTP/1.1\r\nhost: models\r\n\r\n".encode())
        return json.loads(reply.body)  # type: ignore[no-any-return]

    def ask(self, request: bytes) -> Reply:
        """`request`: head and body."""
        try:
            response = self._exchange(request)
        except Exception:  # noqa: BLE001  what it is does not matter: an application never raises
            return Reply(500, crash=traceback.format_exc(limit=-4))
        sent = response.encode(False)
        head, _, body = sent.partition(b"\r\n\r\n")
        return read_reply(response.status, head, response.body if b"application/grpc" in head else body)

    def _exchange(self, request: bytes) -> Response:
        accelerators.find() if self._orjson else accelerators.forget()
        parser = Parser(MOST_BODY)
        parser.feed(request)
        try:
            parsed = parser.next_request()
        except ProtocolError as error:
            return error_response(error.status, str(error))
        if parsed is None:
            raise ValueError("the request is not whole")
        response = self._application.handle(parsed)
        if not isinstance(response, Response):
            raise TypeError("an answer for later from a model without batches")
        return response


def read_reply(status: int, head: bytes, body: bytes) -> Reply:
    """Of a response. `head`: its lines; `body`: without a transfer coding."""
    return _grpc(head, body) if b"application/grpc" in head else _rest(status, head, body)


def _rest(status: int, head: bytes, body: bytes) -> Reply:
    text = body.decode("utf-8", "replace")
    lines = head.lower().split(b"\r\n")
    lengths = [int(line.split(b":")[1]) for line in lines if line.startswith(b"inference-header-content-length")]
    content = json.loads(body[: lengths[0]] if lengths else body)
    if status != 200 or "outputs" not in content:
        return Reply(status, text[:2000], content)
    at = lengths[0] if lengths else 0
    tensors = []
    for output in content["outputs"]:
        data = output.get("data")
        if data is None:
            size = output["parameters"]["binary_data_size"]
            data = _unpacked(body[at : at + size], output["datatype"])
            at += size
        tensors.append(Tensor(output["name"], output["datatype"], output["shape"], data))
    return Reply(status, text[:2000], None, tensors)


def _unpacked(raw: bytes, datatype: str) -> list[Any]:
    if datatype == "BYTES":
        values = []
        while raw:
            size = int.from_bytes(raw[:4], "little")
            values.append(raw[4 : 4 + size].decode("utf-8", "replace"))
            raw = raw[4 + size :]
        return values
    dtype = {"BOOL": "?"}.get(
        datatype
    ) or f"<{'f' if datatype[0] == 'F' else datatype[0].lower()}{int(datatype.strip('UINTFP')) // 8}"
    return finite(np.frombuffer(raw, dtype=dtype).tolist())


def _grpc(head: bytes, body: bytes) -> Reply:
    """The status as HTTP has it."""
    lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    code = int(lines.get(b"grpc-status", b"0"))
    if code:
        status = {3: 400, 5: 404, 8: 413, 12: 415, 13: 500, 14: 503, 4: 504}.get(code, 500)
        return Reply(status, lines.get(b"grpc-message", b"").decode())
    message = service_pb2.ModelInferResponse.FromString(body[5:])
    tensors = []
    for i, output in enumerate(message.outputs):
        if message.raw_output_contents:
            data = _unpacked(message.raw_output_contents[i], output.datatype)
        else:
            [(_, values)] = [(part, values) for part, values in output.contents.ListFields()] or [(None, [])]
            data = [value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in values]
        tensors.append(Tensor(output.name, output.datatype, list(output.shape), finite(data)))
    return Reply(200, str(message)[:2000], None, tensors)


def finite(values: list[Any]) -> list[Any]:
    return [None if isinstance(value, float) and value - value != 0 else value for value in values]


def long_way(built: Built) -> Served:
    """The model as its own environment serves it, by whichever way it proved. Raises StartFailure."""
    return _checked(built, declared_protocols(built))


def together_way(built: Built) -> Served:
    """The same with `rows: together`, by MLflow's protocol alone. Raises StartFailure."""
    return _checked(built, ("invocations",), together=True)


def declared_protocols(built: Built) -> Sequence[str]:
    """What the author of the model has to write into its spec."""
    return ("invocations",) if built.recipe.answer in NOT_BY_TENSORS else PROTOCOLS


def _checked(built: Built, protocols: Sequence[str], *, together: bool = False) -> Served:
    try:
        model = Model.read(built.artifact, protocols=protocols, together=together)
        served = Served(model, built, model.way, protocols=protocols, together=together)
        if not together:
            _ask_first(served, built)
        return served
    except StartFailure:
        raise
    except Exception as error:
        raise StartFailure(f"the worker fails at its start: {type(error).__name__}: {error}") from error


def _first_forms(recipe: Recipe) -> Sequence[str]:
    if recipe.tensors or recipe.hinted:
        return ("inputs",) if recipe.names == [None] else ("inputs of columns",)
    return ("dataframe_split without names",) if recipe.names[:1] == [None] else ("dataframe_split",)


def _ask_first(served: Served, built: Built) -> None:
    """What the gates do before any traffic. Raises StartFailure where the answer is none for each row."""
    recipe = built.recipe
    rows = tuple(map(tuple, built.rows[:3]))
    for form in _first_forms(recipe):
        try:
            reply = served.ask(sent_of(recipe, Ask(form, tuple(recipe.names), rows)).encode())
        except CannotEncode:
            continue
        if reply.status == 500 and "the model answered" in reply.text:
            raise StartFailure(reply.text)


def compiled_way(built: Built, directory: Path) -> Served:
    """The graph that stands for it. Raises StartFailure with the reason where there is none."""
    names = [spec.get("name") for spec in built.recipe.inputs]
    sent: Mapping[str, Any] = {"columns": names, "rows": built.rows}
    try:
        convert.convert(built.artifact, sent, directory)
    except Unsupported as error:
        raise StartFailure(f"{error} cannot be compiled") from error
    except (Exception, SystemExit) as error:
        raise StartFailure(f"a model that could not be read ({type(error).__name__}: {error})") from error
    evidence = ParityEvidence.from_json(prove.prove(directory, built.artifact), threshold=None, budget=_BUDGET)
    result = parity(evidence)
    if result.outcome is not Outcome.PASS:
        raise StartFailure(f"the gate of parity: {result.summary}")
    return Served(compiled.read(directory, built.artifact), built, compiled.WAY)
