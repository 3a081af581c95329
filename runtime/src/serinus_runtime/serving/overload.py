"""When a worker says no at once: too many wait, or the queue is longer than the caller will."""

from __future__ import annotations


def refusal(waiting: int, most: int, each: float, now: float, deadline: float | None) -> str | None:
    """Why the next request is to be answered 503, in words; None: it may wait. `waiting`: how many there are before it,
    of at most `most`; `each`: seconds that one of them takes; `deadline`: the request's own, on the clock of `now`."""
    if waiting >= most:
        return f"{waiting} requests are waiting here already; try again"
    if deadline is not None and waiting and now + waiting * each > deadline:
        return "the requests that are waiting here take longer than the caller's time; try again"
    return None


def retry_after(waiting: int, each: float) -> int:
    """Whole seconds until what waits is worked off, at least 1."""
    return max(1, round(waiting * each))
