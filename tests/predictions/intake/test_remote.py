"""Records and local replies that come from other machines: by TLS, by tokens that somebody else vouches for, once."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from identities import Authority
from remote_collector import NAME, RemoteCollector

from serinus.core.errors import Unavailable
from serinus.core.ports import Writer
from serinus.predictions.counts.ledger import RouterReplies
from serinus.predictions.intake.forwarding import Collectors, Forwarder
from serinus.predictions.log import DeltaPredictionLog
from serinus.predictions.paths import segments_path, table_path
from serinus.predictions.queries.reading import read_predictions
from serinus.predictions.segments.files import Frame, Position, read_frames
from serinus.predictions.table.places import Directory

RELEASE = "card-fraud-7-3f9a2c"
TOKENS = {
    "of the release": Writer(release=RELEASE, holder="pod-1"),
    "of another pod": Writer(release=RELEASE, holder="pod-2"),
    "of the gateway": Writer(gateway="serinus-gateway", holder="pod-3"),
}

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Elsewhere(RemoteCollector):
    """A collector for other machines, and those who know its certificate."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, TOKENS)
        self.trust = ssl.create_default_context(cafile=str(self.authority))
        self.verifier_answers = True

    def owner(self, token: str) -> Writer | None:
        if not self.verifier_answers:
            raise Unavailable("The API server does not answer.")
        return super().owner(token)

    async def connected(self, token: str, boot: int = 1, trust: ssl.SSLContext | None = None) -> Connection:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=trust or self.trust, server_hostname=NAME
        )
        writer.write(json.dumps({"token": token, "boot": f"{boot:016x}", "format": 2}).encode() + b"\n")
        return reader, writer

    def frames(self) -> Sequence[Frame]:
        return list(read_frames(segments_path(self.home), Position(0, 0)))

    def collectors(self, token: str = "of the gateway") -> Collectors:
        return Collectors((("127.0.0.1", self.port),), NAME, lambda: self.trust, lambda: token)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Elsewhere:
    return Elsewhere(tmp_path)


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 25))


async def acknowledged(connection: Connection, batch: bytes) -> bool:
    """False: the connection was closed."""
    reader, writer = connection
    with suppress(ConnectionError, ssl.SSLError):
        writer.write(batch)
        return b'"ack"' in await reader.readline()
    return False


def test_a_release_is_who_its_token_says_it_is(
    elsewhere: Elsewhere, batch: Callable[..., bytes], record: Callable[..., dict[str, Any]]
) -> None:
    async def test() -> None:
        async with elsewhere.collecting():
            connection = await elsewhere.connected("of the release")
            assert await acknowledged(connection, batch(1, [record(1), record(2)]))
            assert [frame.meta["release"] for frame in elsewhere.frames()] == [RELEASE]
            log = DeltaPredictionLog(elsewhere.home)
            while not (log.totals().get(RELEASE)):
                await asyncio.sleep(0.05)
            assert log.totals()[RELEASE].requests == 2

    run(test)


def test_a_batch_that_is_repeated_is_taken_once_and_pods_do_not_share_numbers(
    elsewhere: Elsewhere, batch: Callable[..., bytes], record: Callable[..., dict[str, Any]]
) -> None:
    async def test() -> None:
        async with elsewhere.collecting():
            for token in ("of the release", "of the release", "of another pod"):
                connection = await elsewhere.connected(token)
                assert await acknowledged(connection, batch(1, [record(1)]))
                connection[1].close()
            assert len({frame.meta["boot"] for frame in elsewhere.frames()}) == 2
            assert len(elsewhere.frames()) == 2

    run(test)


def test_nobody_is_let_in_by_a_token_that_is_not_vouched_for(
    elsewhere: Elsewhere, batch: Callable[..., bytes], record: Callable[..., dict[str, Any]]
) -> None:
    async def test() -> None:
        async with elsewhere.collecting() as collector:
            assert not await acknowledged(await elsewhere.connected("made up"), batch(1, [record(1)]))
            assert collector._intake.refused == 1
            elsewhere.verifier_answers = False  # not refused: the writer comes again
            assert not await acknowledged(await elsewhere.connected("of the release"), batch(1, [record(1)]))
            assert collector._intake.refused == 1
            elsewhere.verifier_answers = True
            assert await acknowledged(await elsewhere.connected("of the release"), batch(1, [record(1)]))
            assert len(elsewhere.frames()) == 1

    run(test)


def test_a_writer_sends_nothing_to_a_collector_that_its_authority_does_not_vouch_for(elsewhere: Elsewhere) -> None:
    async def test() -> None:
        async with elsewhere.collecting():
            stranger = ssl.create_default_context(cadata=Authority("another").pem.decode())
            with pytest.raises(ssl.SSLCertVerificationError):
                await elsewhere.connected("of the release", trust=stranger)

    run(test)


