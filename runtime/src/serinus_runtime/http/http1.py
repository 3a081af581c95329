"""Parses HTTP/1.1 requests from a stream of bytes (RFC 9112), without I/O. `feed` takes bytes, and `next_request`
returns complete requests. The result does not depend on how the bytes are divided.

It is stricter than the RFC where lenient parsers could disagree on the end of a request: no bare line feeds, no folded
lines, one Content-Length, and never together with Transfer-Encoding.
"""

from __future__ import annotations

import re

from serinus_runtime.base.errors import ProtocolError, RequestError
from serinus_runtime.base.messages import Request
from serinus_runtime.http.heads import Head, Heads

_REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}) ([!-~]+) HTTP/([0-9])\.([0-9])")
_HEADER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(;[^\x00-\x08\x0a-\x1f\x7f]*)?")
_MOST_HEADERS = 100
_LONGEST_CHUNK_LINE = 1024
_SINGLE = (b"content-length", b"transfer-encoding", b"host")
_UNUSUAL = (b"transfer-encoding", b"expect", b"connection")


class Parser:
    """The parser of one connection. It must not be used after a ProtocolError."""

    def __init__(self, most_body: int, most_head: int = 32_768) -> None:
        self._buffer = bytearray()
        self._most_body = most_body
        self._most_head = most_head
        self._request: Request | None = None
        self._advance = self._read_head
        self._left = 0
        """The number of bytes of the body, or of the chunk, that have not arrived yet."""
        self._size = 0
        self._trailers = 0
        self._chunked = bytearray()
        """What has arrived of a body in chunks. It is not kept as parts: an object for each tiny chunk would take many
        times its bytes."""
        self._continue = False
        self._whole: Request | None = None
        """A request that came as one piece, ready to be taken."""

    @property
    def idle(self) -> bool:
        """Whether nothing of the next request has been received."""
        return not self._buffer and self._request is None and self._whole is None

    @property
    def buffered(self) -> int:
        """The number of bytes that are buffered."""
        return len(self._buffer)

    @property
    def refusal(self) -> RequestError | None:
        """Returns why the request that is being read will be refused when it is complete. None: it may be handled."""
        return None if self._request is None else self._request.refusal

    def feed(self, data: bytes) -> None:
        """Takes bytes."""
        if self.idle:
            self._whole = _usual(data, self._most_body, self._most_head)
            if self._whole is not None:
                return
        self._buffer += data

    def next_request(self) -> Request | None:
        """Returns the next complete request. None: more bytes are needed. Raises ProtocolError."""
        whole = self._whole
        if whole is not None:
            self._whole = None
            return whole
        if not self._buffer:
            return None
        while self._advance():
            if self._complete:
                return self._take()
        return None

    def take_expectation(self) -> bool:
        """Returns True once for a request whose sender waits for `100 Continue` before it sends the body."""
        expected, self._continue = self._continue, False
        return expected

    @property
    def _complete(self) -> bool:
        return self._request is not None and self._advance == self._read_head

    def _take(self) -> Request:
        request = self._request
        assert request is not None
        self._request, self._continue = None, False
        return request

    # Each of these reads one part from the buffer. False: it is not there yet.

    def _read_head(self) -> bool:
        buffer = self._buffer
        while buffer[:2] == b"\r\n":  # RFC 9112, 2.2: empty lines before a request are ignored.
            del buffer[:2]
        end = buffer.find(b"\r\n\r\n", 0, self._most_head)
        seen = buffer[: end if end >= 0 else self._most_head]
        if seen.count(b"\n") != seen.count(b"\r\n"):
            raise ProtocolError("a line of the request's head does not end in CR LF")
        if end < 0:
            if len(buffer) >= self._most_head:
                raise ProtocolError(f"the request's head is longer than {self._most_head} bytes", 431)
            return False
        del buffer[: end + 4]
        self._request = _head(bytes(seen))
        self._begin_body(self._request)
        return True

    def _begin_body(self, request: Request) -> None:
        coding, length = request.headers.get(b"transfer-encoding"), request.headers.get(b"content-length")
        if coding is not None:
            if length is not None:
                raise ProtocolError("Content-Length and Transfer-Encoding together are refused")
            if coding.lower() != b"chunked":
                raise ProtocolError("the only supported transfer coding is chunked", 501)
            self._size, self._chunked, self._advance = 0, bytearray(), self._read_chunk_size
        elif length is not None:
            if not _LENGTH.fullmatch(length):
                raise ProtocolError("Content-Length is not a number of bytes")
            self._left = int(length)
            if self._left > self._most_body:
                self._begin_discarding(request)
            elif self._left:
                self._advance = self._read_body
        self._expect(request)

    def _expect(self, request: Request) -> None:
        expectation = request.headers.get(b"expect")
        if expectation is None or self._advance == self._read_head:
            return
        if expectation.lower() != b"100-continue":
            raise ProtocolError("the only supported expectation is 100-continue", 417)
        if request.refusal is not None:
            raise ProtocolError(str(request.refusal), request.refusal.status)
        self._continue = True

    def _begin_discarding(self, request: Request) -> None:
        """Reads a body that is too large to its end and discards it. An earlier response would be lost where the
        sender, or a proxy, does not read while it writes. The caller limits the time."""
        request.refusal = self._too_large()
        self._advance = self._discard

    def _too_large(self) -> RequestError:
        return RequestError(f"the body is larger than {self._most_body} bytes", 413, "too-large")

    def _read_body(self) -> bool:
        if len(self._buffer) < self._left:
            return False
        self._finish(bytes(self._buffer[: self._left]))
        del self._buffer[: self._left]
        return True

    def _discard(self) -> bool:
        passed = min(len(self._buffer), self._left)
        del self._buffer[:passed]
        self._left -= passed
        if self._left:
            return False
        self._finish(b"")
        return True

    def _finish(self, body: bytes) -> None:
        if self._request is not None:
            self._request.body = body
        self._chunked = bytearray()
        self._advance = self._read_head

    def _read_line(self) -> bytes | None:
        end = self._buffer.find(b"\n", 0, _LONGEST_CHUNK_LINE)
        if end < 0:
            if len(self._buffer) >= _LONGEST_CHUNK_LINE:
                raise ProtocolError("a line between two chunks is too long")
            return None
        line = bytes(self._buffer[: end + 1])
        if not line.endswith(b"\r\n"):
            raise ProtocolError("a line between two chunks does not end in CR LF")
        del self._buffer[: end + 1]
        return line[:-2]

    def _read_chunk_size(self) -> bool:
        line = self._read_line()
        if line is None:
            return False
        match = _CHUNK_SIZE.fullmatch(line)
        if match is None:
            raise ProtocolError("the size of a chunk is not a hexadecimal number")
        self._left = int(match[1], 16)
        if self._left == 0:
            self._trailers, self._advance = 0, self._read_trailer
            return True
        self._size += self._left
        if self._size > self._most_body and self._request is not None:
            self._request.refusal = self._too_large()
            self._chunked = bytearray()
        self._advance = self._read_chunk
        return True

    def _read_chunk(self) -> bool:
        taken = min(len(self._buffer), self._left)
        if self._request is not None and self._request.refusal is None:
            self._chunked += self._buffer[:taken]
        del self._buffer[:taken]
        self._left -= taken
        if self._left:
            return False
        self._advance = self._read_chunk_end
        return True

    def _read_chunk_end(self) -> bool:
        line = self._read_line()
        if line is None:
            return False
        if line:
            raise ProtocolError("a chunk is longer than it says")
        self._advance = self._read_chunk_size
        return True

    def _read_trailer(self) -> bool:
        line = self._read_line()
        if line is None:
            return False
        self._trailers += 1
        if self._trailers > _MOST_HEADERS:
            raise ProtocolError("there are too many trailer fields", 431)
        if line:
            return True
        self._finish(bytes(self._chunked))
        return True


