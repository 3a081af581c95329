"""The interface of models for serving, whichever way they predict.

`Predictor` is sufficient. A `RowPredictor` also gets single rows from the fast path: a list in, an array out. Both give
the same answers. Which one is called depends on the request only.
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
    """A model."""

    signature: Signature
    answers: Answers
    seen: list[Output]
    """The outputs of the warm-up. Empty: there was none."""

    def bind(self, payload: Payload, *, exact: bool = False) -> Bound:
        """Returns the rows of a request. Raises RequestError where they do not fit the signature."""
        ...

    def predict(self, bound: Bound, params: Mapping[str, Any] | None = None) -> Answer:
        """Returns the answer. Raises RequestError where a value does not fit, and ModelFailure where the model raised
        or gave an invalid answer."""
        ...


class RowPredictor(Predictor, Protocol):
    """A model that can predict single rows."""

    def predict_row(self, row: Sequence[Any]) -> Any:
        """Returns a NumPy array of shape [1] or [1, k], as `predict` would answer.

        `row` has JSON values for all columns in the order of the signature. Raises RequestError where a value does not
        fit, and ModelFailure.
        """
        ...


def row_predictor(model: Predictor) -> RowPredictor | None:
    """Returns the model, if it can predict single rows. None: it cannot."""
    return cast(RowPredictor, model) if hasattr(model, "predict_row") else None
