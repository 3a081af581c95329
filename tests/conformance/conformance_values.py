"""What is sent to `echo`, for each datatype: two rows of two, with the ends of each range."""

from __future__ import annotations

from typing import Any

import numpy as np
from conformance_world import DTYPES


def values() -> dict[str, Any]:
    """Datatype -> array of shape [2, 2]."""
    found = {}
    for datatype, dtype in DTYPES.items():
        if datatype == "BYTES":
            found[datatype] = np.array([["", "FR"], ["é", "a\x00b"]], dtype=object)
        elif datatype == "BOOL":
            found[datatype] = np.array([[True, False], [False, True]])
        elif datatype.startswith("FP"):
            found[datatype] = np.array([[0.5, -1.25], [65504.0, 6e-5]], dtype=dtype)
        else:
            limits = np.iinfo(dtype)
            found[datatype] = np.array([[limits.min, limits.max], [0, 1]], dtype=dtype)
    return found


def same(given: Any, answered: Any) -> bool:
    """Value for value, and of the same type; strings may come as bytes."""
    if given.dtype == object:
        texts = [value.decode() if isinstance(value, bytes) else value for value in answered.reshape(-1)]
        return answered.shape == given.shape and texts == list(given.reshape(-1))
    return answered.dtype == given.dtype and np.array_equal(answered, given)
