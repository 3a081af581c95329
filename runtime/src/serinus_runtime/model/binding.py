"""The choice of the kind of inputs that a model has."""

from __future__ import annotations

from serinus_runtime.artifact.loading import Loaded
from serinus_runtime.artifact.signature import Signature
from serinus_runtime.base.errors import StartFailure
from serinus_runtime.base.libraries import library
from serinus_runtime.model.expected_input import VALUES, ExpectedInput, expected_input
from serinus_runtime.model.nested import HintedInputs, NestedInputs
from serinus_runtime.model.raw import RawInputs
from serinus_runtime.values.inputs import ColumnInputs, Inputs, TensorInputs

_ESTIMATOR = "mlflow.sklearn"
"""The flavor that passes its input to the estimator unchanged."""


def inputs_of(signature: Signature, loaded: Loaded | None = None) -> Inputs:
    """Returns the inputs. `loaded` is None where it is unknown.

    Raises ImportError where a library is missing, and StartFailure where the model cannot take what its signature
    declares.
    """
    expected = ExpectedInput() if loaded is None else expected_input(loaded.raw)
    if signature.hinted:
        return HintedInputs(signature)
    if signature.columns:
        library("pandas")  # So that a missing library is found at the start.
        _check(expected, loaded)
        return NestedInputs(signature, loaded) if signature.nested else ColumnInputs(signature)
    if signature.tensors:
        return TensorInputs(signature)
    return RawInputs(expected)


def _check(expected: ExpectedInput, loaded: Loaded | None) -> None:
    if expected.items is not None and loaded is not None and loaded.flavor == _ESTIMATOR:
        what = "rows one by one" if expected.items == VALUES else expected.items
        raise StartFailure(
            f"the model's first step takes {what}, but its signature says columns: it would be given a DataFrame, of "
            "which it reads the names of the columns; log it with the signature of an array, or without one",
            environment=False,
        )
