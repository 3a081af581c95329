"""The name of the collector of a disk. The table stores under it which segments of this disk it holds.

A disk that is lost takes its name with it. The next one has another name, so its segments, which are numbered from the
beginning, are not taken for those of the first.
"""

from __future__ import annotations

import secrets

from serinus.core.home import Home
from serinus.lib import files
from serinus.predictions.paths import writer_path


def ensured_writer(home: Home) -> str:
    """Returns the name, and makes one where there is none. Only the collector calls it. Raises OSError."""
    known = known_writer(home)
    if not known:
        files.write(writer_path(home), secrets.token_hex(8))
    return known or known_writer(home)


def known_writer(home: Home) -> str:
    """Returns the name. Empty: the disk has no segments, or a collector of an earlier version wrote them. Raises
    OSError."""
    try:
        return writer_path(home).read_text().strip()
    except FileNotFoundError:
        return ""
