"""When a worker refuses a request at once: too many wait, or the queue is longer than the caller will."""

from __future__ import annotations

from typing import NamedTuple


class Queue(NamedTuple):
    """What is before a request. `waiting`: requests; `seconds_each`: what one of them takes."""

    waiting: int
    seconds_each: float


class Overload(NamedTuple):
    """Why a request is answered 503. `retry_after`: whole seconds until what waits is worked off, at least 1."""

    message: str
    retry_after: int


def overload(queue: Queue, most: int, now: float, deadline: float | None) -> Overload | None:
    """None: the next request may wait behind `queue`, which is to hold `most` requests at most. `deadline`: the
    request's own, on the clock of `now`."""
    waiting, seconds = queue.waiting, queue.waiting * queue.seconds_each
    if waiting >= most:
        message = f"{waiting} requests are already waiting; try again later"
    elif deadline is not None and waiting and now + seconds > deadline:
        message = "the waiting requests take longer than the time limit of this request; try again later"
    else:
        return None
    return Overload(message, max(1, round(seconds)))
