"""The sockets on which records arrive: a Unix socket for this machine, and TLS for other machines.

    writer     {"release", "model"?, "token", "boot", "format": 2}      once; a remote writer leaves out the release
    writer     {"seq", "bytes", "dropped"?} and `bytes` of body         any number
    collector  {"ack": seq}                                             once the batch is durable
    collector  {"ack": seq, "refused": why}                             a body that can never be accepted

Each message is one line of JSON, except for the body. The writers of this machine are workers. The host makes the
connection for a worker and sends the first line. Only this user may connect to the Unix socket. A remote writer is
either the supervisor of a pod, which relays the batches of one worker, or the agent of a gateway, whose batches are
lines of Envoy's local replies. The release or gateway is taken from the token, which the `Writers` port checks, and
never from what a remote writer says.

Each writer has its own limit of connections. It numbers its batches upwards and repeats, in order, those that were not
acknowledged.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from serinus.core.errors import Unavailable
from serinus.core.ports import Writers
from serinus.lib import unix_sockets
from serinus.lib.peers import is_ours
from serinus.predictions.intake.commit import GroupCommit
from serinus.predictions.segments.columns import Columns, parse_body
from serinus.predictions.segments.parsed import Parsed
from serinus.predictions.segments.sources import batch_key, batch_meta, gateway_meta, router_replies, writer_of
from serinus.predictions.segments.wire import (
    BatchHead,
    GatewayHello,
    Hello,
    Malformed,
    hello_of_release,
    parse_head,
    parse_hello,
    parse_remote_hello,
)

log = logging.getLogger(__name__)

_Answer = Callable[[Mapping[str, object]], None]
_AnyHello = Hello | GatewayHello
_Greet = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[tuple[_AnyHello, int] | None]]

_BACKLOG = 100
_HELLO_SECONDS = 3.0
_MOST_STRANGERS = 64
"""The number of connections that have not said yet whose records will come."""
_MOST_CONNECTIONS = 2048
_MOST_OF_A_RELEASE = 32
"""The number of connections of one release on this machine. It is far more than its workers, including those that are
stopping."""
_MOST_OF_A_REMOTE_WRITER = 512
"""The same limit for the workers in all pods of a release, and for the replicas of a gateway."""
_VERIFY_SECONDS = 10.0
_MOST_UNREAD_ACKS = 64 * 1024
_LINE = 64 * 1024
_BODY_SECONDS = 30.0
_LARGE_BODY = 2 * 1024 * 1024
"""Larger bodies are read one at a time, so that many of them are never in memory together."""
MAX_BODY = 64 * 1024 * 1024
"""The largest body in bytes. A larger batch is refused, and the worker discards it."""


@dataclass(frozen=True, slots=True)
class RemoteDoor:
    """The listener for writers on other machines. `certificate` is the server's TLS context with its private key."""

    address: str
    port: int
    certificate: ssl.SSLContext
    writers: Writers


