"""BentoML's service with a model of the usual kind."""

import os

import bentoml
import numpy as np
import xgboost


@bentoml.service(workers=1)
class Trees:
    def __init__(self) -> None:
        self.booster = xgboost.Booster(model_file=os.environ["BENCH_TREES"])
        self.booster.set_param({"nthread": 1})

    @bentoml.api
    def predict(self, instances: list[list[float]]) -> list[float]:
        rows = np.asarray(instances, dtype=np.float32)
        return self.booster.inplace_predict(rows, validate_features=False).tolist()
