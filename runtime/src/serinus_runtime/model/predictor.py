"""What serving asks of a model, whichever way it predicts.

`Predictor` is all that is needed. One that is also a `RowPredictor` is asked for single rows by the fast path: a list
in, an array out, with nothing built in between. Both answer the same; which of them is called depends only on what
the caller sent.
"""

from __future__ import annotations

from typing import Any, Mapping, Protocol, Sequence, cast

from serinus_runtime.artifact.signature import Signature
from serinus_runtime.model.model import Answer
from serinus_runtime.values.described import Answers
from serinus_runtime.values.inputs import Bound
from serinus_runtime.values.outputs import Output
from serinus_runtime.values.payload import Payload


class Predictor(Protocol):
    signature: Signature
    answers: Answers
    seen: list[Output]
    """The outputs of the warm-up; empty where there was none."""

    def bind(self, payload: Payload, *, exact: bool = False) -> Bound:
        """RequestError: it does not fit the signature."""
        ...

    def predict(self, bound: Bound, params: Mapping[str, Any] | None = None) -> Answer:
        """RequestError: a value does not fit; ModelFailure: the model raised, or answered what is no answer."""
        ...


class RowPredictor(Predictor, Protocol):
    def predict_row(self, row: Sequence[Any]) -> Any:
        """A numpy array of shape [1] or [1, k], as `predict` would answer.

        `row`: JSON values in the order of the signature, all of its columns. RequestError: a value does not fit;
        ModelFailure.
        """
        ...


def row_predictor(model: Predictor) -> RowPredictor | None:
    """The same model, where it can predict single rows."""
    return cast(RowPredictor, model) if hasattr(model, "predict_row") else None
