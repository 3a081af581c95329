"""What MLflow answers: its own scoring code, in this interpreter, on a model that it has loaded itself."""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import scoring_server

from fidelity.forms import Sent


class Verdict(Enum):
    ANSWERED = "answered"
    REFUSED = "refused"
    """Before the model was asked: 4xx, or a failure of MLflow's own on what was sent."""
    RAISED = "raised"
    """By the model."""
    UNWRITABLE = "unwritable"
    """The model answered what MLflow's server cannot write."""


@dataclass(frozen=True)
class Answer:
    """`value`: the answer's JSON, NaN and infinities as floats. `dtypes`: of the outputs by name, where the model
    answered arrays or a DataFrame; the name is None for an array."""

    verdict: Verdict
    text: str = ""
    value: Any = None
    dtypes: dict[str | None, str] | None = None


class _RefusedError(Exception):
    """By MLflow's server, with its words."""


class Oracle:
    def __init__(self, artifact: Path) -> None:
        self._model = _Watched(mlflow.pyfunc.load_model(str(artifact), suppress_warnings=True))
        self._schema = self._model.metadata.get_input_schema()

    def ask(self, sent: Sent) -> Answer:
        """`sent`: to `/invocations`."""

        def call() -> str:
            answer = scoring_server.invocations(  # type: ignore[no-untyped-call]
                sent.body, sent.content_type, self._model, self._schema
            )
            if answer.status != 200:
                raise _RefusedError(answer.response)
            return str(answer.response)

        return self._answered(call)

    def predict(self, make: Callable[[], Any], params: Any = None) -> Answer:
        """To the input that `make` gives, by MLflow's `predict`, written as its server writes it. What `make` raises is
        a refusal."""

        def call() -> str:
            text = io.StringIO()
            scoring_server.predictions_to_json(self._model.predict(make(), params), text)  # type: ignore[no-untyped-call]
            return text.getvalue()

        return self._answered(call)

    def _answered(self, call: Callable[[], str]) -> Answer:
        model = self._model
        model.reached, model.answered, model.result = False, False, None
        try:
            text = call()
        except _RefusedError as error:
            return Answer(Verdict.REFUSED, str(error))
        except (Exception, SystemExit) as error:  # noqa: BLE001  whatever it is, it is no answer
            return Answer(self._refusal(error), f"{type(error).__name__}: {str(error)[:500]}")
        value = json.loads(text)
        if not isinstance(value, dict) or "predictions" not in value:
            return Answer(Verdict.REFUSED, "an answer without `predictions`, to a body in the form of language models")
        return Answer(Verdict.ANSWERED, text[:2000], value["predictions"], _dtypes(model.result))

    def _refusal(self, error: BaseException) -> Verdict:
        if self._model.answered:
            return Verdict.UNWRITABLE
        schema = isinstance(error, MlflowException) and "unexpected error while evaluating" not in str(error)
        return Verdict.RAISED if self._model.reached and not schema else Verdict.REFUSED


class _Watched:
    """MLflow's model, with a note of how far a request came. `reached`: the model's own predict was called; `answered`:
    it returned."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.metadata = model.metadata
        self.reached = False
        self.result: Any = None
        self.answered = False
        inner = model._predict_fn

        @functools.wraps(inner)
        def predict_fn(*given: Any, **named: Any) -> Any:
            self.reached = True
            return inner(*given, **named)

        model._predict_fn = predict_fn

    def predict(self, data: Any, params: Any = None) -> Any:
        self.result = self._model.predict(data, params=params)
        self.answered = True
        return self.result


def _dtypes(result: Any) -> dict[str | None, str] | None:
    if isinstance(result, pd.DataFrame):
        return {str(name): str(dtype) for name, dtype in zip(result.columns, result.dtypes, strict=True)}
    if isinstance(result, pd.Series):
        return {None: str(result.dtype)}
    if isinstance(result, np.ndarray):
        return {None: str(result.dtype)}
    return None
