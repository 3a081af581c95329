"""What workers and the router say of the requests that were answered, checked field by field.

A record's release and model come from the connection that it arrived on, never from the record. What a caller can
put into a request (an entity, an input) never makes a batch malformed: it is cut or mended, because a worker sends a
batch that was refused again and again.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic_core import from_json, to_json

MAX_LINE = 8 * 1024 * 1024
"""Bytes of one line (a hello or a batch) on the collector's socket."""
MAX_TEXT = 1024
"""Characters that are kept of an entity."""

# What Envoy says of requests that had reached a release before the router answered for it.
_REACHED = frozenset({"UT", "UMSDR", "UC", "UR", "URX", "LR", "UPE"})
_REASONS = {"UT": "timeout", "UMSDR": "timeout", "UO": "overflow", "OM": "overflow"}
_RELEASE = re.compile(r"(?P<model>.{1,200})-[^-]{1,40}-[0-9a-f]{6,64}")
_BOOT = re.compile(r"[0-9a-f]{8,64}")
LATE = "late"


class Malformed(Exception):
    """A line that is not what it should be. The text names the field, never its value."""


class Hello(NamedTuple):
    """Who is writing: a worker process (`boot`) of `release`."""

    release: str
    model: str
    boot: str


class Record(NamedTuple):
    """One answered request. `scores` holds None for what is not a finite number; `ms` is the caller's wait."""

    time: float
    request_id: str
    entity: str | None
    model: str
    release: str
    role: str
    split: str
    status: int
    ms: float
    rows: int
    columns: Sequence[str] | None
    inputs: Sequence[Any] | None
    scores: list[float | None] | None
    answers: list[float | None] | None
    fallback: bool
    error: str | None
    by_router: bool = False
    """The router answered, for the release."""

    @property
    def failed(self) -> bool:
        """An error, or a fallback that hides one."""
        return self.status >= 500 or (self.fallback and self.error is not None)

    @property
    def callers_fault(self) -> bool:
        return 400 <= self.status < 500

    @property
    def timed_out(self) -> bool:
        return self.error == "timeout" or self.status == 504

    @property
    def start(self) -> float:
        """When the router took the request, unix seconds."""
        return self.time - self.ms / 1000


class Batch(NamedTuple):
    seq: int
    records: list[Record]
    dropped: int
    """Records that the worker had to drop before this batch."""


def log_token(secret: str, release: str) -> str:
    """What a worker of `release` proves itself with. `secret`: the content of `Home.secret`."""
    return hmac.new(secret.strip().encode(), f"log:{release}".encode(), hashlib.sha256).hexdigest()


def parse_hello(line: bytes, secret: str) -> Hello:
    """The first line of a connection. Raises Malformed; also where the token is not the release's own."""
    said = _object(_json(line), "hello")
    release = said.get("release")
    named = _RELEASE.fullmatch(release) if isinstance(release, str) else None
    if not isinstance(release, str) or named is None:
        raise Malformed("hello: release is not a release id")
    token = said.get("token")
    if not isinstance(token, str) or not token.isascii() or not hmac.compare_digest(token, log_token(secret, release)):
        raise Malformed(f"hello: wrong token for {release}")
    # The token vouches for the release alone, so the model is read off the release's id.
    if said.get("model", named["model"]) != named["model"]:
        raise Malformed(f"hello: {release} is not a release of the model that it names")
    boot = said.get("boot")
    if not isinstance(boot, str) or not _BOOT.fullmatch(boot):
        raise Malformed("hello: boot is not 8 to 64 hex digits")
    return Hello(release, named["model"], boot)


def parse_batch(line: bytes, hello: Hello) -> Batch:
    """One batch of a worker's records. Raises Malformed."""
    said = _object(_json(line), "batch")
    seq, records = said.get("seq"), said.get("records")
    if type(seq) is not int or not 0 <= seq < 2**62:
        raise Malformed("batch: seq is not a whole number")
    if not isinstance(records, list):
        raise Malformed("batch: records is not a list")
    dropped = said.get("dropped", 0)
    if type(dropped) is not int or not 0 <= dropped < 2**53:
        raise Malformed("batch: dropped is not a whole number")
    return Batch(seq, [_record(_object(raw, "record"), hello) for raw in records], dropped)


