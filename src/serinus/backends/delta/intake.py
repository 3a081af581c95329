"""The Unix socket on which workers hand in their records.

    worker     {"release", "model", "token", "boot"}       once
    worker     {"seq", "records": [...], "dropped"?}       any number
    collector  {"ack": seq}                                once the batch is durable

One line of JSON each. A worker numbers its batches upwards and repeats, in order, what was not acknowledged.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from serinus.backends.delta.commit import GroupCommit
from serinus.backends.delta.records import MAX_LINE, Hello, Malformed, parse_batch, parse_hello
from serinus.backends.delta.sources import batch_meta

log = logging.getLogger(__name__)

_HELLO_SECONDS = 10.0
_MOST_CONNECTIONS = 512
_MOST_UNREAD_ACKS = 64 * 1024


class Intake:
    """Serves connections until `close`. `received`, `refused` and `dropped` are for the status."""

    def __init__(self, path: Path, secret: str, commit: GroupCommit, monotonic: Callable[[], float]) -> None:
        self._path, self._secret, self._commit, self._monotonic = path, secret, commit, monotonic
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.heard_at = monotonic()
        """When the last batch arrived."""
        self.received = 0
        self.refused = 0
        self.dropped: Counter[str] = Counter()

    @property
    def connections(self) -> int:
        return len(self._connections)

    async def open(self) -> None:
        """Listens on a socket that is made under another name, so that it is never there with a wrong mode."""
        new = self._path.with_name(self._path.name + ".new")
        new.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, path=new, limit=MAX_LINE)
        new.chmod(0o600)
        new.rename(self._path)

    async def close(self) -> None:
        """Stops listening and ends the connections that are left."""
        if self._server is None:
            return
        self._server.close()
        self._path.unlink(missing_ok=True)
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            if len(self._connections) <= _MOST_CONNECTIONS:
                await self._listen(reader, writer)
        except Malformed as problem:
            self.refused += 1
            log.warning("closed a connection: %s", problem)
        except (ConnectionError, TimeoutError, asyncio.IncompleteReadError):
            log.debug("a worker went away")
        finally:
            self._connections.discard(task)
            writer.close()

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(_HELLO_SECONDS):
            first = await _line(reader)
        if not first:
            return
        hello = parse_hello(first, self._secret)
        while line := await _line(reader):
            if writer.transport.get_write_buffer_size() > _MOST_UNREAD_ACKS:
                raise Malformed(f"{hello.release} does not read its acknowledgements")
            await self._take(line, hello, writer)

    async def _take(self, line: bytes, hello: Hello, writer: asyncio.StreamWriter) -> None:
        try:
            batch = parse_batch(line, hello)
        except Malformed as problem:
            raise Malformed(f"{hello.release}: {problem}") from None
        self.heard_at = self._monotonic()

        def acknowledge() -> None:
            if not writer.is_closing():
                writer.write(json.dumps({"ack": batch.seq}).encode() + b"\n")

        key = (hello.release, hello.boot)
        if await self._commit.offer(batch_meta(hello, batch.seq), line, acknowledge, writer=key, seq=batch.seq):
            self.received += len(batch.records)
            if batch.dropped:
                self.dropped[hello.release] += batch.dropped


async def _line(reader: asyncio.StreamReader) -> bytes:
    """The next line without its end; empty at the end of the stream, also where that cuts a line short."""
    try:
        return (await reader.readuntil(b"\n")).rstrip(b"\n")
    except asyncio.IncompleteReadError:
        return b""
    except asyncio.LimitOverrunError:
        raise Malformed(f"a line is longer than {MAX_LINE} bytes") from None
