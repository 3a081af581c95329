"""Who may connect to the collector, how long they may be silent, and how many places a release has: in one process."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from serinus.core.keys import log_token
from serinus.predictions.intake import listener as intake
from serinus.predictions.intake.commit import GroupCommit
from serinus.predictions.intake.listener import Intake
from serinus.predictions.segments.files import SegmentWriter
from serinus.predictions.segments.parsed import Parsed

SECRET = "secret of the home"
MANY, OTHER = "card-fraud-7-3f9a2c", "card-fraud-8-aaaaaa"
NOBODY = 65534

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def collecting(directory: Path) -> AsyncIterator[Path]:
    (directory / "segments").mkdir()
    commit = GroupCommit(SegmentWriter(directory / "segments", 1, 1 << 20), {}, time.time)
    served = Intake(directory / "log.sock", SECRET, commit, Parsed(), time.monotonic)
    await served.open()
    writing = asyncio.create_task(commit.run())
    try:
        yield directory / "log.sock"
    finally:
        await served.close()
        writing.cancel()
        with suppress(asyncio.CancelledError):
            await writing


async def connected(path: Path, release: str | None, boot: int = 0) -> Connection:
    reader, writer = await asyncio.open_unix_connection(path)
    if release is not None:
        said = {"release": release, "token": log_token(SECRET, release), "boot": f"{boot:016x}", "format": 2}
        writer.write(json.dumps(said).encode() + b"\n")
    return reader, writer


async def acknowledged(connection: Connection) -> bool:
    """Whether an (unreadable, and so empty) batch is taken; False: the connection was closed."""
    reader, writer = connection
    with suppress(ConnectionError):
        writer.write(b'{"seq": 1, "bytes": 2}\n{}')
        return b'"ack": 1' in await reader.readline()
    return False


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 30))


def test_a_release_has_its_own_places_and_none_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "_MOST_OF_A_RELEASE", 3)

    async def test() -> None:
        async with collecting(tmp_path) as path:
            held = [await connected(path, MANY, boot) for boot in range(3)]
            assert [await acknowledged(one) for one in held] == [True] * 3
            assert not await acknowledged(await connected(path, MANY, 3))
            assert await acknowledged(await connected(path, OTHER, 4))
            held[0][1].close()
            while not await acknowledged(await connected(path, MANY, 5)):  # once it has seen that one is free
                await asyncio.sleep(0.01)

    run(test)


def test_who_says_nothing_is_sent_away_and_takes_no_place_from_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "_HELLO_SECONDS", 0.5)
    monkeypatch.setattr(intake, "_MOST_STRANGERS", 4)

    async def test() -> None:
        async with collecting(tmp_path) as path:
            before = await connected(path, OTHER, 1)
            assert await acknowledged(before)
            silent = [await connected(path, None) for _ in range(20)]
            silent[0][1].write(b'{"release":')  # and then nothing more
            assert [await one[0].read() for one in silent] == [b""] * 20
            assert await acknowledged(await connected(path, OTHER, 2))
            before[1].write(b'{"seq": 2, "bytes": 2}\n{}')
            assert b'"ack": 2' in await before[0].readline()

    run(test)


def test_another_user_is_sent_away_before_a_byte_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process as another user's would see it; root may connect everywhere."""
    if os.getuid() == 0:
        monkeypatch.setattr("serinus.lib.peers.user_of", lambda _: NOBODY)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: NOBODY)

    async def test() -> None:
        async with collecting(tmp_path) as path:
            assert not await acknowledged(await connected(path, MANY))

    run(test)
