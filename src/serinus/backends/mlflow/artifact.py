"""Reads an Artifact from a directory of model files. Nothing of the model is loaded or imported."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from serinus.backends.mlflow.files import Inventory
from serinus.backends.mlflow.mlmodel import MLmodel
from serinus.backends.mlflow.requirements import read_requirements
from serinus.backends.mlflow.whole import broken_files
from serinus.core.errors import Unbuildable
from serinus.core.release import Artifact

SERVING_EXAMPLE = "serving_input_example.json"


def read_artifact(root: Path, inventory: Inventory, indexes: Collection[str] = ()) -> Artifact:
    """Returns the artifact. `indexes` are the package indexes that the model's requirements may name.

    Raises Unbuildable, which names what is missing or broken and how to correct it.
    """
    model = MLmodel.read(root)
    flavor = model.python_function
    if missing := model.missing_files():
        raise Unbuildable(
            f"MLmodel names files that the artifact lacks ({'; '.join(missing)}).",
            hint="They may have been lost in the artifact store, or left out of a copy. Log the model again.",
        )
    if broken := broken_files(root, model.pickled_files()):
        raise Unbuildable(
            f"The artifact is incomplete: {'; '.join(broken)}.",
            hint="Files may have been lost or truncated in the artifact store, or in a copy. Log the model again.",
        )
    requirements, warnings = read_requirements(model, indexes)
    inputs, outputs = model.columns("inputs"), model.columns("outputs")
    example = (root / SERVING_EXAMPLE).is_file()
    return Artifact(
        digest=inventory.digest,
        requirements=requirements,
        inputs=inputs,
        outputs=outputs,
        flavor=flavor["loader_module"],
        size_bytes=inventory.size_bytes,
        warnings=(*_shortcomings(model, inputs is not None, example), *warnings),
    )


def _shortcomings(model: MLmodel, signature: bool, serving_example: bool) -> list[str]:
    found = []
    if not signature:
        found.append("the version was logged without a signature: inputs are passed on unchecked")
    if not serving_example:
        found.append(
            f"its input example was written by an MLflow before 2.13 and lacks {SERVING_EXAMPLE}"
            if model.has_example
            else "the version was logged without an input example: it cannot be warmed up or compared with one"
        )
    if model.logged_at is None:
        found.append("MLmodel does not say when it was logged: unpinned requirements are resolved as of today")
    version = model.mlflow_version
    if version is None or re.match(r"[01]\.", version):
        found.append(
            f"the version was logged by MLflow {version or 'of an unknown version'}: its format is no longer maintained"
        )
    return found
