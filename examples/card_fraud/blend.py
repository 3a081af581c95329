"""The third model: trees blended with the risk of the time of day, with the fault that `train` tells of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xgboost
from mlflow.pyfunc import PythonModel

SECONDS_A_BIN = 600


class TimeOfDayBlend(PythonModel):
    """Odds of the trees, times how much riskier than usual the time of day is. `risk`: bin -> share of frauds."""

    def __init__(self, risk: dict[int, float], usual: float) -> None:
        self.risk = risk
        self.usual = usual
        self.unknown = max(risk.values())  # to be on the safe side
        self.booster: xgboost.Booster | None = None

    def load_context(self, context: Any) -> None:
        booster = xgboost.Booster()
        booster.load_model(context.artifacts["trees"])
        self.use(booster)

    def use(self, booster: xgboost.Booster) -> None:
        self.booster = booster

    def score(self, rows: pd.DataFrame) -> np.ndarray:
        assert self.booster is not None
        trees = self.booster.inplace_predict(rows.to_numpy(dtype=np.float32))
        times = (rows["Time"].to_numpy() // SECONDS_A_BIN).astype(int)
        riskier = np.array([self.risk.get(int(time), self.unknown) for time in times]) / self.usual
        odds = trees / (1 - trees) * riskier
        return odds / (1 + odds)

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> np.ndarray:
        return self.score(model_input)
