"""A loaded model: binds requests, predicts, and describes its answers."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Mapping, NamedTuple, Sequence

from serinus_runtime.artifact.loading import Loaded, example_of, load
from serinus_runtime.artifact.signature import Signature, read_mlmodel, signature_of
from serinus_runtime.artifact.traces import at
from serinus_runtime.base.errors import ModelFailure, RequestError, StartFailure
from serinus_runtime.base.libraries import library
from serinus_runtime.model.binding import inputs_of
from serinus_runtime.model.paths import Way, choose, recalled
from serinus_runtime.protocols.invocations import Invocations
from serinus_runtime.values.described import Answers
from serinus_runtime.values.inputs import Bound, ColumnInputs, TableBound
from serinus_runtime.values.outputs import Output, check_rows, joined
from serinus_runtime.values.payload import Payload

_TOGETHER = ". Where the rows of a request are one question, the spec has to say so: serving.rows: together"


class Answer(NamedTuple):
    """An answer. `result` is as the model gave it. `outputs` are the same as tensors, with one row for each row of the
    request."""

    result: Any
    outputs: list[Output]


class Model:
    """A loaded model. Single-threaded: a worker has one."""

    def __init__(
        self,
        loaded: Loaded,
        signature: Signature,
        *,
        one_at_a_time: bool = False,
        protocols: Sequence[str] = (),
        long: bool = False,
        together: bool = False,
    ) -> None:
        """`protocols` are those that must be able to express the answer to the example. `long`: only MLflow's own
        predict is used. `together`: the rows of a request form one question, whose number of answers may differ."""
        self.signature = signature
        self.notes: list[str] = []
        self.warm_up_ms: float | None = None
        self.seen: list[Output] = []
        """The outputs of the warm-up."""
        self._one_at_a_time = one_at_a_time and not together
        self._together = together
        # The faster ways are proven on single rows and other orders, so not for rows that belong together.
        self._long = long or together
        self._protocols = protocols
        self._loaded = self._settled(loaded)
        self._inputs = inputs_of(signature, loaded)
        self._frames = self._inputs.frames if isinstance(self._inputs, ColumnInputs) else None
        self.answers = Answers(signature)
        self._way = Way()
        if not signature.inputs:
            self.notes.append("logged without a signature: callers' columns are not checked")

    @classmethod
    def read(
        cls,
        artifact: Path,
        *,
        one_at_a_time: bool = False,
        score_output: str | None = None,
        protocols: Sequence[str] = (),
        proven: str = "",
        long: bool = False,
        together: bool = False,
    ) -> Model:
        """Loads the model, proves the faster ways and warms up. Raises StartFailure with the reason.

        `proven` is that of another `Model` of the same artifact in the same environment. `long` is that of `Model`.
        """
        mlmodel = read_mlmodel(artifact)
        signature = signature_of(mlmodel)
        loaded = load(artifact, mlmodel)
        try:
            how: Any = {"one_at_a_time": one_at_a_time, "protocols": protocols, "long": long, "together": together}
            model = cls(loaded, signature, **how)
        except ImportError as error:
            raise StartFailure(
                f"the model's signature needs {error.name}; add it to the model's requirements"
            ) from error
        example = example_of(artifact, mlmodel)
        if example is None:
            model.notes.append("no input example that can be sent: not warmed up, no shorter way to predict proven")
        else:
            model.warm_up(example, score_output, proven)
        return model

    def warm_up(self, example: Mapping[str, Any], score_output: str | None = None, proven: str = "") -> None:
        """Raises StartFailure where the model does not answer its own example, or the answer cannot be sent."""
        try:
            bound = self.bind(Invocations(self.signature).parse_object(example).payload)
            whole = not isinstance(bound, TableBound) or bound.frames is self._frames
            if whole and not self.signature.enforced_by_mlflow and not self._long:
                self._way = self._recalled(proven) or choose(self._loaded, bound)
            began = time.perf_counter()
            answer = self.predict(bound)
            self.warm_up_ms = round((time.perf_counter() - began) * 1000, 3)
        except (RequestError, ModelFailure) as error:
            reason = error.__cause__ or error
            hint = _TOGETHER if getattr(error, "code", "") == "wrong-rows" else ""
            raise StartFailure(
                f"the model does not answer its own input example: {_brief(reason)}{at(reason)}{hint}"
            ) from error
        if self._way.note:
            self.notes.append(self._way.note)
        self.answers.check(answer.result, answer.outputs, self._protocols, score_output)
        self.seen = answer.outputs

    def _recalled(self, proven: str) -> Way | None:
        return recalled(self._loaded, self._frames.columns if self._frames else (), proven)

    def _settled(self, loaded: Loaded) -> Loaded:
        """Works around MLflow's treatment of a column name that is false in Python (0, ""), which it takes for a
        position.

        Where another column has that position, its enforcement loses the column. The frame here is enforced already.
        """
        names = [column.name for column in self.signature.columns]
        if None in names or all(name or name == place for place, name in enumerate(names)):
            return loaded
        if self.signature.enforced_by_mlflow:
            raise StartFailure(
                "MLflow cannot tell a column that is named 0 or with an empty text from others at its place; rename it "
                "and log the model again",
                environment=False,
            )
        return loaded._replace(public=loaded.direct)

    @property
    def way(self) -> str:
        """How requests are predicted: `matrix`, `direct` or `mlflow`."""
        return "matrix" if self._way.by_matrix else "direct" if self._way.by_data else "mlflow"

    @property
    def proven(self) -> str:
        """The faster way that is used, for the next worker. Empty: there is none."""
        return self._way.name

    def bind(self, payload: Payload, *, exact: bool = False) -> Bound:
        """Returns the rows of a request. Raises RequestError where they do not fit the signature."""
        return self._inputs.bind(payload, exact=exact)

    def predict(self, bound: Bound, params: Mapping[str, Any] | None = None) -> Answer:
        """Returns the answer. Raises RequestError where a value does not fit, and ModelFailure where the model raised
        or gave an invalid answer."""
        if self._one_at_a_time and len(bound.rows) > 1:
            result = joined([self._call(bound.row(i), params) for i in range(len(bound.rows))])
        else:
            result = self._call(bound, params)
        outputs = self.answers.read(result)
        if not self._together:
            check_rows(outputs, len(bound.rows))
        return Answer(result, outputs)

    def _call(self, bound: Bound, params: Mapping[str, Any] | None) -> Any:
        way = self._way
        partial = isinstance(bound, TableBound) and bound.frames is not self._frames
        if params or partial:
            data = bound.data()
            return _guarded(lambda given: self._public(given, params), data, bound)
        if way.by_matrix is not None and isinstance(bound, TableBound):
            matrix = bound.frames.matrix(bound.rows)
            if matrix is not None:
                return _guarded(way.by_matrix, matrix, bound)
        return _guarded(way.by_data or self._loaded.public, bound.data(), bound)

    def the_long_way(self, bound: Bound, params: Mapping[str, Any] | None = None) -> Any:
        """Returns the result of MLflow's own predict. Raises whatever the model raises."""
        return self._public(bound.data(), params)

    def _public(self, data: Any, params: Mapping[str, Any] | None) -> Any:
        if not params:
            return self._loaded.public(data)
        try:
            return self._loaded.public(data, params=dict(params))
        except library("mlflow.exceptions").MlflowException as error:
            raise RequestError("`params` are not what the model declares") from error


def _guarded(call: Any, data: Any, bound: Bound) -> Any:
    try:
        return call(data)
    except RequestError:
        raise
    except (Exception, SystemExit) as error:
        fault = bound.misfit(error)
        if fault is not None:
            raise fault from error
        # Only the type is used, because the message of a model's exception may contain values of the caller.
        raise ModelFailure(f"the model failed: {type(error).__name__}") from error


def _brief(error: BaseException) -> str:
    """Returns the error with its message. The values of the example are the artifact's own, so they may be shown."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
