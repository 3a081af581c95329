"""Which kind of inputs a model has."""

from __future__ import annotations

from serinus_runtime.artifact.loading import Loaded
from serinus_runtime.artifact.signature import Signature
from serinus_runtime.base.errors import StartFailure
from serinus_runtime.base.libraries import library
from serinus_runtime.model.nested import HintedInputs, NestedInputs
from serinus_runtime.model.raw import RawInputs
from serinus_runtime.model.taking import Taking, taking_of
from serinus_runtime.values.inputs import ColumnInputs, Inputs, TensorInputs

_ESTIMATOR = "mlflow.sklearn"
"""The flavour that hands its input to the estimator as it is."""


def inputs_of(signature: Signature, loaded: Loaded | None = None) -> Inputs:
    """`loaded`: None where it is not known. ImportError: a library that the inputs need is missing. StartFailure: the
    model cannot take what its signature says."""
    taking = Taking() if loaded is None else taking_of(loaded.raw)
    if signature.hinted:
        return HintedInputs(signature)
    if signature.columns:
        library("pandas")  # so that it is known at the start where it is missing
        _check(taking, loaded)
        return NestedInputs(signature, loaded) if signature.nested else ColumnInputs(signature)
    if signature.tensors:
        return TensorInputs(signature)
    return RawInputs(taking)


def _check(taking: Taking, loaded: Loaded | None) -> None:
    if taking.iterates and loaded is not None and loaded.flavor == _ESTIMATOR:
        what = "texts" if taking.texts else "records" if taking.records else "rows one by one"
        raise StartFailure(
            f"the model's first step takes {what}, but its signature says columns: it would be given a DataFrame, of "
            "which it reads the names of the columns; log it with the signature of an array, or without one",
            environment=False,
        )
