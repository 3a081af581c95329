"""Run in an environment with CatBoost: logs two models, compiles and proves them, and prints what the proofs say.

python catboost_compiled.py <directory of serinus_runtime> <directory to write to>
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])

import catboost
import mlflow
import numpy as np
import pandas as pd
from mlflow.models import infer_signature

from serinus_runtime.artifact.loading import load
from serinus_runtime.artifact.signature import read_mlmodel, signature_of
from serinus_runtime.compiling import convert
from serinus_runtime.trials import prove


def proven(model: object, inputs: pd.DataFrame, label: object, directory: Path) -> dict[str, object]:
    model.fit(inputs, label, verbose=False)  # type: ignore[attr-defined]
    signature = infer_signature(inputs, model.predict(inputs))  # type: ignore[attr-defined]
    artifact, compiled = directory / "artifact", directory / "compiled"
    mlflow.catboost.save_model(model, artifact, signature=signature, input_example=inputs.head(3), pip_requirements=[])
    mlmodel = read_mlmodel(artifact)
    rows = inputs.astype(object).where(inputs.notna(), None).to_numpy().tolist()
    convert.write(load(artifact, mlmodel), signature_of(mlmodel).columns, "predict", rows, compiled)
    (compiled / "MLmodel").write_text(json.dumps(convert.needed(mlmodel)))
    return prove.prove(compiled, artifact)


def main() -> None:
    random = np.random.default_rng(0)
    inputs = pd.DataFrame(random.normal(size=(400, 4)), columns=list("abcd"))
    inputs.loc[random.random(400) < 0.1, "b"] = np.nan
    label = (inputs["a"] + inputs["b"].fillna(0) > 0.8).astype(int)
    two, three, number = (Path(sys.argv[2]) / name for name in ("two", "three", "number"))
    quiet = {"allow_writing_files": False}  # in the current directory, which may be somebody else's
    proofs = [
        proven(catboost.CatBoostClassifier(iterations=30, **quiet), inputs, label, two),
        proven(catboost.CatBoostClassifier(iterations=10, **quiet), inputs, label + (inputs["c"] > 1), three),
        proven(catboost.CatBoostRegressor(iterations=30, **quiet), inputs, inputs["a"] * 3 + inputs["c"], number),
    ]
    print(json.dumps(proofs))


if __name__ == "__main__":
    main()
