"""What is known of one request for predictions from its headers, and the record of it."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from time import time
from typing import Any, Sequence

from serinus_runtime.records.sender import Record

_ID = re.compile(rb"[A-Za-z0-9._:\-]{1,128}")
_LONGEST_ENTITY = 256


class Call:
    """`head`: lines of the answer. `deadline`: unix seconds, None where nobody said when it began."""

    __slots__ = ("caller", "deadline", "entity", "head", "id", "now", "prediction", "role", "split", "start")

    def __init__(self, headers: dict[bytes, bytes], release_line: bytes, timeout: float) -> None:
        get = headers.get
        self.now = now = time()
        identity = get(b"x-request-id", b"")
        if not _ID.fullmatch(identity):
            identity = os.urandom(16).hex().encode()
        self.id = identity.decode()
        self.head = b"%bx-request-id: %b\r\n" % (release_line, identity)
        entity = get(b"x-entity-id")
        self.entity = None if entity is None else entity.decode("latin-1")[:_LONGEST_ENTITY]
        # The router's own, whatever the caller says: it alone tells one request from all others.
        prediction = get(b"x-serinus-prediction-id")
        self.prediction = None if prediction is None else prediction.decode("latin-1")
        self.caller = _text(get(b"x-serinus-caller"))
        self.role = _text(get(b"x-serinus-role"))
        self.split = _text(get(b"x-serinus-split"))
        start = _number(get(b"x-serinus-start"))
        expected = _number(get(b"x-envoy-expected-rq-timeout-ms"))
        # A start in the future is another clock's; then the request is as old as its arrival here.
        self.start = now if start is None or start > now else start
        self.deadline = (
            None if start is None and not expected else self.start + (expected / 1000 if expected else timeout)
        )

    def record(
        self,
        status: int,
        rows: int,
        *,
        columns: Sequence[str] | None = None,
        inputs: list[list[Any]] | bytes | None = None,
        scores: list[float | None] | None = None,
        fallback: list[float] | None = None,
        code: str | None = None,
        cached: bool = False,
    ) -> Record:
        """In the order of `records.FIELDS`. `inputs`: rows, or their JSON text."""
        now = time()
        return (
            now, self.id, self.entity, self.role, self.split, status, (now - self.start) * 1000, rows, scores, fallback,
            fallback is not None, code, cached, columns, inputs, self.prediction, self.caller,
        )  # fmt: skip


@lru_cache(maxsize=64)
def _text(value: bytes | None) -> str | None:
    """Of what hardly ever changes."""
    return None if value is None else value.decode("latin-1")


def _number(value: bytes | None) -> float | None:
    try:
        return None if value is None else float(value)
    except ValueError:
        return None
