"""A random sample of answered requests of some releases, from the segments, at a bounded cost."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from serinus.core.predictions import AnsweredRequest
from serinus.predictions.segments.columns import Columns
from serinus.predictions.segments.files import Position, numbers, read_frames
from serinus.predictions.segments.sources import RELEASE, records_of
from serinus.predictions.segments.wire import Malformed, read_json

MOST_ROWS = 1_000
"""The largest number of rows of a request. Larger ones are skipped, because a part may be answered differently from the
whole."""
_MOST_SEGMENTS = 3
"""The number of newest segments that are read. Each has at most about 16 MB."""
_LARGEST_BODY = 2 * 1024 * 1024
_MOST_BATCHES = 4
"""The number of batches of one release that are parsed."""

_Part = tuple[Position, Position]
"""The beginning and the end of a frame."""


def sample(
    directory: Path, releases: Collection[str], after: Position, most: int, dice: random.Random
) -> tuple[Position, Sequence[AnsweredRequest]]:
    """Returns the end of what was read, and at most `most` requests of each release that were written after `after`.

    Raises OSError.
    """
    mark = after
    chosen: dict[str, list[_Part]] = {}
    seen: dict[str, int] = {}
    for release, part in _parts(directory, releases, after):
        mark = part[1]
        if release is not None:
            seen[release] = seen.get(release, 0) + 1
            _reserve(chosen.setdefault(release, []), part, seen[release], dice)
    found: list[AnsweredRequest] = []
    for parts in chosen.values():
        drawn = [request for part in parts for request in _drawn(directory, part, most, dice)]
        found += dice.sample(drawn, min(most, len(drawn)))
    return mark, found


def _reserve(chosen: list[_Part], part: _Part, number: int, dice: random.Random) -> None:
    """Keeps each of `number` batches with the same probability (reservoir sampling)."""
    if len(chosen) < _MOST_BATCHES:
        chosen.append(part)
    elif (place := dice.randrange(number)) < _MOST_BATCHES:
        chosen[place] = part


def _drawn(directory: Path, part: _Part, most: int, dice: random.Random) -> list[AnsweredRequest]:
    records = records_of(read_frames(directory, *part))
    usable = [place for place in range(len(records)) if _usable(records, place)]
    drawn = dice.sample(usable, min(most, len(usable)))
    return [request for place in drawn if (request := _request(records, place)) is not None]


def _parts(directory: Path, releases: Collection[str], after: Position) -> Iterator[tuple[str | None, _Part]]:
    """Yields every frame after `after`, with its release where it is one of `releases`."""
    start = max(after, Position(min(numbers(directory)[-_MOST_SEGMENTS:], default=0), 0))
    for frame in read_frames(directory, start):
        begin = start if frame.end.segment == start.segment else Position(frame.end.segment, 0)
        start = frame.end
        wanted = frame.meta["source"] == RELEASE and 0 < len(frame.body) <= _LARGEST_BODY
        release = frame.meta["release"] if wanted else None
        yield release if release in releases else None, (begin, frame.end)


def _usable(records: Columns, place: int) -> bool:
    """Whether the request was answered by the model and is complete in the record."""
    scores, rows = records.scores[place], records.rows[place]
    answered = records.status[place] == 200 and not records.fallback[place] and records.error[place] is None
    return answered and scores is not None and 0 < rows == len(scores) <= MOST_ROWS


def _request(records: Columns, place: int) -> AnsweredRequest | None:
    """Returns the request. None: its inputs are not rows of values."""
    header, inputs, scores = records.header[place], records.inputs[place], records.scores[place]
    if inputs is None or scores is None:
        return None
    try:
        rows = read_json(inputs.encode())
        columns = None if header is None else tuple(read_json(header.encode()))
    except (Malformed, UnicodeEncodeError):
        return None
    if not isinstance(rows, list) or len(rows) != len(scores) or not all(isinstance(row, list) for row in rows):
        return None
    if columns is not None and any(len(row) != len(columns) for row in rows):
        return None
    return AnsweredRequest(records.release[place], columns, rows, scores)
