"""What a caller sent, whichever protocol it came by: a table of rows, or named tensors. Values as JSON gave them."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple, Sequence, Union

from serinus_runtime.base import accelerators
from serinus_runtime.base.errors import RequestError

Rows = Sequence[Sequence[Any]]


class Table(NamedTuple):
    """`columns`: None where the caller gave no names. Every row is as long as `columns`."""

    columns: tuple[str, ...] | None
    rows: list[list[Any]]


class Tensor(NamedTuple):
    """`data`: nested lists, or flat where `shape` is given. `datatype`: as declared, or None."""

    name: str | None
    data: Any
    shape: tuple[int, ...] | None = None
    datatype: str | None = None


class Tensors(NamedTuple):
    tensors: tuple[Tensor, ...]


class Sent(NamedTuple):
    """What came by MLflow's scoring protocol, as it came. `form`: which of its formats, or `csv`."""

    form: str
    content: Any


Payload = Union[Table, Tensors, Sent]


def _no_constant(_: str) -> Any:
    raise ValueError


_decode = json.JSONDecoder(parse_constant=_no_constant).decode


_beyond_64_bits = re.compile(rb"[0-9]{19}").search


def read_json(body: bytes, *, exact: bool = False) -> Any:
    """The body's value. RequestError: it is not UTF-8, not JSON, nested too deeply, or holds NaN or Infinity.

    `exact`: whole numbers that 64 bits do not hold stay whole. The accelerator makes floats of them, which is all the
    same where a signature declares what they become.
    """
    if accelerators.orjson is not None and not (exact and _beyond_64_bits(body)):
        try:
            return accelerators.orjson.loads(body)
        except ValueError:
            # The standard library refuses it too and says why, but for rare things that it reads: lone surrogates.
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
    value = read_json(body, exact=exact)
    if not isinstance(value, dict):
        raise RequestError("the body must be a JSON object")
    return value


_MOST_DEPTH = 64


def check_depth(value: Any) -> None:
    """RequestError: arrays and objects are nested more deeply than what comes after can follow."""
    level = [value]
    for _ in range(_MOST_DEPTH):
        inner = (part.values() if isinstance(part, dict) else part for part in level if isinstance(part, (list, dict)))
        level = [part for parts in inner for part in parts if isinstance(part, (list, dict))]
        if not level:
            return
    raise RequestError(f"the body is nested more than {_MOST_DEPTH} levels deep")


def transpose(columns: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Columns of equal length to rows, or back."""
    if columns and len(columns[0]) == 1:
        return [[column[0] for column in columns]]
    return [list(row) for row in zip(*columns)]
