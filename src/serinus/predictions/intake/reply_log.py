"""Writes the local replies of this machine's router to the log."""

from __future__ import annotations

import asyncio

from serinus.predictions.intake.commit import GroupCommit
from serinus.predictions.segments.marks import RouterOffset
from serinus.predictions.segments.sources import router_meta, router_replies


class ReplyLog:
    """Implements `router_log.Keeper`."""

    def __init__(self, commit: GroupCommit) -> None:
        self._commit = commit
        self.received = 0
        """The number of local replies that were written."""
        self.malformed = 0
        """The number of lines that could not be parsed."""

    async def keep(self, upto: RouterOffset, lines: bytes) -> None:
        """Returns once the lines are durable."""
        replies, malformed = router_replies(lines)
        durable = asyncio.Event()
        await self._commit.offer(router_meta(*upto), lines, durable.set)
        await durable.wait()
        self.received += len(replies)
        self.malformed += malformed
