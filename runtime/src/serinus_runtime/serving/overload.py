"""Early refusals: too many requests wait, or the queue takes longer than the caller waits."""

from __future__ import annotations

from typing import NamedTuple


class Queue(NamedTuple):
    """The queue before a request: the number of `waiting` requests, and the seconds that each takes."""

    waiting: int
    seconds_each: float


class Overload(NamedTuple):
    """Why a request is answered with 503. `retry_after` is in whole seconds until the queue is processed, at least
    1."""

    message: str
    retry_after: int


def overload(queue: Queue, most: int, now: float, deadline: float | None) -> Overload | None:
    """Returns why the next request must not wait behind `queue`. None: it may. `most` is the limit of the queue, and
    `deadline` the request's own, on the clock of `now`."""
    waiting, seconds = queue.waiting, queue.waiting * queue.seconds_each
    if waiting >= most:
        message = f"{waiting} requests are already waiting; try again later"
    elif deadline is not None and waiting and now + seconds > deadline:
        message = "the waiting requests take longer than the time limit of this request; try again later"
    else:
        return None
    return Overload(message, max(1, round(seconds)))
