"""The collector's side of the roll-up, which runs in a process of its own (`rolling`), so that it neither delays the
intake nor uses the collector's memory.

    collector  {"counted": [segment, offset], "writing": segment}     a line of JSON on stdin
    roll-up    {"rolled": count} or {"error": why}                    one in answer, on stdout

It ends with its stdin. It inherits the lock of the home, so that no other collector begins while it is at work.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from dataclasses import dataclass

from serinus.core.home import Home
from serinus.predictions.segments.files import Position

_PROCESS = "serinus.predictions.table.rolling"
_SECONDS = 600.0
"""The time limit of one answer."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How often the table is maintained: after so many roll-ups, and after so many seconds."""

    commits: int = 20
    """It is also the number of small files of one partition from which on they are merged."""
    seconds: float = 3600


class RollerError(Exception):
    """The roll-up failed. It may be tried again."""


class Roller:
    """Controls the process. It is started when it is first needed, and again after it has died."""

    def __init__(self, home: Home, schedule: Schedule, lock: int, table: str, database: str | None) -> None:
        self._home, self._schedule, self._lock = home, schedule, lock
        self._places = ["--table", table, *(["--database", database] if database else [])]
        self._process: asyncio.subprocess.Process | None = None

    async def step(self, counted: Position, writing: int) -> int:
        """Rolls up every segment before `writing` that was counted to its end. Returns how many. Raises RollerError."""
        process = await self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps({"counted": counted, "writing": writing}).encode() + b"\n")
            await process.stdin.drain()
            answer = await asyncio.wait_for(process.stdout.readline(), _SECONDS)
        except (ConnectionError, TimeoutError) as error:
            raise RollerError(f"the roll-up does not answer ({type(error).__name__})") from error
        if not answer:
            raise RollerError(f"the roll-up died with code {await process.wait()}")
        said = json.loads(answer)
        if "error" in said:
            raise RollerError(f"the roll-up failed ({said['error']})")
        return int(said["rolled"])

    async def close(self, patience: float) -> None:
        """Ends the process after its present work, or after `patience` seconds."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), patience)

    async def _running(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", _PROCESS, "--home", str(self._home.path), *self._places),
                *("--commits", str(self._schedule.commits), "--seconds", str(self._schedule.seconds)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                pass_fds=(self._lock,),
            )
        return self._process