_heads = Heads()


def _usual(data: bytes, most_body: int, most_head: int) -> Request | None:
    """Returns the request if `data` is exactly one request of the usual kind. None: the parser reads it step by
    step."""
    head = _heads.find(data) or _new_head(data, most_head)
    if head is None:
        return None
    method, target, headers, end = head
    size = len(data) - end
    if end > most_head or size > most_body or headers.get(b"content-length", b"0") != b"%d" % size:
        return None
    request = Request(method, target, headers, True)
    request.body = data[end:]
    return request


def _new_head(data: bytes, most_head: int) -> Head | None:
    end = data.find(b"\r\n\r\n", 0, most_head)
    if end < 0:
        return None
    first, *lines = data[:end].split(b"\r\n")
    asked = _REQUEST_LINE.fullmatch(first)
    matches = [_HEADER.fullmatch(line) for line in lines]
    if asked is None or asked[3] != b"1" or asked[4] == b"0" or len(lines) > _MOST_HEADERS or None in matches:
        return None
    names = [match[1].lower() for match in matches if match is not None]
    values = [match[2].rstrip(b" \t") for match in matches if match is not None]
    headers = dict(zip(names, values))
    if len(headers) < len(names) or b"host" not in headers or not headers.keys().isdisjoint(_UNUSUAL):
        return None
    head = Head(asked[1], asked[2], headers, end + 4)
    _heads.learn(data[:end], lines, names, head)
    return head


def _head(head: bytes) -> Request:
    first, *lines = head.split(b"\r\n")
    match = _REQUEST_LINE.fullmatch(first)
    if match is None:
        raise ProtocolError("the request line is not `METHOD target HTTP/1.1`")
    method, target, major, minor = match.groups()
    if major != b"1":
        raise ProtocolError("only HTTP/1.1 and HTTP/1.0 are supported", 505)
    headers = _headers(lines)
    if minor != b"0" and b"host" not in headers:
        raise ProtocolError("the Host header is missing")
    if minor == b"0" and b"transfer-encoding" in headers:
        raise ProtocolError("HTTP/1.0 has no transfer codings")
    options = headers.get(b"connection", b"").lower()
    keep_alive = b"keep-alive" in options if minor == b"0" else b"close" not in options
    return Request(method, target, headers, keep_alive)


def _headers(lines: list[bytes]) -> dict[bytes, bytes]:
    if len(lines) > _MOST_HEADERS:
        raise ProtocolError(f"there are more than {_MOST_HEADERS} headers", 431)
    headers: dict[bytes, bytes] = {}
    for line in lines:
        match = _HEADER.fullmatch(line)
        if match is None:
            raise ProtocolError("a header is not `name: value`")
        name, value = match[1].lower(), match[2].rstrip(b" \t")
        if name not in headers:
            headers[name] = value
        elif name in _SINGLE:
            raise ProtocolError("Content-Length, Transfer-Encoding and Host may be given once")
        else:
            headers[name] += b", " + value
    return headers
