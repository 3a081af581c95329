"""The server on a real Unix socket, in this process, with a handler that needs no model."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from serinus_runtime.base.messages import Request
from serinus_runtime.http.server import Handler, Pending, Response, Server


def echo_length(request: Request) -> Response:
    if request.target == b"/bug":
        raise RuntimeError("a bug of the handler")
    if request.refusal is not None:
        return Response(request.refusal.status, b"{}")
    return Response(200, b'{"length":%d}' % len(request.body))


@contextlib.asynccontextmanager
async def serving(path: Path, handler: Handler = echo_length, **limits: float) -> AsyncIterator[Server]:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    server = Server(listener, handler, 1000, **limits)
    await server.start()
    try:
        yield server
    finally:
        await server.drain(patience=0.0)


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def talk(path: Path, conversation: Talk, **limits: float) -> None:
    """Runs a server and one caller's conversation with it."""

    async def run() -> None:
        async with serving(path / "s.sock", **limits):
            reader, writer = await asyncio.open_unix_connection(str(path / "s.sock"))
            await asyncio.wait_for(conversation(reader, writer), 10)
            writer.close()

    asyncio.run(run())


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.strip().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(first.split()[1]), headers, await reader.readexactly(int(headers["content-length"]))


POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s"


def test_a_kept_connection_answers_one_request_after_another(short_path: Path) -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for size in (0, 5, 1000):
            writer.write(POST % (size, b"a" * size))
            status, headers, body = await answer(reader)
            assert (status, body) == (200, b'{"length":%d}' % size)
            assert "connection" not in headers

    talk(short_path, conversation)


def test_many_pipelined_requests_are_all_answered_in_order(short_path: Path) -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"".join(POST % (i, b"a" * i) for i in range(300)))
        for i in range(300):
            assert (await answer(reader))[2] == b'{"length":%d}' % i

    talk(short_path, conversation)


def test_a_caller_that_does_not_read_is_not_buffered_without_end(short_path: Path) -> None:
    async def run() -> None:
        async with serving(short_path / "s.sock") as server:
            reader, writer = await asyncio.open_unix_connection(str(short_path / "s.sock"), limit=1 << 12)
            request, sent = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 1000, 0
            with contextlib.suppress(asyncio.TimeoutError):
                while sent < 400:
                    writer.write(request)
                    await asyncio.wait_for(writer.drain(), 0.3)
                    sent += 1
            assert sent < 400, "the server must stop reading when nobody reads its answers"
            (connection,) = server.connections
            assert connection._parser.buffered < 1 << 20
            for _ in range(1000 * sent):
                assert (await answer(reader))[0] == 200
            writer.close()

    asyncio.run(run())


def test_a_mistake_in_a_request_does_not_cost_the_connection(short_path: Path) -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(POST % (2000, b"a" * 2000) + POST % (1, b"a"))
        assert (await answer(reader))[0] == 413
        assert (await answer(reader))[0] == 200

    talk(short_path, conversation)


def test_bytes_that_are_not_http_are_answered_and_the_connection_closed(short_path: Path) -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(POST % (1, b"a") + b"nonsense\r\n\r\n" + POST % (1, b"a"))
        assert (await answer(reader))[0] == 200
        status, headers, body = await answer(reader)
        assert (status, headers["connection"]) == (400, "close")
        assert b"nonsense" not in body
        assert await reader.read() == b""

    talk(short_path, conversation)


def test_who_is_refused_while_it_still_sends_reads_why_and_is_not_reset(short_path: Path) -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
        for _ in range(100):
            writer.write(b"a" * 65_536)
            await writer.drain()
        status, headers, _ = await answer(reader)
        assert (status, headers["connection"]) == (400, "close")
        assert await reader.read() == b""
        writer.write(POST % (1, b"a"))  # would raise ConnectionResetError
        await writer.drain()

    talk(short_path, conversation)


