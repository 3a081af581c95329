"""Parses HTTP/1.1 responses. Only the headers that are counted are read, and bodies are skipped."""

from __future__ import annotations

from typing import NamedTuple

_END = b"\r\n\r\n"


class Malformed(Exception):
    """The response has no recognizable end."""


class Answer(NamedTuple):
    """A response."""

    status: int
    release: str
    """The header `x-serinus-release`, or `router`."""
    fallback: bool
    close: bool
    """Whether the server will close the connection."""
    size: int
    """The size of head and body in bytes."""
    prediction_id: str = ""
    """The header `x-serinus-prediction-id`."""


def parse(data: bytes) -> Answer | None:
    """Returns the response at the beginning of `data`. None: it is not complete yet. Raises Malformed."""
    end = data.find(_END)
    if end < 0:
        if len(data) > 65_536 or not data.startswith(b"HTTP/1."[: len(data)]):
            raise Malformed
        return None
    head = data[: end + 2]
    lower = head.lower()
    size = _body_end(data, lower, end + 4)
    if size is None:
        return None
    try:
        status = int(head[9:12])
    except ValueError:
        raise Malformed from None
    release = _field(head, lower, b"x-serinus-release").decode("latin-1") or "router"
    fallback = _field(head, lower, b"x-serinus-fallback").lower() == b"true"
    prediction_id = _field(head, lower, b"x-serinus-prediction-id").decode("latin-1")
    return Answer(status, release, fallback, b"\r\nconnection: close\r\n" in lower, size, prediction_id)


def _body_end(data: bytes, lower: bytes, start: int) -> int | None:
    length = _field(lower, lower, b"content-length")
    if length:
        if not length.isdigit():
            raise Malformed
        end = start + int(length)
        return end if len(data) >= end else None
    if _field(lower, lower, b"transfer-encoding") == b"chunked":
        return _chunks_end(data, start)
    if lower[9:12] in (b"204", b"304"):
        return start
    raise Malformed


def _chunks_end(data: bytes, at: int) -> int | None:
    while (line_end := data.find(b"\r\n", at)) >= 0:
        try:
            size = int(data[at:line_end].split(b";")[0], 16)
        except ValueError:
            raise Malformed from None
        if size == 0:
            end = line_end if data[line_end : line_end + 4] == _END else data.find(_END, line_end)
            return end + 4 if end >= 0 and len(data) >= end + 4 else None
        at = line_end + 2 + size + 2
    return None


def _field(head: bytes, lower: bytes, name: bytes) -> bytes:
    """Returns the value of a header. Empty: it is missing."""
    found = lower.find(b"\r\n" + name + b":")
    if found < 0:
        return b""
    start = found + len(name) + 3
    return head[start : lower.index(b"\r\n", start)].strip()