class Gateway:
    """A file of local replies, and the sender beside it."""

    def __init__(self, directory: Path) -> None:
        self.file, self.state = directory / "local.jsonl", directory / "sent.json"
        self.written = 0

    def write(self, count: int = 1) -> None:
        with self.file.open("a") as file:
            for _ in range(count):
                self.written += 1
                line = {"t": time.time(), "id": f"r{self.written}", "prediction": f"p{self.written}", "model": "m"}
                more = {"release": "m-1-abcdef", "status": 504, "ms": 250, "flags": "UT"}
                file.write(json.dumps({**line, **more}) + "\n")

    @asynccontextmanager
    async def forwarding(self, collectors: Collectors) -> AsyncIterator[Forwarder]:
        forwarder = Forwarder(self.file, self.state, collectors, None)
        running = asyncio.create_task(forwarder.run())
        try:
            yield forwarder
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


def ids(elsewhere: Elsewhere) -> list[str]:
    """In the log, whether rolled up or not, in the order of their numbers."""
    home = elsewhere.home
    found = (
        read_predictions(Directory(table_path(home)), segments_path(home), RouterReplies())
        .select("request_id")
        .collect()
    )
    return sorted(found["request_id"].to_list(), key=lambda name: int(name[1:]))


async def until_there(elsewhere: Elsewhere, count: int) -> None:
    while len(ids(elsewhere)) < count:
        await asyncio.sleep(0.02)


def test_local_replies_arrive_once_whatever_is_restarted(elsewhere: Elsewhere, tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)

    async def test() -> None:
        async with elsewhere.collecting():
            gateway.write(3)
            async with gateway.forwarding(elsewhere.collectors()):
                await until_there(elsewhere, 3)
                gateway.write(2)
                await until_there(elsewhere, 5)
            gateway.write(2)  # while no sender runs
            async with gateway.forwarding(elsewhere.collectors()):
                await until_there(elsewhere, 7)
        async with gateway.forwarding(elsewhere.collectors()) as forwarder:  # no collector runs
            gateway.write(2)
            while not forwarder.trouble:
                await asyncio.sleep(0.02)
            async with elsewhere.collecting():
                await until_there(elsewhere, 9)
                assert ids(elsewhere) == [f"r{number}" for number in range(1, 10)]
                assert not forwarder.trouble

    run(test)


def test_what_was_sent_but_not_acknowledged_is_sent_again_as_the_same_batch(
    elsewhere: Elsewhere, tmp_path: Path
) -> None:
    gateway = Gateway(tmp_path)

    async def test() -> None:
        async with elsewhere.collecting():
            gateway.write(3)
            async with gateway.forwarding(elsewhere.collectors()):
                await until_there(elsewhere, 3)
            # As after a kill before the acknowledgement was read, with more lines since.
            gateway.write(4)
            async with gateway.forwarding(elsewhere.collectors()):
                await until_there(elsewhere, 7)
            assert ids(elsewhere) == [f"r{number}" for number in range(1, 8)]

    run(test)


def test_a_killed_sender_that_had_written_its_state_only_loses_nothing(elsewhere: Elsewhere, tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)

    async def test() -> None:
        async with gateway.forwarding(
            Collectors((("127.0.0.1", 9),), NAME, lambda: elsewhere.trust, lambda: "x")
        ) as nowhere:
            gateway.write(3)
            while not nowhere.trouble:  # the state is written, and nothing has arrived
                await asyncio.sleep(0.02)
        gateway.write(2)
        async with elsewhere.collecting(), gateway.forwarding(elsewhere.collectors()):
            await until_there(elsewhere, 5)
            assert ids(elsewhere) == [f"r{number}" for number in range(1, 6)]

    run(test)


def test_a_late_answer_is_found_out_though_the_clocks_differ(
    elsewhere: Elsewhere,
    tmp_path: Path,
    batch: Callable[..., bytes],
    record: Callable[..., dict[str, Any]],
) -> None:
    gateway = Gateway(tmp_path)

    async def test() -> None:
        async with elsewhere.collecting(), gateway.forwarding(elsewhere.collectors()):
            connection = await elsewhere.connected("of the release")
            late = record(1, prediction="p1", id="r1", t=time.time() + 7)
            fine = record(2, prediction="p2", id="r2", t=time.time() + 7)
            with gateway.file.open("a") as file:
                line = {"t": time.time(), "id": "r1", "prediction": "p1", "model": "card-fraud", "release": RELEASE}
                file.write(json.dumps({**line, "status": 504, "ms": 250, "flags": "UT"}) + "\n")
            await until_there(elsewhere, 1)
            assert await acknowledged(connection, batch(1, [late, fine]))
            log = DeltaPredictionLog(elsewhere.home)
            while not (found := log.totals().get(RELEASE)) or found.requests < 2:
                await asyncio.sleep(0.05)
            assert found.requests == 2  # the router's word on the first, the release's on the second

    run(test)
