"""KServe's Python server with a model of the usual kind."""

import sys

import numpy as np
import xgboost
from kserve import Model, ModelServer

booster = xgboost.Booster(model_file=sys.argv[1])
booster.set_param({"nthread": 1})


class Trees(Model):
    def load(self):
        self.ready = True
        return True

    async def predict(self, payload, headers=None, response_headers=None):  # noqa: ARG002
        rows = np.asarray(payload["instances"], dtype=np.float32)
        return {"predictions": booster.inplace_predict(rows, validate_features=False).tolist()}


model = Trees("bench")
model.load()
ModelServer(http_port=int(sys.argv[2]), enable_grpc=False, workers=1, access_log_format=None).start([model])
