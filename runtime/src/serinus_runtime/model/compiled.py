"""A compiled model: the graph that replaces a model whose decisions it was proven to make.

It has the interface of `serinus_runtime.model.model.Model`, and needs none of the model's libraries. The directory has
the files of `serinus_runtime.compiling.convert`: `model.onnx`, `plan.json` and `MLmodel`, as JSON.
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
    """Returns the SHA-256 over those of `FILES`, in hexadecimal. Raises OSError."""
    parts = [hashlib.sha256((directory / name).read_bytes()).digest() for name in FILES]
    return hashlib.sha256(b"".join(parts)).hexdigest()


class CompiledModel:
    """Single-threaded: a worker has one. `signature`, `seen`, `notes`, `warm_up_ms`, `way` and `proven` are those of
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
        """Binds the memory of one row once, so that a prediction only allocates its answer."""
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
        """Returns the rows of a request. Raises RequestError where they do not fit the signature."""
        return self._inputs.bind(payload, exact=exact)

    def predict(self, bound: Bound, params: Mapping[str, Any] | None = None) -> Answer:  # noqa: ARG002  it has none
        """Returns the answer. Raises RequestError where a value does not fit, and ModelFailure where the original
        refuses it."""
        rows: Rows = bound.rows
        if isinstance(bound, TableBound) and bound.frames is not self._inputs.frames:
            rows = completed(self._features, bound.frames.columns, rows)
        result = self.predict_rows(rows)
        return Answer(result, self.answers.read(result))

    def predict_rows(self, rows: Rows) -> Any:
        """Returns the original's answers to rows in the signature's order, as an array with one row for each."""
        if len(rows) == 1:
            return self.predict_row(rows[0])
        if self._one_at_a_time:
            return library("numpy").concatenate([self.predict_row(row) for row in rows])
        return self._run(self._encoder.matrix(rows))

    def predict_row(self, row: Sequence[Any]) -> Any:
        """Returns the answer to one row: [1] or [1, n]."""
        if not self._encoder.encode(row):
            return self._run(self._encoder.matrix([list(row)]))
        self._run_bound(self._binding)
        return self._answer.copy()

    def _run(self, matrix: Any) -> Any:
        return self._session.run(self._output, {self._input: matrix})[0]

    def warm_up(self, example: Mapping[str, Any], score_output: str | None = None) -> None:
        """Raises StartFailure where it does not answer the model's own example, or the answer cannot be sent."""
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
    """Returns a session with one thread and without a memory arena, because many models share the machine."""
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
    except Exception as error:  # Its exceptions have no common class. The graph contains no values of callers.
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
    """Loads the model and warms it up with the artifact's input example.

    Raises StartFailure with the reason, and Damaged where files are missing or do not have `digest`.
    """
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