def test_who_sends_on_although_it_was_refused_is_cut_off_some_time(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serinus_runtime.http.server._LINGER", 0.2)

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def send_on() -> None:
            while True:  # `talk` limits the time
                writer.write(b"a" * 65_536)
                await writer.drain()
                await asyncio.sleep(0.01)

        writer.write(b"nonsense\r\n\r\n")
        with pytest.raises(ConnectionError):
            await send_on()

    talk(short_path, conversation, slow=0.4)


@pytest.mark.parametrize(("length", "status"), [(2000, 413), (900, 408)])
def test_a_body_that_does_not_arrive_in_time_is_refused_for_its_size_where_that_is_why(
    short_path: Path, length: int, status: int
) -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(POST % (length, b"a" * 100))
        assert (await answer(reader))[0] == status

    talk(short_path, conversation, slow=0.2)


def test_a_bug_in_the_handler_is_a_500_and_the_connection_lives(
    short_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"GET /bug HTTP/1.1\r\nHost: x\r\n\r\n" + POST % (1, b"a"))
        assert (await answer(reader))[0] == 500
        assert (await answer(reader))[0] == 200

    talk(short_path, conversation)
    assert "a bug of the handler" in capsys.readouterr().err


def test_a_half_closed_connection_gets_all_its_answers(short_path: Path) -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((POST % (1, b"a")) * 40)
        writer.write_eof()
        for _ in range(40):
            assert (await answer(reader))[0] == 200
        assert await reader.read() == b""

    talk(short_path, conversation)


def test_a_request_that_ends_in_the_middle_is_told_so(short_path: Path) -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(POST % (10, b"a"))
        writer.write_eof()
        assert (await answer(reader))[0] == 400

    talk(short_path, conversation)


def test_the_body_is_asked_for_where_the_caller_waits_to_be_asked(short_path: Path) -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"abc")
        assert (await answer(reader))[2] == b'{"length":3}'

    talk(short_path, conversation)


@pytest.mark.parametrize("start", [b"POST / HTTP/1.1\r\nHo", POST % (10, b"a")])
def test_a_slow_sender_is_cut_off_and_a_silent_one_is_not(short_path: Path, start: bytes) -> None:
    async def run() -> None:
        async with serving(short_path / "s.sock", slow=0.2):
            idle_reader, idle_writer = await asyncio.open_unix_connection(str(short_path / "s.sock"))
            reader, writer = await asyncio.open_unix_connection(str(short_path / "s.sock"))
            writer.write(start)
            status, headers, _ = await asyncio.wait_for(answer(reader), 5)
            assert (status, headers["connection"]) == (408, "close")
            idle_writer.write(POST % (1, b"a"))
            assert (await asyncio.wait_for(answer(idle_reader), 5))[0] == 200
            idle_writer.close()
            writer.close()

    asyncio.run(run())


def test_a_connection_that_is_silent_for_too_long_is_closed(short_path: Path) -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.read() == b""

    talk(short_path, conversation, slow=0.2, idle=0.2)


def test_draining_answers_what_still_comes_and_says_close(short_path: Path) -> None:
    async def run() -> None:
        async with serving(short_path / "s.sock") as server:
            path = str(short_path / "s.sock")
            kept, (reader, writer) = await asyncio.open_unix_connection(path), await asyncio.open_unix_connection(path)
            writer.write(POST % (1, b"a"))
            await answer(reader)
            draining = asyncio.ensure_future(server.drain(patience=5.0, quiet=0.5))
            while not server.draining:
                await asyncio.sleep(0)
            writer.write(POST % (1, b"a"))
            status, headers, _ = await answer(reader)
            assert (status, headers["connection"]) == (200, "close")
            assert await reader.read() == b""
            assert not draining.done()
            await asyncio.wait_for(draining, 5)
            assert await kept[0].read() == b"", "the idle one is closed when all have been quiet"
            kept[1].close()
            writer.close()

    asyncio.run(run())


def test_head_has_the_length_and_no_body(short_path: Path) -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n" + POST % (1, b"a"))
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"content-length: 12" in head
        assert (await answer(reader))[0] == 200

    talk(short_path, conversation)


# --- answers that come later, and turns


Opened = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def opened(path: Path, count: int) -> list[Opened]:
    return [await asyncio.open_unix_connection(str(path / "s.sock")) for _ in range(count)]


async def soon(predicate: Callable[[], bool]) -> None:
    async def wait() -> None:
        while not predicate():
            await asyncio.sleep(0.001)

    await asyncio.wait_for(wait(), 10)


def test_an_answer_that_comes_later_keeps_its_place_among_the_pipelined_ones(short_path: Path) -> None:
    pending: list[Pending] = []

    def handler(request: Request) -> Response | Pending:
        if request.body == b"a":
            pending.append(Pending())
            return pending[-1]
        return echo_length(request)

    async def run() -> None:
        async with serving(short_path / "s.sock", handler) as server:
            ((reader, writer), (other, others)) = await opened(short_path, 2)
            writer.write(POST % (1, b"a") + POST % (2, b"bb") + POST % (1, b"a") + POST % (3, b"ccc"))
            await soon(lambda: len(pending) == 1)
            assert (server.waiting, server.answered) == (1, 0)
            others.write(POST % (4, b"dddd"))
            assert (await answer(other))[2] == b'{"length":4}', "others need not wait"
            pending[0].complete(Response(200, b"first"))
            assert [(await answer(reader))[2] for _ in range(2)] == [b"first", b'{"length":2}']
            await soon(lambda: len(pending) == 2)
            pending[1].complete(Response(200, b"third"))
            assert [(await answer(reader))[2] for _ in range(2)] == [b"third", b'{"length":3}']
            assert (server.waiting, server.answered) == (0, 5)
            writer.close()
            others.close()

    asyncio.run(run())


