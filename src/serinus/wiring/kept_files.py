"""Kept rows in files of a home, where earlier versions of Serinus had them: they are moved to the store."""

from __future__ import annotations

import logging
import shutil
from urllib.parse import unquote

from serinus.core.home import Home
from serinus.core.kept_rows import from_text
from serinus.core.ports import KeptRows

log = logging.getLogger(__name__)


def move_to_store(home: Home, store: KeptRows) -> None:
    """Stores the rows in `<home>/golden/<model>.json`, then removes the files.

    It may be killed and called again. A file that cannot be read stays where it is.
    """
    left = False
    for path in sorted(home.golden.glob("*.json")):
        try:
            rows = from_text(path.read_bytes())
        except (OSError, ValueError):
            log.warning("%s cannot be read, so its rows are not used: remove it", path)
            left = True
            continue
        store.keep_rows(unquote(path.stem), rows)
        path.unlink()
    if not left:
        shutil.rmtree(home.golden, ignore_errors=True)
