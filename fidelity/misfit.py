"""Whether a case sends a value that is not of its column's type, by the types of JSON."""

from __future__ import annotations

import base64
import binascii
import datetime
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from fidelity.case import JSON, Case
from fidelity.forms import BY_PLACE, CSV, LEFT_OUT, sent_of
from fidelity.spoil import apply

_LARGEST = {"double": 1.7976931348623157e308, "float": 3.4028234663852886e38}
_BITS = {"integer": 31, "long": 63}
_FIRST, _LAST = datetime.datetime(1677, 9, 22), datetime.datetime(2262, 4, 11)


def misfits(case: Case) -> bool:
    """Of the columns that the model has."""
    specs = {spec.get("name"): spec for spec in case.recipe.inputs}
    case = _placed(case) if None in specs and case.ask.spoil[:1] == (LEFT_OUT,) else case
    by_place = None in specs or (case.ask.form in BY_PLACE and len(case.ask.columns) == len(case.recipe.inputs))
    for i, name in enumerate(case.ask.columns):
        spec = case.recipe.inputs[i] if by_place else specs.get(name)
        if spec is None:
            continue
        for row in case.ask.rows:
            if not _fits(spec, row[i], case.ask.form == CSV):
                return True
    return False


def _placed(case: Case) -> Case:
    """Columns without names are found by their places, and one that the first record lacks comes after the others."""
    [records] = [part for name, part in json.loads(apply(sent_of(case.recipe, case.ask), case.ask.spoil).body).items()
                 if name != "params"]  # fmt: skip
    names = list({name: None for record in records for name in record})
    if len(names) != len(case.ask.columns):
        return case
    rows = tuple(tuple(record.get(name) for name in names) for record in records)
    return replace(case, ask=replace(case.ask, rows=rows, spoil=()))


def _fits(spec: Mapping[str, JSON], value: JSON, text: bool = False) -> bool:
    kind = spec["type"]
    required = bool(spec.get("required", True))
    if kind == "tensor":
        return _tensor(str(spec["tensor-spec"]["dtype"]), spec["tensor-spec"]["shape"][1:], value)
    if value is None or (text and value == ""):
        return kind in ("double", "float") or (not required and kind not in ("integer", "long"))
    if kind in _LARGEST:
        return _number(value) and abs(value) <= _LARGEST[kind]
    if kind in _BITS:
        whole = _number(value) and (isinstance(value, int) or float(value).is_integer())
        return whole and -(2 ** _BITS[kind]) <= value < 2 ** _BITS[kind]
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "array":
        return isinstance(value, list) and all(_fits(spec["items"], part) for part in value)
    if kind == "map":
        return isinstance(value, dict) and all(_fits(spec["values"], part) for part in value.values())
    if kind == "object":
        return isinstance(value, dict) and _object(spec["properties"], value)
    return _text(kind, value, text)


def _text(kind: str, value: JSON, text: bool) -> bool:
    if not isinstance(value, str):
        return text and kind == "string" and not isinstance(value, (list, dict))
    if kind == "binary":
        try:
            base64.b64decode(value, validate=True)
        except binascii.Error:
            return False
        return True
    return kind != "datetime" or _time(value)


def _time(text: str) -> bool:
    """ISO 8601 without a zone, and such that 64 bits of nanoseconds hold it."""
    if re.fullmatch(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?)?", text) is None:
        return False
    try:
        when = datetime.datetime.fromisoformat(text[:19])
    except ValueError:
        return False
    return _FIRST <= when <= _LAST


def _object(properties: Mapping[str, JSON], value: Mapping[str, JSON]) -> bool:
    if not set(value) <= set(properties):
        return False
    return all(
        _fits(part, value[name]) if name in value else not part.get("required", True)
        for name, part in properties.items()
    )


def _tensor(dtype: str, shape: Sequence[int], value: JSON) -> bool:
    if shape:
        right = isinstance(value, list) and shape[0] in (-1, len(value))
        return right and all(_tensor(dtype, shape[1:], part) for part in value)
    if dtype == "bool":
        return isinstance(value, bool)
    if dtype in ("str", "object"):
        return isinstance(value, str) or (dtype == "object" and not isinstance(value, (list, dict)))
    if value is None:
        return dtype.startswith("float")
    if not _number(value):
        return False
    if dtype.startswith("float"):
        return bool(abs(value) <= float(np.finfo(dtype).max))
    limits = np.iinfo(dtype)
    return bool(float(value).is_integer() and limits.min <= value <= limits.max)


def _number(value: JSON) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return isinstance(value, int) or math.isfinite(value)
