"""XGBoost's C interface for one call: the effect of `Booster.inplace_predict`, without 200 us of Python code."""

from __future__ import annotations

import ctypes
import json
from typing import Any, Callable

from serinus_runtime.base.libraries import library


def dense_predict(booster: Any, *, missing: float = float("nan"), rounds: int = 0) -> Callable[[Any], Any] | None:
    """Returns `XGBoosterPredictFromDense` bound to `booster`: a float matrix in, its predictions out, with the same
    shape as `inplace_predict`. None: this version of XGBoost has no such function. It is documented in
    `xgboost/c_api.h`.

    `missing` is a number that stands for a missing value, in addition to NaN. `rounds` is the number of boosting
    rounds. 0: all.
    """
    settings = {"type": 0, "training": False, "iteration_begin": 0, "iteration_end": rounds, "missing": missing,
                "strict_shape": False, "cache_id": 0}  # fmt: skip
    config = json.dumps(settings).encode()
    native = getattr(library("xgboost.core"), "_LIB", None)
    function = getattr(native, "XGBoosterPredictFromDense", None)
    if function is None:
        return None
    numpy = library("numpy")
    handle = booster.handle
    shape, dimensions = ctypes.POINTER(ctypes.c_uint64)(), ctypes.c_uint64()
    found = ctypes.POINTER(ctypes.c_float)()

    def predict(matrix: Any) -> Any:
        """Returns the predictions for a matrix."""
        matrix = numpy.ascontiguousarray(matrix)
        interface = (
            f'{{"data":[{matrix.ctypes.data},true],"shape":[{matrix.shape[0]},{matrix.shape[1]}],'
            f'"typestr":"{matrix.dtype.str}","version":3}}'
        )
        code = function(
            handle,
            interface.encode(),
            config,
            None,
            ctypes.byref(shape),
            ctypes.byref(dimensions),
            ctypes.byref(found),
        )
        if code != 0:
            raise ValueError("XGBoost refused the matrix")
        sizes = tuple(shape[i] for i in range(dimensions.value))
        return numpy.ctypeslib.as_array(found, sizes).copy()  # The memory belongs to the booster, until its next call.

    return predict
