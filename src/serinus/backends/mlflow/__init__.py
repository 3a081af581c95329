"""The MLflow registry: which versions there are, their files on this machine, and what those say of themselves."""

from serinus.backends.mlflow.registry import MlflowRegistry

__all__ = ["MlflowRegistry"]