def test_an_answer_that_comes_after_its_caller_has_gone_harms_nobody(short_path: Path) -> None:
    pending = Pending()

    async def run() -> None:
        async with serving(short_path / "s.sock", lambda _: pending) as server:
            ((_, writer),) = await opened(short_path, 1)
            writer.write(POST % (1, b"a"))
            await soon(lambda: server.waiting == 1)
            writer.transport.abort()
            await asyncio.sleep(0.05)
            pending.complete(Response(200, b"nobody"))
            assert server.waiting in (0, 1), "it may have to look whether there is more to answer"
            await soon(lambda: not server.connections and server.waiting == 0)

    asyncio.run(run())


def test_an_answer_that_is_there_already_is_sent_at_once(short_path: Path) -> None:
    def handler(_: Request) -> Pending:
        pending = Pending()
        pending.complete(Response(200, b"now"))
        return pending

    async def run() -> None:
        async with serving(short_path / "s.sock", handler):
            ((reader, writer),) = await opened(short_path, 1)
            for _ in range(3):
                writer.write(POST % (1, b"a"))
                assert (await asyncio.wait_for(answer(reader), 5))[2] == b"now"
            writer.close()

    asyncio.run(run())


def test_a_drain_waits_for_answers_that_come_later(short_path: Path) -> None:
    pending = Pending()

    async def run() -> None:
        async with serving(short_path / "s.sock", lambda _: pending) as server:
            ((reader, writer),) = await opened(short_path, 1)
            writer.write(POST % (1, b"a"))
            await soon(lambda: server.waiting == 1)
            draining = asyncio.ensure_future(server.drain(patience=5.0, quiet=0.05))
            done, _ = await asyncio.wait([draining], timeout=0.3)
            assert not done, "it does not wait for the answer"
            pending.complete(Response(200, b"at last"))
            status, headers, body = await answer(reader)
            assert (status, headers["connection"], body) == (200, "close", b"at last")
            await asyncio.wait_for(draining, 5)
            writer.close()

    asyncio.run(run())


def test_while_answers_are_slow_what_arrives_is_read_and_all_have_their_turn(short_path: Path) -> None:
    waited: list[int] = []
    served: list[bytes] = []

    async def run() -> None:
        def slow(request: Request) -> Response:
            waited.append(server.waiting)
            served.append(request.body)
            end = time.perf_counter() + 0.01
            while time.perf_counter() < end:
                pass
            return echo_length(request)

        async with serving(short_path / "s.sock", slow) as server:
            callers = await opened(short_path, 6)
            greedy = callers[0][1]
            greedy.write((POST % (1, b"a")) * 20)
            for reader, _ in callers[:1]:
                await answer(reader)
            for _, writer in callers[1:]:
                writer.write(POST % (2, b"bb"))
            for reader, _ in callers[1:]:
                assert (await asyncio.wait_for(answer(reader), 10))[2] == b'{"length":2}'
            assert max(waited) >= 4, "those who wait are known"
            for _ in range(19):
                await answer(callers[0][0])
            assert served[-1] == b"a", "one who pipelines is not served before all others"
            assert server.waiting == 0
            for _, writer in callers:
                writer.close()

    asyncio.run(run())


def test_a_connection_that_is_to_leave_is_closed_with_its_next_answer(short_path: Path) -> None:
    async def run() -> None:
        async with serving(short_path / "s.sock") as server:
            ((reader, writer),) = await opened(short_path, 1)
            writer.write(POST % (1, b"a"))
            assert "connection" not in (await answer(reader))[1]
            for connection in server.connections:
                connection.leaving = True
            writer.write(POST % (1, b"a"))
            assert (await answer(reader))[1]["connection"] == "close"
            assert await reader.read() == b""
            writer.close()

    asyncio.run(run())


def test_a_server_that_accepts_nobody_any_more_leaves_that_to_the_other_holders_of_the_socket(short_path: Path) -> None:
    async def run() -> None:
        async with serving(short_path / "s.sock") as server:
            shared = server._listener.dup()
            ((reader, writer),) = await opened(short_path, 1)
            writer.write(POST % (1, b"a"))
            await answer(reader)
            server.stop_accepting()
            ((_, late),) = await opened(short_path, 1)
            writer.write(POST % (1, b"a"))
            assert (await answer(reader))[0] == 200, "connections live on"
            assert len(server.connections) == 1
            shared.setblocking(False)
            stream, _ = await asyncio.get_running_loop().sock_accept(shared)
            for one in (stream, shared, late, writer):
                one.close()
            await soon(lambda: not server.connections)
            await asyncio.wait_for(server.drain(patience=60.0, quiet=60.0), 20.0)  # there is nobody to wait for

    asyncio.run(run())
