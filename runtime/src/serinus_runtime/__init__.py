"""The runtime, which runs inside a model's environment: it loads one MLflow model and serves it.

It only needs the standard library. Libraries of the model (mlflow, numpy, pandas) are imported from its own environment
when it is loaded, by name.
"""

__version__ = "0.1.0"
