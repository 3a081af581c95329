"""A compiled model: the graph that stands for a model whose decisions it was proven to make.

Offers what `serinus_runtime.model.model.Model` offers, without any of the model's libraries. The directory holds what
`serinus_runtime.compiling.convert` wrote: `model.onnx`, `plan.json` and `MLmodel`, as JSON.
"""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any, Mapping, Sequence

from serinus_runtime.artifact.loading import example_of
from serinus_runtime.artifact.signature import Signature, read_mlmodel, signature_of
from serinus_runtime.base.errors import ModelFailure, RequestError, StartFailure
from serinus_runtime.base.libraries import library
from serinus_runtime.model.model import Answer
from serinus_runtime.protocols.invocations import Invocations
from serinus_runtime.values.described import Answers
from serinus_runtime.values.features import Encoder, Feature, completed
from serinus_runtime.values.inputs import Bound, ColumnInputs, TableBound
from serinus_runtime.values.outputs import Output
from serinus_runtime.values.payload import Payload, Rows

WAY = "onnx"
FILES = ("MLmodel", "model.onnx", "plan.json")


class Damaged(StartFailure):
    """The files are not those that were proven."""


def digest_of(directory: Path) -> str:
    """sha256 over those of `FILES`, in hex. OSError."""
    parts = [hashlib.sha256((directory / name).read_bytes()).digest() for name in FILES]
    return hashlib.sha256(b"".join(parts)).hexdigest()


class CompiledModel:
    """Not for several threads: a worker has one. `signature`, `seen`, `notes`, `warm_up_ms`, `way`, `proven`: as of
    `Model`."""

    def __init__(
        self,
        graph: bytes,
        plan: Mapping[str, Any],
        signature: Signature,
        *,
        one_at_a_time: bool = False,
        protocols: Sequence[str] = (),
    ) -> None:
        self.signature = signature
        self.notes: list[str] = []
        self.warm_up_ms: float | None = None
        self.seen: list[Output] = []
        self.way = WAY
        self.proven = ""
        self._inputs = ColumnInputs(signature)
        self.answers = Answers(signature)
        self._one_at_a_time = one_at_a_time
        self._protocols = protocols
        self._features = [Feature.of(part, column) for part, column in zip(plan["columns"], signature.columns)]
        self._encoder = Encoder(self._features)
        self._session = _session(graph)
        self._bind_one_row()

    def _bind_one_row(self) -> None:
        """One row's memory in and out is bound once, so that a prediction allocates nothing but its answer."""
        given, answered = self._session.get_inputs()[0], self._session.get_outputs()[0]
        self._input, self._output = given.name, [answered.name]
        numpy, row = library("numpy"), self._encoder.row
        shape = (1, *answered.shape[1:])
        self._answer = numpy.zeros(shape, dtype=_DTYPES[answered.type])
        self._binding = self._session.io_binding()
        self._binding.bind_input(self._input, "cpu", 0, row.dtype, row.shape, row.ctypes.data)
        self._binding.bind_output(answered.name, "cpu", 0, self._answer.dtype, shape, self._answer.ctypes.data)
        self._run_bound = self._session.run_with_iobinding

    def bind(self, payload: Payload, *, exact: bool = False) -> Bound:
        """RequestError: it does not fit the signature."""
        return self._inputs.bind(payload, exact=exact)

    def predict(self, bound: Bound, params: Mapping[str, Any] | None = None) -> Answer:  # noqa: ARG002  it has none
        """RequestError: a value does not fit; ModelFailure: the original refuses it."""
        rows: Rows = bound.rows
        if isinstance(bound, TableBound) and bound.frames is not self._inputs.frames:
            rows = completed(self._features, bound.frames.columns, rows)
        result = self.predict_rows(rows)
        return Answer(result, self.answers.read(result))

    def predict_rows(self, rows: Rows) -> Any:
        """The same for rows in the signature's order: an array of what the original answers, a row each."""
        if len(rows) == 1:
            return self.predict_row(rows[0])
        if self._one_at_a_time:
            return library("numpy").concatenate([self.predict_row(row) for row in rows])
        return self._run(self._encoder.matrix(rows))

    def predict_row(self, row: Sequence[Any]) -> Any:
        """Of one row: [1] or [1, n]."""
        if not self._encoder.encode(row):
            return self._run(self._encoder.matrix([list(row)]))
        self._run_bound(self._binding)
        return self._answer.copy()

    def _run(self, matrix: Any) -> Any:
        return self._session.run(self._output, {self._input: matrix})[0]

    def warm_up(self, example: Mapping[str, Any], score_output: str | None = None) -> None:
        """StartFailure: it does not answer the model's own example, or with what cannot be sent."""
        try:
            bound = self.bind(Invocations(self.signature).parse_object(example).payload)
            began = time.perf_counter()
            answer = self.predict(bound)
            self.warm_up_ms = round((time.perf_counter() - began) * 1000, 3)
        except (RequestError, ModelFailure) as error:
            raise StartFailure(f"the compiled model does not answer the model's own input example: {error}") from error
        self.answers.check(answer.result, answer.outputs, self._protocols, score_output)
        self.seen = answer.outputs


_DTYPES = {"tensor(float)": "float32", "tensor(double)": "float64", "tensor(int64)": "int64",
           "tensor(int32)": "int32", "tensor(bool)": "bool"}  # fmt: skip


def _session(graph: bytes) -> Any:
    """One thread, and no memory that is kept for later: many models share the machine."""
    runtime = library("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no class in common; the graph holds nothing of a caller's
        raise StartFailure(f"ONNX Runtime does not load the compiled model: {error}") from error


def _check(directory: Path, digest: str) -> None:
    try:
        found = digest_of(directory)
    except OSError as error:
        raise Damaged(f"a file of the compiled model cannot be read: {error.strerror}") from error
    if found != digest:
        raise Damaged("the files of the compiled model are not those that were proven")


def read(
    directory: Path,
    artifact: Path,
    *,
    digest: str | None = None,
    one_at_a_time: bool = False,
    score_output: str | None = None,
    protocols: Sequence[str] = (),
) -> CompiledModel:
    """Loads and warms up with the artifact's input example. StartFailure says in words what does not work; Damaged:
    the files are gone or do not have `digest`."""
    if digest is not None:
        _check(directory, digest)
    try:
        graph = (directory / "model.onnx").read_bytes()
        plan = json.loads((directory / "plan.json").read_text(encoding="utf-8"))
        mlmodel = read_mlmodel(directory)
        model = CompiledModel(graph, plan, signature_of(mlmodel), one_at_a_time=one_at_a_time, protocols=protocols)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise StartFailure(f"the compiled model cannot be read: {type(error).__name__}") from error
    example = example_of(artifact, mlmodel)
    if example is None:
        model.notes.append("no input example that can be sent: not warmed up")
    else:
        model.warm_up(example, score_output)
    return model
