"""FastAPI by hand, tuned: no pydantic model, no access log, orjson, the trees asked in place."""

import sys

import numpy as np
import orjson
import uvicorn
import xgboost
from fastapi import FastAPI, Request, Response

booster = xgboost.Booster(model_file=sys.argv[1])
booster.set_param({"nthread": 1})
app = FastAPI()


@app.post("/predict")
async def predict(request: Request) -> Response:
    rows = np.asarray(orjson.loads(await request.body())["instances"], dtype=np.float32)
    scores = booster.inplace_predict(rows, validate_features=False)
    answer = orjson.dumps({"predictions": scores}, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(answer, media_type="application/json")


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), loop="uvloop", http="httptools", access_log=False)
