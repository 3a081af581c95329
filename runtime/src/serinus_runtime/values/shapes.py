"""The shapes that callers may give to tensors, in any protocol."""

from __future__ import annotations

from typing import Any, Sequence

from serinus_runtime.base.errors import RequestError

_MOST_SIZES = 32
"""The largest number of dimensions, which was NumPy's for a long time. It also bounds the product, which would take
seconds for 60,000 large numbers."""
_LARGEST = (1 << 31) - 1


def check_shape(shape: Sequence[Any]) -> tuple[int, ...]:
    """Returns the shape. Raises RequestError where it is not one, or no body can fill it."""
    if not 0 < len(shape) <= _MOST_SIZES:
        raise RequestError(f"the shape of an input must have 1 to {_MOST_SIZES} sizes")
    for size in shape:
        if type(size) is not int or not 0 <= size <= _LARGEST:
            raise RequestError(f"the shape of an input must be a list of whole numbers from 0 to {_LARGEST}")
    return tuple(shape)
