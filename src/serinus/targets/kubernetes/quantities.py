"""Quantities of the Kubernetes API. Source: its reference, `resource.Quantity`."""

from __future__ import annotations

import re
from fractions import Fraction

_QUANTITY = re.compile(r"(?P<number>\d+(?:\.\d*)?|\.\d+)(?:[eE](?P<exponent>[+-]?\d{1,2})|(?P<unit>[a-zA-Z]{1,2}))?")
_UNITS = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = ("Ki", "Mi", "Gi", "Ti", "Pi", "Ei")


def size_of(text: str) -> int | None:
    """A whole number, rounded up; None: it is no quantity from 0 on."""
    found = _QUANTITY.fullmatch(text)
    if found is None:
        return None
    unit, number = found["unit"] or "", Fraction(found["number"])
    if unit in _BINARY:
        number *= 1024 ** (_BINARY.index(unit) + 1)
    elif unit in _UNITS:
        number *= Fraction(10) ** (int(found["exponent"]) if found["exponent"] else _UNITS[unit])
    else:
        return None
    return -(-number.numerator // number.denominator)
