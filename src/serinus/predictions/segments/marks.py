"""What the collector shares with senders, which have none of its libraries."""

from __future__ import annotations

from typing import NamedTuple

FORMAT = 2
"""The format of batches that a hello must name."""


class RouterOffset(NamedTuple):
    """The position in Envoy's file of local replies up to which it is in the log."""

    inode: int
    offset: int