class Intake:
    """Serves connections until `close`. Its counters are for the status and only cover this process."""

    def __init__(
        self,
        path: Path,
        secret: str,
        commit: GroupCommit,
        parsed: Parsed,
        monotonic: Callable[[], float],
        remote: RemoteDoor | None = None,
    ) -> None:
        """`path` is the Unix socket. Without `remote` only writers of this machine are served."""
        self._path, self._secret, self._commit, self._monotonic = path, secret, commit, monotonic
        self._parsed, self._remote = parsed, remote
        self._servers: list[asyncio.Server] = []
        self._connections: set[asyncio.Task[None]] = set()
        self._strangers = 0
        self._places: Counter[str] = Counter()
        self.heard_at = monotonic()
        """The time at which the last batch arrived."""
        self.received = 0
        self.refused = 0
        self.dropped: Counter[str] = Counter()
        """Release -> the number of records that its workers had no room for."""
        self.refused_batches: Counter[str] = Counter()
        """Release -> the number of batches that were malformed and are lost."""
        self.malformed_replies = 0
        """The number of lines from gateways that could not be parsed."""
        self._large = asyncio.Lock()

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._connections)

    async def open(self) -> None:
        """Starts listening. Raises OSError."""
        listening = unix_sockets.listen_beside(self._path, _BACKLOG)
        serve = partial(self._serve, self._greeted_here)
        self._servers.append(await asyncio.start_unix_server(serve, sock=listening, limit=_LINE, backlog=_BACKLOG))
        if (door := self._remote) is not None:
            self._servers.append(
                await asyncio.start_server(
                    partial(self._serve, partial(self._greeted_from_afar, door.writers)),
                    door.address,
                    door.port,
                    ssl=door.certificate,
                    ssl_handshake_timeout=_HELLO_SECONDS,
                    limit=_LINE,
                    backlog=_BACKLOG,
                )
            )
        unix_sockets.publish(self._path)

    @property
    def remote_port(self) -> int | None:
        """The port of the listener for other machines, or None if there is none."""
        return int(self._servers[1].sockets[0].getsockname()[1]) if len(self._servers) > 1 else None

    async def close(self) -> None:
        """Stops listening and closes the remaining connections."""
        if not self._servers:
            return
        for server in self._servers:
            server.close()
        self._path.unlink(missing_ok=True)
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, greet: _Greet, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            if len(self._connections) <= _MOST_CONNECTIONS:
                await self._listen(greet, reader, writer)
        except Malformed as problem:
            self.refused += 1
            log.warning("closed a connection: %s", problem)
        except Unavailable as problem:
            log.warning("closed a connection, whose writer comes again: %s", problem.message)
        except (ConnectionError, TimeoutError, ssl.SSLError, asyncio.IncompleteReadError):
            log.debug("a writer went away")
        finally:
            self._connections.discard(task)
            writer.close()

    async def _listen(self, greet: _Greet, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        greeted = await greet(reader, writer)
        if greeted is None:
            return
        hello, most = greeted
        with self._place(_name(hello), most):
            await self._take_all(hello, reader, writer)

    async def _greeted_here(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[_AnyHello, int] | None:
        """Returns the first message and the writer's limit of connections. None: the peer has closed, or there are too
        many connections without a first message."""
        if not is_ours(writer.get_extra_info("socket")):
            raise Malformed("it is another user's")
        first = await self._first_line(reader)
        return (parse_hello(first, self._secret), _MOST_OF_A_RELEASE) if first else None

    async def _greeted_from_afar(
        self, writers: Writers, reader: asyncio.StreamReader, _: asyncio.StreamWriter
    ) -> tuple[_AnyHello, int] | None:
        """Does the same for a writer on another machine."""
        first = await self._first_line(reader)
        if not first:
            return None
        token, boot = parse_remote_hello(first)
        async with asyncio.timeout(_VERIFY_SECONDS):
            owner = await asyncio.to_thread(writers.owner, token)
        if owner is None:
            raise Malformed("hello: the token is nobody's, or has expired")
        # The pod is part of the writer's name, so that a pod cannot use up the batch numbers of another pod.
        boot = hashlib.sha256(f"{owner.holder}/{boot}".encode()).hexdigest()[:32]
        if owner.gateway:
            return GatewayHello(owner.gateway, boot), _MOST_OF_A_REMOTE_WRITER
        return hello_of_release(owner.release, boot), _MOST_OF_A_REMOTE_WRITER

    async def _first_line(self, reader: asyncio.StreamReader) -> bytes:
        """Returns the first line. It is empty if the peer has closed, or if too many others have sent nothing yet."""
        if self._strangers >= _MOST_STRANGERS:
            return b""
        self._strangers += 1
        try:
            async with asyncio.timeout(_HELLO_SECONDS):
                return await _line(reader)
        finally:
            self._strangers -= 1

    @contextlib.contextmanager
    def _place(self, name: str, most: int) -> Iterator[None]:
        """Reserves one of the writer's own connections. If none is left, the writer tries again later."""
        if self._places[name] >= most:
            raise Malformed(f"{name} has {most} connections already")
        self._places[name] += 1
        try:
            yield
        finally:
            self._places[name] -= 1
            if not self._places[name]:
                del self._places[name]

    async def _take_all(self, hello: _AnyHello, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def answer(said: Mapping[str, object]) -> None:
            if not writer.is_closing():
                writer.write(json.dumps(said).encode() + b"\n")

        while line := await _line(reader):
            if writer.transport.get_write_buffer_size() > _MOST_UNREAD_ACKS:
                raise Malformed(f"{_name(hello)} does not read its acknowledgements")
            head = parse_head(line)
            await self._take(head, hello, reader, answer)
            self.heard_at = self._monotonic()

    async def _take(self, head: BatchHead, hello: _AnyHello, reader: asyncio.StreamReader, answer: _Answer) -> None:
        async with self._large if head.length > _LARGE_BODY else contextlib.nullcontext():
            said: dict[str, object] = {"ack": head.seq}
            name, taken = _name(hello), 0
            records: Columns | None = None
            try:
                async with asyncio.timeout(_BODY_SECONDS):
                    body = await _body(reader, head.length)
                if isinstance(hello, Hello):
                    records = parse_body(body, hello)
                    taken = len(records)
                else:
                    replies, malformed = router_replies(body)
                    taken = len(replies)
                    self.malformed_replies += malformed
            except Malformed as problem:
                # Sending it again would not help. The log keeps an empty batch in its place.
                self.refused_batches[name] += 1
                log.error("a batch of %s is lost: %s", name, problem)
                body, said["refused"] = b"", str(problem)
                records = Columns() if isinstance(hello, Hello) else None
            meta = batch_meta(hello, head) if isinstance(hello, Hello) else gateway_meta(hello, head)
            new = await self._commit.offer(meta, body, partial(answer, said), writer=writer_of(meta), seq=head.seq)
        if new:
            if records is not None:
                self._parsed.put(batch_key(meta), records, len(body))
            self.received += taken
            if head.dropped:
                self.dropped[name] += head.dropped


def _name(hello: _AnyHello) -> str:
    return hello.release if isinstance(hello, Hello) else f"gateway {hello.gateway}"


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
