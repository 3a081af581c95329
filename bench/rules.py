"""A model of custom Python, which nothing compiles: rules and a running hash over one row at a time."""

from __future__ import annotations

import math
from typing import Any

import mlflow
from mlflow.pyfunc import PythonModel  # type: ignore[attr-defined]


class Rules(PythonModel):
    """Scores rows one by one, as hand-written rules do."""

    # mlflow reads type hints as a schema
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # noqa: ARG002
        return [self._score(row) for row in model_input.to_numpy().tolist()]

    @staticmethod
    def _score(row: list[Any]) -> float:
        total, state = 0.0, 17
        for index, value in enumerate(row):
            number = value if isinstance(value, float) else float(len(str(value)))
            if number != number:
                number = 0.0
            state = (state * 31 + int(number * 1000)) & 0xFFFF
            total += math.tanh(number / (index + 1)) * ((state & 7) - 3)
        return 1 / (1 + math.exp(-total / 10))


mlflow.models.set_model(Rules())
