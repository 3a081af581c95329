"""Request heads that equal an earlier one except for the values of a few headers.

A proxy sends the same lines in the same order again and again. A valid head becomes a pattern in which only those
values may differ. A head that matches the pattern is parsed in one step, and is valid for the same reasons.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Sequence

# Only the values of these headers differ between requests, or must not be stored. No value changes the parsing.
VARYING = frozenset(
    {
        b"authorization", b"content-length", b"cookie", b"traceparent", b"tracestate", b"x-entity-id",
            b"x-envoy-attempt-count", b"x-envoy-expected-rq-timeout-ms", b"x-request-id", b"x-serinus-caller",
            b"x-serinus-prediction-id", b"x-serinus-router", b"x-serinus-start",
    }
)  # fmt: skip
_VALUE = rb"([!-~]*(?: [!-~]+)*)"
"""A value that matches: words with single spaces between them, without leading or trailing space."""
_MOST = 8
_LONGEST = 2048
_PATIENCE = 1024
"""The number of heads without a matching pattern after which old patterns are removed."""


class Head(NamedTuple):
    """A parsed head."""

    method: bytes
    target: bytes
    headers: dict[bytes, bytes]
    end: int
    """The offset of the body."""


class _Pattern(NamedTuple):
    pattern: re.Pattern[bytes]
    method: bytes
    target: bytes
    headers: dict[bytes, bytes]
    names: tuple[bytes, ...]


class Heads:
    """Patterns of heads."""

    def __init__(self) -> None:
        self._patterns: list[_Pattern] = []
        self._unmatched = 0

    def find(self, data: bytes) -> Head | None:
        """Returns the head at the beginning of `data`. None: no pattern matches."""
        for known in self._patterns:
            match = known.pattern.match(data)
            if match is not None:
                headers = known.headers.copy()
                headers.update(zip(known.names, match.groups()))
                return Head(known.method, known.target, headers, match.end())
        return None

    def learn(self, head: bytes, lines: Sequence[bytes], names: Sequence[bytes], seen: Head) -> None:
        """Adds a pattern. `head` has no empty line at its end. `lines` are its headers, and `names` their names, all
        different."""
        self._unmatched += 1
        if self._unmatched > _PATIENCE:
            self._unmatched = 0
            self._patterns.clear()
        if len(self._patterns) >= _MOST or len(head) > _LONGEST:
            return
        first = head.partition(b"\r\n")[0]
        parts = [re.escape(first)]
        for name, line in zip(names, lines):
            if name in VARYING:
                before = line[: len(line) - len(seen.headers[name])]
                parts.append(re.escape(before) + _VALUE)
            else:
                parts.append(re.escape(line))
        pattern = re.compile(b"\r\n".join(parts) + b"\r\n\r\n")
        varying = tuple([name for name in names if name in VARYING])
        # A value with trailing white space does not end with its line.
        if pattern.match(head + b"\r\n\r\n"):
            fixed = {name: value for name, value in seen.headers.items() if name not in VARYING}
            self._patterns.append(_Pattern(pattern, seen.method, seen.target, fixed, varying))
