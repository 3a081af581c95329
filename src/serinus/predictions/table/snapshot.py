"""A consistent copy of the prediction log while it is written and rolled up."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO
from urllib.parse import unquote

import polars as pl
from deltalake import DeltaTable

from serinus.core.errors import Unavailable
from serinus.core.home import Home
from serinus.predictions.paths import segments_path
from serinus.predictions.table.places import Place

log = logging.getLogger(__name__)

_TRIES = 5
_LOG = "_delta_log"


def segments_and_table(home: Home, place: Place, counted: Callable[[], None]) -> Iterator[tuple[Path, IO[bytes]]]:
    """Yields the files to copy, opened. `counted` is called when the counts are to be copied. A table that is not on
    this machine is not copied.

    The order makes sure that nothing is lost and nothing is there twice. The existing segments are opened, then the
    counts are copied, which name a position in the segments, then newer segments, then the table. A segment that was
    rolled up meanwhile is in both copies, and the table says so (`rollup`). Raises OSError and Unavailable.
    """
    with ExitStack() as opened:
        first = {path: opened.enter_context(path.open("rb")) for path in _segments(home)}
        counted()
        later = [path for path in _segments(home) if path not in first]
        first |= {path: opened.enter_context(path.open("rb")) for path in later}
        yield from first.items()
    if place.directory is not None:
        with ExitStack() as opened:
            yield from _table(place.directory, opened)


def _segments(home: Home) -> list[Path]:
    return sorted(segments_path(home).glob("*.segment"))


def _table(root: Path, opened: ExitStack) -> Iterator[tuple[Path, IO[bytes]]]:
    """Yields the log and the data of one version. They are opened together, so that files that are deleted meanwhile
    can still be read."""
    if not (root / _LOG).is_dir():
        return
    for _ in range(_TRIES):
        table = DeltaTable(root)
        wanted = [*_log_of(root, table.version()), *_data_of(root, table)]
        with ExitStack() as attempt:
            try:
                found = [(path, attempt.enter_context(path.open("rb"))) for path in wanted]
            except FileNotFoundError:
                log.info("the table was compacted meanwhile: looking at it again")
                continue
            opened.push(attempt.pop_all())
        yield from found
        return
    raise Unavailable("the table of predictions changes faster than it can be read", hint="Try again.")


def _data_of(root: Path, table: DeltaTable) -> list[Path]:
    paths: list[str] = pl.DataFrame(table.get_add_actions(flatten=True))["path"].to_list()
    # The name of a partition is escaped once in the name of its directory, and once more in the log.
    return [path if (path := root / name).exists() else root / unquote(name) for name in paths]


def _log_of(root: Path, version: int) -> list[Path]:
    """Returns commits and checkpoints up to `version`. `_last_checkpoint` is only a hint and may name a later one."""
    found = []
    for path in sorted((root / _LOG).iterdir()):
        number = path.name.split(".")[0]
        if path.is_file() and number.isdecimal() and int(number) <= version:
            found.append(path)
    return found
