"""Trains and registers, with whatever interpreter and libraries it is run by, a model that says what serves it.

    MLFLOW_TRACKING_URI=... python train_elsewhere.py MODEL

Runs on Python 3.9 and MLflow 2, too.
"""

import sys
from importlib.metadata import version

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import infer_signature
from mlflow.pyfunc.model import PythonModel
from sklearn.linear_model import LogisticRegression

PACKAGES = ("mlflow-skinny", "numpy", "pandas", "scikit-learn", "scipy", "cloudpickle")
FRAME = pd.DataFrame({"amount": [1.0, 2.0, 300.0, 400.0], "hour": [1.0, 2.0, 3.0, 4.0]})


class Versions(PythonModel):
    """Answers for each row: the versions that trained it and that serve it, and the score."""

    def __init__(self, fitted):
        self.fitted = fitted

    def predict(self, context, model_input, params=None):
        import platform

        import numpy
        import sklearn

        def number(text):
            major, minor = text.split(".")[:2]
            return float(major) + float(minor) / 100

        trained = self.fitted.__getstate__()["_sklearn_version"]
        known = {
            "python": platform.python_version(),
            "numpy": numpy.__version__,
            "sklearn": sklearn.__version__,
            "trained_by": trained,
        }
        answer = pd.DataFrame({name: [number(text)] * len(model_input) for name, text in known.items()})
        return answer.assign(score=self.fitted.predict_proba(model_input)[:, 1])


def main():
    model = Versions(LogisticRegression().fit(FRAME, [0, 0, 1, 1]))
    with mlflow.start_run():
        mlflow.pyfunc.log_model(
            "model",
            python_model=model,
            registered_model_name=sys.argv[1],
            signature=infer_signature(FRAME, model.predict(None, FRAME)),
            input_example=FRAME,
            pip_requirements=[f"{name}=={version(name)}" for name in PACKAGES],
        )
    print(np.__version__)


if __name__ == "__main__":
    main()
