"""The lines that workers and the router write, validated field by field. `columns` validates the bodies of batches."""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic_core import from_json, to_json

from serinus.core.keys import log_token
from serinus.predictions.segments.marks import FORMAT

MAX_TEXT = 1024
"""The number of characters that are kept of an id, an entity or a code."""

# Envoy's flags of requests that had reached a release before the router answered in its place.
_REACHED = frozenset({"UT", "UMSDR", "UC", "UR", "URX", "LR", "UPE"})
# A request may have several flags. The first of these is the most informative.
_REASONS = {
    "UT": "timeout",  # the route's time limit
    "UMSDR": "timeout",  # the longest that a stream may take
    "UO": "overflow",  # a circuit breaker is open
    "OM": "overflow",  # the overload manager shed it
    "UPE": "protocol",  # the release's answer is not HTTP
    "UR": "reset",  # the release reset the stream
    "UC": "reset",  # the release closed the connection
    "LR": "reset",  # the router reset it
    "URX": "unavailable",  # no further attempt is allowed
}
_RELEASE = re.compile(r"(?P<model>.{1,200})-[^-]{1,40}-[0-9a-f]{6,64}")
_BOOT = re.compile(r"[0-9a-f]{8,64}")
LATE = "late"


class Malformed(Exception):
    """A malformed line. The message names the field, never its value."""


class Hello(NamedTuple):
    """The writer of a connection: the worker process `boot` of `release`."""

    release: str
    model: str
    boot: str


class GatewayHello(NamedTuple):
    """The writer of a connection: the agent (`boot`) of a router in `gateway`, which sends that router's local
    replies."""

    gateway: str
    boot: str


class LocalReply(NamedTuple):
    """A request that the router answered in the place of a release."""

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
    fallback: bool
    error: str | None
    prediction_id: str | None = None
    caller: str | None = None

    @property
    def start(self) -> float:
        """The time at which the router received the request, in Unix seconds."""
        return self.time - self.ms / 1000


class BatchHead(NamedTuple):
    """The line before a batch: its number, the length of its body in bytes, and the number of records that the worker
    had to discard before it."""

    seq: int
    length: int
    dropped: int


def parse_hello(line: bytes, secret: str) -> Hello:
    """Parses the first line of a connection on this machine. Raises Malformed, also if the token is not the
    release's."""
    said = _object(read_json(line), "hello")
    release, named = _named(said.get("release"))
    token = said.get("token")
    if not isinstance(token, str) or not token.isascii() or not hmac.compare_digest(token, log_token(secret, release)):
        raise Malformed(f"hello: wrong token for {release}")
    # The token vouches for the release alone, so the model is read off the release's id.
    if said.get("model", named) != named:
        raise Malformed(f"hello: {release} is not a release of the model that it names")
    return Hello(release, named, _boot(said, release))


def parse_remote_hello(line: bytes) -> tuple[str, str]:
    """Parses the first line of a connection from another machine into its token and boot. Raises Malformed."""
    said = _object(read_json(line), "hello")
    token = said.get("token")
    if not isinstance(token, str) or not token.isascii() or not token:
        raise Malformed("hello: token is not a token")
    return token, _boot(said, "the writer")


def hello_of_release(release: str, boot: str) -> Hello:
    """Returns the hello of a writer whose token belongs to `release`. Raises Malformed if that is not a release id."""
    release, model = _named(release)
    return Hello(release, model, boot)


def _named(release: object) -> tuple[str, str]:
    """Returns the release id and the model in it."""
    named = _RELEASE.fullmatch(release) if isinstance(release, str) else None
    if not isinstance(release, str) or named is None:
        raise Malformed("hello: release is not a release id")
    return release, named["model"]


def _boot(said: Mapping[str, Any], who: str) -> str:
    if said.get("format") != FORMAT:
        raise Malformed(f"hello: {who} does not write format {FORMAT}")
    boot = said.get("boot")
    if not isinstance(boot, str) or not _BOOT.fullmatch(boot):
        raise Malformed("hello: boot is not 8 to 64 hex digits")
    return boot


def parse_head(line: bytes) -> BatchHead:
    """Parses the line that announces a batch. Raises Malformed."""
    said = _object(read_json(line), "batch")
    dropped = _whole(said, "dropped", 0, 2**53) if "dropped" in said else 0
    return BatchHead(_whole(said, "seq", 0, 2**62), _whole(said, "bytes", 0, 2**62), dropped)


def parse_router_line(line: bytes) -> LocalReply | None:
    """Parses one local reply of Envoy's access log. None: there was no answer, or no model was named. Raises
    Malformed."""
    said = _object(read_json(line), "local reply")
    status, flags, model = _whole(said, "status", 0, 599), _flags(said), _text(said, "model")
    if status < 100 or not model:
        return None
    start, ms = _number(said, "t", 4e9), _number(said, "ms", 1e9)
    fallback = status < 400
    reason = next((reason for flag, reason in _REASONS.items() if flag in flags), "unavailable")
    return LocalReply(
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
        fallback=fallback,
        error=None if 400 <= status < 500 else reason,
        prediction_id=_text(said, "prediction") or None,
        caller=_text(said, "caller") or None,
    )


def reached_release(line: bytes) -> bool:
    """Whether the release may have answered too late a request that the router answered by `line`."""
    return not _REACHED.isdisjoint(_flags(_object(read_json(line), "local reply")))


def _flags(said: Mapping[str, Any]) -> list[str]:
    return [flag.strip() for flag in _text(said, "flags").split(",")]


def read_json(text: bytes) -> Any:
    """Parses JSON. NaN and infinities become None. Raises Malformed."""
    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError:
        pass  # Only the standard library reads lone surrogates and deep nesting.
    try:
        return json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        raise Malformed("not JSON") from None


def write_json(value: Any) -> str:
    """Writes JSON. NaN and infinities become null."""
    try:
        return to_json(value, inf_nan_mode="null").decode()
    except ValueError:  # Lone surrogates or deep nesting.
        return json.dumps(value, separators=(",", ":"))


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
    return mended(value)


def mended(text: str, most: int | None = MAX_TEXT) -> str:
    """Returns the text with at most `most` characters and without lone surrogates, which cannot be encoded in UTF-8."""
    text = text[:most]
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
