"""A request for predictions: its headers and its contents."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from time import time
from typing import Hashable, NamedTuple

from serinus_runtime.base.messages import Request
from serinus_runtime.cache.response_cache import ResponseCache
from serinus_runtime.protocols.oip import Asked
from serinus_runtime.serving.routes import Route
from serinus_runtime.values.inputs import Bound

_ID = re.compile(rb"[A-Za-z0-9._:\-]{1,128}")
_LONGEST_ENTITY = 256


class Call:
    """A request on a route, before it is parsed.

    `now`, `start` and `deadline` are in Unix seconds: the arrival here, the beginning, and the time at which the caller
    gives up. There is no deadline where the beginning is unknown. `head` has header lines of the response. `split` is
    None where the request did not come through the router. `cache` is the response cache, where it may be used, and
    `body_key` the key of the body in it.
    """

    __slots__ = (
        "body_key", "cache", "caller", "deadline", "entity", "head", "id", "now", "prediction", "request", "role",
        "route", "split", "start",
    )  # fmt: skip

    def __init__(self, request: Request, route: Route, release_line: bytes, timeout: float) -> None:
        """`timeout` is the caller's timeout in seconds, where the router does not send it."""
        self.request = request
        self.route = route
        self.cache: ResponseCache | None = None
        self.body_key: Hashable | None = None
        get = request.headers.get
        self.now = now = time()
        identity = get(b"x-request-id", b"")
        if not _ID.fullmatch(identity):
            identity = os.urandom(16).hex().encode()
        self.id = identity.decode()
        self.head = b"%bx-request-id: %b\r\n" % (release_line, identity)
        entity = get(b"x-entity-id")
        self.entity = None if entity is None else entity.decode("latin-1")[:_LONGEST_ENTITY]
        # The router's own id, which alone is unique, whatever the caller sends.
        prediction = get(b"x-serinus-prediction-id")
        self.prediction = None if prediction is None else prediction.decode("latin-1")
        self.caller = _text(get(b"x-serinus-caller"))
        self.role = _text(get(b"x-serinus-role"))
        self.split = _text(get(b"x-serinus-split"))
        start = _number(get(b"x-serinus-start"))
        expected = _number(get(b"x-envoy-expected-rq-timeout-ms"))
        # A start in the future comes from another clock. The arrival here is used instead.
        self.start = now if start is None or start > now else start
        self.deadline = (
            None if start is None and not expected else self.start + (expected / 1000 if expected else timeout)
        )

    def late(self, now: float) -> bool:
        """Whether the caller has given up by `now`, in Unix seconds."""
        return self.deadline is not None and now > self.deadline


class ParsedCall(NamedTuple):
    """A request that fits the model. `key` is that of its features in `call.cache`, where they have one."""

    call: Call
    asked: Asked
    bound: Bound
    key: bytes | None


@lru_cache(maxsize=64)
def _text(value: bytes | None) -> str | None:
    """Returns the text of bytes that hardly ever change."""
    return None if value is None else value.decode("latin-1")


def _number(value: bytes | None) -> float | None:
    try:
        return None if value is None else float(value)
    except ValueError:
        return None
