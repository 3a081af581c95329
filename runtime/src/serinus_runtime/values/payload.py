"""The contents of a request in any protocol: a table of rows, or named tensors, as JSON values."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple, Sequence, Union

from serinus_runtime.base import accelerators
from serinus_runtime.base.errors import RequestError

Rows = Sequence[Sequence[Any]]


class Table(NamedTuple):
    """Rows. `columns` is None where the caller gave no names. Every row is as long as `columns`."""

    columns: tuple[str, ...] | None
    rows: list[list[Any]]


class Tensor(NamedTuple):
    """A tensor. `data` has nested lists, or a flat one where `shape` is given. `datatype` is the declared one, or
    None."""

    name: str | None
    data: Any
    shape: tuple[int, ...] | None = None
    datatype: str | None = None


class Tensors(NamedTuple):
    """Several tensors."""

    tensors: tuple[Tensor, ...]


class Sent(NamedTuple):
    """A request of MLflow's scoring protocol, unchanged. `form` is one of its formats, or `csv`."""

    form: str
    content: Any


Payload = Union[Table, Tensors, Sent]


def _no_constant(_: str) -> Any:
    raise ValueError


_decode = json.JSONDecoder(parse_constant=_no_constant).decode


_beyond_64_bits = re.compile(rb"[0-9]{19}").search


def read_json(body: bytes, *, exact: bool = False) -> Any:
    """Returns the value of a body. Raises RequestError where it is not UTF-8 or not JSON, is nested too deeply, or has
    NaN or Infinity.

    `exact`: integers beyond 64 bits stay integers. The accelerator makes floats of them, which makes no difference
    where a signature declares the type.
    """
    if accelerators.orjson is not None and not (exact and _beyond_64_bits(body)):
        try:
            return accelerators.orjson.loads(body)
        except ValueError:
            # The standard library refuses it too and gives the reason, except for lone surrogates, which it reads.
            return _read(body)
    return _read(body)


def _read(body: bytes) -> Any:
    try:
        return _decode(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise RequestError("the body is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise RequestError(f"the body is not JSON: {error.msg} at byte {error.pos}") from error
    except (ValueError, RecursionError) as error:
        raise RequestError("the body is not JSON that can be read: NaN, Infinity, endless digits or nesting") from error


def read_object(body: bytes, *, exact: bool = False) -> dict[str, Any]:
    """Returns the object in a body. Raises RequestError."""
    value = read_json(body, exact=exact)
    if not isinstance(value, dict):
        raise RequestError("the body must be a JSON object")
    return value


_MOST_DEPTH = 64


def check_depth(value: Any) -> None:
    """Raises RequestError where arrays and objects are nested too deeply for recursive code."""
    level = [value]
    for _ in range(_MOST_DEPTH):
        inner = (part.values() if isinstance(part, dict) else part for part in level if isinstance(part, (list, dict)))
        level = [part for parts in inner for part in parts if isinstance(part, (list, dict))]
        if not level:
            return
    raise RequestError(f"the body is nested more than {_MOST_DEPTH} levels deep")


def transpose(columns: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Converts columns of equal length to rows, or back."""
    if columns and len(columns[0]) == 1:
        return [[column[0] for column in columns]]
    return [list(row) for row in zip(*columns)]
