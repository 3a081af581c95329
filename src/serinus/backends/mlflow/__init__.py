"""The MLflow registry: versions, their files on this machine, and what these files declare."""

from serinus.backends.mlflow.registry import MlflowRegistry

__all__ = ["MlflowRegistry"]
