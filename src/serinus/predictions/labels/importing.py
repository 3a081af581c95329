"""Imports of outcomes. Their parts are stored in files, and attached together after the last one.

The files are `<predictions>/imports/<import>/<part>.parquet`. Parts that nobody attaches are removed after a day.
"""

from __future__ import annotations

import re
import shutil
import time
from contextlib import suppress
from pathlib import Path

import polars as pl

from serinus.core.errors import InvalidInput, NotFound
from serinus.core.predictions import Labels
from serinus.lib import files
from serinus.predictions.labels.outcomes import KEY, SCHEMA

KEPT_SECONDS = 24 * 3600.0

_ID = re.compile(r"[0-9a-f]{32}")


class Imports:
    """The parts of imports."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def add(self, id_: str, number: int, part: Labels) -> None:
        """Stores part `number` of an import, and replaces one with the same number. Raises InvalidInput and OSError."""
        directory = self._of(id_)
        if not directory.is_dir():
            self._sweep()
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        frame = pl.DataFrame([pl.Series(name, getattr(part, name), kind) for name, kind in SCHEMA.items()])
        with files.replacing(directory / f"{number:06}.parquet", durable=False) as file:
            frame.write_parquet(file, compression="lz4")

    def outcomes(self, id_: str) -> pl.DataFrame:
        """Returns the latest outcome of each request, sorted by key, with the columns of `SCHEMA`. Raises NotFound."""
        parts = sorted(self._of(id_).glob("*.parquet"))
        if not parts:
            raise NotFound("there is no such import of outcomes: it was not started, or was left for more than a day")
        frame = pl.concat([pl.read_parquet(part) for part in parts]).sort("observed_at", maintain_order=True)
        return frame.unique(subset=list(KEY), keep="last", maintain_order=True).sort(KEY)

    def discard(self, id_: str) -> None:
        """Removes the import. Does nothing where there is none."""
        shutil.rmtree(self._of(id_), ignore_errors=True)

    def _of(self, id_: str) -> Path:
        if not _ID.fullmatch(id_):
            raise InvalidInput("the id of an import of outcomes has 32 hexadecimal digits")
        return self._directory / id_

    def _sweep(self) -> None:
        for directory in self._directory.glob("*"):
            with suppress(OSError):
                if time.time() - directory.stat().st_mtime > KEPT_SECONDS:
                    shutil.rmtree(directory, ignore_errors=True)
