"""The Unix socket on which records arrive. The host connects for each worker, and says whose records will come.

    host       {"release", "model"?, "token", "boot", "format": 2}     once, before the worker has the connection
    worker     {"seq", "bytes", "dropped"?} and `bytes` of body         any number
    collector  {"ack": seq}                                             once the batch is durable
    collector  {"ack": seq, "refused": why}                             a body that can never be accepted

Each is a line of JSON, except for the body, which `columns` describes. Only this user may connect, and each release has
its own limit of connections. A worker numbers its batches upwards and repeats, in order, those that were not
acknowledged.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from serinus.lib import unix_sockets
from serinus.lib.peers import is_ours
from serinus.predictions.intake.commit import GroupCommit
from serinus.predictions.segments.columns import Columns, parse_body
from serinus.predictions.segments.parsed import Parsed
from serinus.predictions.segments.sources import batch_key, batch_meta
from serinus.predictions.segments.wire import BatchHead, Hello, Malformed, parse_head, parse_hello

log = logging.getLogger(__name__)

_Answer = Callable[[Mapping[str, object]], None]

_BACKLOG = 100
_HELLO_SECONDS = 3.0
_MOST_STRANGERS = 64
"""The number of connections that have not said yet whose records will come."""
_MOST_CONNECTIONS = 2048
_MOST_OF_A_RELEASE = 32
"""The number of connections of one release. It is far more than its workers, including those that are stopping."""
_MOST_UNREAD_ACKS = 64 * 1024
_LINE = 64 * 1024
_BODY_SECONDS = 30.0
_LARGE_BODY = 2 * 1024 * 1024
"""Larger bodies are read one at a time, so that many of them are never in memory together."""
MAX_BODY = 64 * 1024 * 1024
"""The largest body in bytes. A larger batch is refused, and the worker discards it."""


class Intake:
    """Serves connections until `close`. Its counters are for the status and only cover this process."""

    def __init__(
        self, path: Path, secret: str, commit: GroupCommit, parsed: Parsed, monotonic: Callable[[], float]
    ) -> None:
        self._path, self._secret, self._commit, self._monotonic = path, secret, commit, monotonic
        self._parsed = parsed
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._strangers = 0
        self._places: Counter[str] = Counter()
        self.heard_at = monotonic()
        """When the last batch arrived."""
        self.received = 0
        self.refused = 0
        self.dropped: Counter[str] = Counter()
        """Release -> records that its workers had no room for."""
        self.refused_batches: Counter[str] = Counter()
        """Release -> batches that are lost because they were not as they should be."""
        self._large = asyncio.Lock()

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._connections)

    async def open(self) -> None:
        """Starts listening. Raises OSError."""
        listening = unix_sockets.listen_beside(self._path, _BACKLOG)
        self._server = await asyncio.start_unix_server(self._serve, sock=listening, limit=_LINE, backlog=_BACKLOG)
        unix_sockets.publish(self._path)

    async def close(self) -> None:
        """Stops listening and closes the remaining connections."""
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
            if not is_ours(writer.get_extra_info("socket")):
                raise Malformed("it is another user's")
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
        hello = await self._greeted(reader)
        if hello is None:
            return
        with self._place(hello.release):
            await self._take_all(hello, reader, writer)

    async def _greeted(self, reader: asyncio.StreamReader) -> Hello | None:
        """Returns the first message. None: the peer has closed, or there are too many connections without one."""
        if self._strangers >= _MOST_STRANGERS:
            return None
        self._strangers += 1
        try:
            async with asyncio.timeout(_HELLO_SECONDS):
                first = await _line(reader)
        finally:
            self._strangers -= 1
        return parse_hello(first, self._secret) if first else None

    @contextlib.contextmanager
    def _place(self, release: str) -> Iterator[None]:
        """Reserves one of the release's own connections. Where there is none left, the host tries again."""
        if self._places[release] >= _MOST_OF_A_RELEASE:
            raise Malformed(f"{release} has {_MOST_OF_A_RELEASE} connections already")
        self._places[release] += 1
        try:
            yield
        finally:
            self._places[release] -= 1
            if not self._places[release]:
                del self._places[release]

    async def _take_all(self, hello: Hello, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def answer(said: Mapping[str, object]) -> None:
            if not writer.is_closing():
                writer.write(json.dumps(said).encode() + b"\n")

        while line := await _line(reader):
            if writer.transport.get_write_buffer_size() > _MOST_UNREAD_ACKS:
                raise Malformed(f"{hello.release} does not read its acknowledgements")
            head = parse_head(line)
            await self._take(head, hello, reader, answer)
            self.heard_at = self._monotonic()

    async def _take(self, head: BatchHead, hello: Hello, reader: asyncio.StreamReader, answer: _Answer) -> None:
        async with self._large if head.length > _LARGE_BODY else contextlib.nullcontext():
            said: dict[str, object] = {"ack": head.seq}
            records = Columns()
            try:
                async with asyncio.timeout(_BODY_SECONDS):
                    body = await _body(reader, head.length)
                records = parse_body(body, hello)
            except Malformed as problem:
                # Sending it again would not help. The log keeps an empty batch in its place.
                self.refused_batches[hello.release] += 1
                log.error("a batch of %s is lost: %s", hello.release, problem)
                body, said["refused"] = b"", str(problem)
            meta, writer = batch_meta(hello, head), (hello.release, hello.boot)
            new = await self._commit.offer(meta, body, partial(answer, said), writer=writer, seq=head.seq)
        if new:
            self._parsed.put(batch_key(meta), records, len(body))
            self.received += len(records)
            if head.dropped:
                self.dropped[hello.release] += head.dropped


async def _line(reader: asyncio.StreamReader) -> bytes:
    """Reads a line without its end. Empty at the end of the stream, also where that truncates a line."""
    try:
        return (await reader.readuntil(b"\n")).rstrip(b"\n")
    except asyncio.IncompleteReadError:
        return b""
    except asyncio.LimitOverrunError:
        raise Malformed(f"a line is longer than {_LINE} bytes") from None


async def _body(reader: asyncio.StreamReader, length: int) -> bytes:
    """Reads the whole body. Raises Malformed, after skipping it, where it is too long."""
    if length <= MAX_BODY:
        return await reader.readexactly(length)
    while length:
        read = len(await reader.read(min(length, _LINE)))
        if not read:
            raise asyncio.IncompleteReadError(b"", length)
        length -= read
    raise Malformed(f"its body is longer than {MAX_BODY} bytes")
