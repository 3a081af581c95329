"""Sends the local replies of a gateway's Envoy to a collector on another machine, exactly once.

`RouterLog` follows the file of local replies, as it does where the collector runs beside Envoy. Each part of the file
that it reads is sent as one numbered batch, instead of being written to the log. The collector acknowledges a batch
once it is durable. The number of a batch and its position in the file are saved before the batch is sent. After a kill,
the same batch is sent again with the same number, and the collector ignores it if it has it already.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
import ssl
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from serinus.lib import files
from serinus.lib.backoff import Backoff
from serinus.predictions.intake.router_log import TURN_OVER_BYTES, RouterLog
from serinus.predictions.segments.marks import FORMAT, RouterOffset

log = logging.getLogger(__name__)

FOLLOW_EVERY = 0.2
"""The time in seconds between two reads of the file."""
_ACK_SECONDS = 30.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_LINE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Collectors:
    """The collectors that may be connected to. `addresses` are tried in turn. Their certificates must be valid for
    `name` and signed by an authority in `trust`. Both functions are called for every connection, because certificates
    and tokens are renewed. They raise OSError or ValueError."""

    addresses: tuple[tuple[str, int], ...]
    name: str
    trust: Callable[[], ssl.SSLContext]
    token: Callable[[], str]


@dataclass(frozen=True, slots=True)
class _Sent:
    """The last batch that was sent: bytes `begin` to `end` of the file `inode`, with the number `seq`."""

    boot: str
    seq: int
    inode: int
    begin: int
    end: int


class Forwarder:
    """Follows one file until it is cancelled. `state` is a file that must survive a restart of this process."""

    def __init__(
        self,
        path: Path,
        state: Path,
        collectors: Collectors,
        admin: str | None,
        turn_over_bytes: int = TURN_OVER_BYTES,
    ) -> None:
        """`path`, `admin` and `turn_over_bytes` are those of `RouterLog`."""
        self._path, self._state_file = path, state
        self._link = _Link(collectors)
        self._last = _read(state)
        at = None if self._last is None else RouterOffset(self._last.inode, self._last.end)
        self.received = 0
        """The number of local replies that the collector has acknowledged to this process."""
        self._following = RouterLog(path, at, self, admin, turn_over_bytes)

    @property
    def trouble(self) -> str:
        """The reason why nothing can be sent, or an empty string."""
        return self._link.trouble or self._following.trouble

    async def run(self) -> None:
        """Sends until it is cancelled. Raises OSError if the state cannot be written."""
        try:
            await self._repeat()
            while True:
                while await self._following.step():
                    pass
                await asyncio.sleep(FOLLOW_EVERY)
        finally:
            self._link.close()

    async def keep(self, upto: RouterOffset, lines: bytes) -> None:
        """Sends the next batch and returns once the collector has acknowledged it. Implements `router_log.Keeper`."""
        boot, seq = (self._last.boot, self._last.seq) if self._last else (secrets.token_hex(16), 0)
        sent = _Sent(boot, seq + 1, upto.inode, upto.offset - len(lines), upto.offset)
        await asyncio.to_thread(files.write, self._state_file, json.dumps(asdict(sent)))
        self._last = sent
        if lines:
            await self._link.send(boot, sent.seq, lines)
            self.received += lines.count(b"\n")

    async def _repeat(self) -> None:
        """Sends the last batch of an earlier process again, unless its file no longer exists."""
        if self._last is None or self._last.begin == self._last.end:
            return
        for path in (self._path, self._path.with_name(f"{self._path.name}.1")):
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                if os.fstat(file.fileno()).st_ino == self._last.inode:
                    file.seek(self._last.begin)
                    body = file.read(self._last.end - self._last.begin)
                    await self._link.send(self._last.boot, self._last.seq, body)
                    return


class _Link:
    """Keeps at most one connection, which is opened when there is something to send."""

    def __init__(self, collectors: Collectors) -> None:
        self._collectors = collectors
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        self._turn = 0
        self.trouble = ""

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def send(self, boot: str, seq: int, body: bytes) -> None:
        """Sends one batch and returns once a collector has acknowledged it. Retries without a limit."""
        head = json.dumps({"seq": seq, "bytes": len(body)}).encode() + b"\n"
        while True:
            try:
                async with asyncio.timeout(_ACK_SECONDS):
                    reader, writer = self._streams or await self._connect(boot)
                    writer.write(head + body)
                    await writer.drain()
                    answer = await reader.readline()
                said = json.loads(answer)
                if said["ack"] != seq:
                    raise ValueError("an acknowledgement of another batch")
            except (OSError, TimeoutError, ValueError, KeyError, TypeError) as error:
                self.close()
                if not self.trouble:
                    log.warning("the collector does not take local replies: %s; trying again", type(error).__name__)
                self.trouble = f"the collector does not take local replies: {type(error).__name__}"
                await asyncio.sleep(self._backoff.pause())
            else:
                self.trouble = ""
                self._backoff.reset()
                return

    async def _connect(self, boot: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connects to the next collector in turn. Raises OSError."""
        collectors = self._collectors
        host, port = collectors.addresses[self._turn % len(collectors.addresses)]
        self._turn += 1
        reader, writer = await asyncio.open_connection(
            host, port, ssl=collectors.trust(), server_hostname=collectors.name, limit=_LINE
        )
        hello = {"token": collectors.token(), "boot": boot, "format": FORMAT}
        writer.write(json.dumps(hello).encode() + b"\n")
        self._streams = reader, writer
        return self._streams


def _read(state: Path) -> _Sent | None:
    """Returns None if nothing was sent yet. Raises ValueError or KeyError if the file is damaged."""
    try:
        said = json.loads(state.read_text())
    except FileNotFoundError:
        return None
    return _Sent(said["boot"], said["seq"], said["inode"], said["begin"], said["end"])
