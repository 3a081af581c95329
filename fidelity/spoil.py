"""Bodies that are wrong as a whole: cut off, of another shape, or with what does not belong there.

By `/invocations` MLflow says whether the body is one; by the Open Inference Protocol each of these is to be refused.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from fidelity.case import JSON
from fidelity.forms import INVOCATIONS, LEFT_OUT, OIP, CannotEncode, Sent

Change = Callable[[Sent, random.Random], Sent]


@dataclass(frozen=True)
class Spoil:
    change: Change
    forms: tuple[str, ...]

    def fits(self, form: str) -> bool:
        return form in self.forms


_JSON_OIP = ("json", "json matrix", "json, raw answer")
_JSON = tuple(form for form in INVOCATIONS if form != "csv")
_ALL = (*INVOCATIONS, *OIP)


def apply(sent: Sent, spoil: tuple[JSON, ...]) -> Sent:
    """Raises CannotEncode where there is nothing to spoil in that way."""
    name, number = spoil
    return SPOILS[str(name)].change(sent, random.Random(number))


def _body(change: Callable[[bytes, random.Random], bytes]) -> Change:
    return lambda sent, dice: replace(sent, body=change(sent.body, dice))


def _content(change: Callable[[Any, random.Random], Any]) -> Change:
    """Of the JSON; `change` works on it in place, or gives another one."""

    def spoiled(sent: Sent, dice: random.Random) -> Sent:
        content = json.loads(sent.body)
        try:
            other = change(content, dice)
        except (KeyError, IndexError, AttributeError, TypeError) as error:
            raise CannotEncode("nothing to spoil") from error
        return replace(sent, body=json.dumps(content if other is None else other).encode())

    return spoiled


def _input(change: Callable[[dict[str, Any], random.Random], Any]) -> Change:
    """Of one input of an inference request."""

    def changed(content: Any, dice: random.Random) -> None:
        change(dice.choice(content["inputs"]), dice)

    return _content(changed)


def _rows(content: Any) -> list[Any]:
    [(name, value)] = [(name, value) for name, value in content.items() if name != "params"]
    rows = value["data"] if name == "dataframe_split" else value
    if not isinstance(rows, list):
        raise CannotEncode("no rows")
    return rows


def _ragged(content: Any, dice: random.Random) -> None:
    row = dice.choice(_rows(content))
    if not isinstance(row, list):
        raise CannotEncode("no rows of lists")
    row.append(1.5) if dice.random() < 0.5 else row.pop()


def _left_out(content: Any, dice: random.Random) -> None:
    record = dice.choice(_rows(content))
    if not isinstance(record, dict):
        raise CannotEncode("no records")
    record.pop(dice.choice(sorted(record)))


def _twice(content: Any, _: random.Random) -> None:
    columns = content["dataframe_split"]["columns"]
    columns[-1] = columns[0]
    if len(columns) < 2:
        raise CannotEncode("one column")


def _nan(body: bytes, dice: random.Random) -> bytes:
    text = body.decode()
    places = [
        i for i, char in enumerate(text) if char.isdigit() and text[i - 1] in " [" and text[i + 1 : i + 2] in ",]"
    ]
    if not places:
        raise CannotEncode("no digit of its own")
    at = dice.choice(places)
    return (text[:at] + dice.choice(("NaN", "Infinity", "-Infinity")) + text[at + 1 :]).encode()


def _cut(body: bytes, dice: random.Random) -> bytes:
    if len(body) < 2:
        raise CannotEncode("nothing to cut")
    return body[: dice.randrange(1, len(body))].rstrip(b"\r\n 0123456789.")


def _not_utf8(body: bytes) -> bytes:
    if not body:
        raise CannotEncode("nothing to spoil")
    return body[:1] + b"\xff" + body[1:]


def _top(name: str, *values: JSON) -> Change:
    """One of `values` in the place of what the body holds under that name."""
    return _content(lambda content, dice: {**content, name: dice.choice(values)})


def _put(name: str, *values: JSON) -> Change:
    """The same in one input of an inference request."""
    return _input(lambda entry, dice: entry.update({name: dice.choice(values)}))


def _bytes(change: Callable[[bytes], bytes]) -> Change:
    return lambda sent, _: replace(sent, body=change(sent.body))


def _header(name: str, *values: str) -> Change:
    return lambda sent, dice: replace(sent, headers={**sent.headers, name: dice.choice(values)})


_BOTH = (*_JSON, *_JSON_OIP)
_SHAPES = ([7777], [-1], [0], [1, 1, 1, 1, 7], "x", [1.5], [True, True], [2**63])
_LISTED = ("dataframe_split", "dataframe_split without names", "instances", "inputs")
_RECORDS = ("dataframe_records", "instances of records", "inputs of records")

HARMLESS = ("more beside", "UTF-8, said", "params of another kind")
"""A body is the same with them, to MLflow at least."""

TOLD = (*HARMLESS, LEFT_OUT)
"""A body still says which rows are meant."""

SPOILS: dict[str, Spoil] = {
    "cut": Spoil(_body(_cut), (*_BOTH, "grpc", "grpc raw", "binary")),
    "empty": Spoil(_bytes(lambda _: b""), _ALL),
    "a list": Spoil(_bytes(lambda body: b"[" + body + b"]"), _BOTH),
    "not UTF-8": Spoil(_bytes(_not_utf8), (*_BOTH, "csv")),
    "deep": Spoil(_bytes(lambda _: b'{"inputs":' + b"[" * 5000 + b"]" * 5000 + b"}"), _BOTH),
    "NaN": Spoil(_body(_nan), _BOTH),
    "two formats": Spoil(_content(lambda c, _: {**c, "inputs": [1], "instances": [1]}), _JSON),
    "no format": Spoil(_content(lambda c, _: {"data": next(iter(c.values()))}), _JSON),
    "more beside": Spoil(_content(lambda c, _: {**c, "more": 1}), _JSON),
    "params of another kind": Spoil(_top("params", [1], "x", 3), _JSON),
    "a row too long or short": Spoil(_content(_ragged), _LISTED),
    LEFT_OUT: Spoil(_content(_left_out), _RECORDS),
    "a name twice": Spoil(_content(_twice), ("dataframe_split",)),
    "no rows": Spoil(_content(lambda c, _: _rows(c).clear()), (*_LISTED, *_RECORDS)),
    "a text for the rows": Spoil(_content(lambda c, _: dict.fromkeys(c, "x")), _JSON),
    "null for the rows": Spoil(_content(lambda c, _: dict.fromkeys(c)), _JSON),
    "plain text": Spoil(_header("content-type", "text/plain"), INVOCATIONS),
    "another charset": Spoil(_header("content-type", "application/json; charset=latin-1"), INVOCATIONS),
    "UTF-8, said": Spoil(_header("content-type", "application/json; charset=utf-8"), _JSON),
    "no inputs": Spoil(_content(lambda c, _: c["inputs"].clear()), _JSON_OIP),
    "inputs of another kind": Spoil(_top("inputs", {}, "x", 1, None, [1], [None]), _JSON_OIP),
    "outputs of another kind": Spoil(_top("outputs", 1, "x", {"a": 1}, [1], [{}]), _JSON_OIP),
    "an unknown output": Spoil(_top("outputs", [{"name": "no such output"}]), _JSON_OIP),
    "parameters of another kind": Spoil(_top("parameters", 1, "x", [1]), _JSON_OIP),
    "id of another kind": Spoil(_top("id", 1, [1], {}), _JSON_OIP),
    "no shape": Spoil(_input(lambda entry, _: entry.pop("shape")), _JSON_OIP),
    "another shape": Spoil(_put("shape", *_SHAPES), _JSON_OIP),
    "an unknown datatype": Spoil(_put("datatype", "FP8", "string", 1, None, "INT128"), _JSON_OIP),
    "no data": Spoil(_input(lambda entry, _: entry.pop("data")), _JSON_OIP),
    "data of another kind": Spoil(_put("data", 1, "x", {}, None), _JSON_OIP),
    "a value too few": Spoil(_input(lambda entry, _: entry["data"].pop()), _JSON_OIP),
    "a nameless input": Spoil(_put("name", 1, None, []), _JSON_OIP),
    "a size too large": Spoil(_bytes(lambda body: body.replace(b'data_size": ', b'data_size": 9')), ("binary",)),
    "more bytes": Spoil(_bytes(lambda body: body + b"\0"), ("binary", "grpc raw", "grpc")),
    "a length of no number": Spoil(_header("inference-header-content-length", "x", "-1", "99999999"), ("binary",)),
    "compressed, it says": Spoil(_header("content-encoding", "gzip"), _JSON_OIP),
}