def parse_router_line(line: bytes) -> Record | None:
    """One local reply from Envoy's access log; None: nobody was answered, or no model was asked. Raises Malformed."""
    said = _object(_json(line), "local reply")
    status, flags, model = _whole(said, "status", 0, 599), _flags(said), _text(said, "model")
    if status < 100 or not model:
        return None
    start, ms = _number(said, "t", 4e9), _number(said, "ms", 1e9)
    fallback = status < 400
    reason = next((_REASONS[flag] for flag in flags if flag in _REASONS), "unavailable")
    return Record(
        time=start + ms / 1000,
        request_id=_text(said, "id"),
        entity=_text(said, "entity") or None,
        model=model,
        release=_text(said, "release"),
        role=_text(said, "role"),
        split=_text(said, "split"),
        status=status,
        ms=ms,
        rows=1 if fallback else 0,
        columns=None,
        inputs=None,
        scores=None,
        answers=None,
        fallback=fallback,
        error=None if 400 <= status < 500 else reason,
        by_router=True,
    )


def reached_release(line: bytes) -> bool:
    """Whether the release may have answered a request, too late, that the router answered by `line`."""
    return not _REACHED.isdisjoint(_flags(_object(_json(line), "local reply")))


def _flags(said: Mapping[str, Any]) -> list[str]:
    return [flag.strip() for flag in _text(said, "flags").split(",")]


def inputs_json(record: Record) -> str | None:
    """The rows as a JSON list of objects, column -> value; rows as they came where there are no columns."""
    rows, columns = record.inputs, record.columns
    if rows is None:
        return None
    if columns is not None:
        width = len(columns)
        rows = [
            dict(zip(columns, row, strict=True)) if isinstance(row, list) and len(row) == width else row for row in rows
        ]
    # NaN and infinities are no JSON: null, as in every other JSON that Serinus writes.
    try:
        return to_json(rows, inf_nan_mode="null").decode()
    except ValueError:  # half a surrogate pair, deep nesting
        return json.dumps(_finite(rows), separators=(",", ":"))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_finite(one) for one in value]
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return value


def _record(raw: Mapping[str, Any], hello: Hello) -> Record:
    columns, inputs = raw.get("columns"), raw.get("inputs")
    if columns is not None and not (isinstance(columns, list) and all(type(name) is str for name in columns)):
        raise Malformed("record: columns is not a list of names")
    if inputs is not None and not isinstance(inputs, list):
        raise Malformed("record: inputs is not a list of rows")
    fallback = raw.get("fallback", False)
    if type(fallback) is not bool:
        raise Malformed("record: fallback is neither true nor false")
    return Record(
        time=_number(raw, "t", 4e9),
        request_id=_text(raw, "id"),
        entity=_text(raw, "entity") or None,
        model=hello.model,
        release=hello.release,
        role=_text(raw, "role"),
        split=_text(raw, "split"),
        status=_whole(raw, "status", 100, 599),
        ms=_number(raw, "ms", 1e9),
        rows=_whole(raw, "rows", 0, 100_000_000),
        columns=columns,
        inputs=inputs,
        scores=_numbers(raw, "scores"),
        answers=_numbers(raw, "answers"),
        fallback=fallback,
        error=_text(raw, "error") or None,
    )


def _json(line: bytes) -> Any:
    try:
        return from_json(line)
    except ValueError:
        pass  # or one of the rare things that only the standard library reads: half a surrogate pair, deep nesting
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        raise Malformed("not a line of JSON") from None


def _object(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise Malformed(f"{what}: not an object")
    return value


def _number(raw: Mapping[str, Any], name: str, most: float) -> float:
    value = raw.get(name)
    # The comparison is false for NaN, too.
    if type(value) not in (int, float) or not 0 <= value <= most:  # type: ignore[operator]
        raise Malformed(f"{name} is not a number from 0 to {most:g}")
    return float(value)  # type: ignore[arg-type]


def _whole(raw: Mapping[str, Any], name: str, least: int, most: int) -> int:
    value = raw.get(name)
    if type(value) is not int or not least <= value <= most:
        raise Malformed(f"{name} is not a whole number from {least} to {most}")
    return value


def _text(raw: Mapping[str, Any], name: str) -> str:
    value = raw.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Malformed(f"{name} is not a string")
    value = value[:MAX_TEXT]
    return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")


def _numbers(raw: Mapping[str, Any], name: str) -> list[float | None] | None:
    values = raw.get(name)
    if values is None:
        return None
    if not isinstance(values, list):
        raise Malformed(f"{name} is not a list")
    return [value if type(value) is float and math.isfinite(value) else _as_float(value) for value in values]


def _as_float(value: Any) -> float | None:
    """None for what a model may say but that is no number: words, NaN, whole numbers beyond any float."""
    if not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
