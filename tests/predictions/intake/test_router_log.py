"""Envoy's file of local replies, followed through everything that may happen to it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from servers import ServerThread

from serinus.predictions.intake.commit import GroupCommit
from serinus.predictions.intake.reply_log import ReplyLog
from serinus.predictions.intake.router_log import RouterLog
from serinus.predictions.segments.files import Position, SegmentWriter, read_frames
from serinus.predictions.segments.marks import RouterOffset
from serinus.predictions.segments.sources import records_of


class Follower:
    """A RouterLog and the log that it writes to; `restart` begins where the log says."""

    def __init__(self, path: Path, admin: str | None) -> None:
        self.path, self.admin = path, admin
        self.file = path / "local.jsonl"
        self.segments = path / "segments"
        self.segments.mkdir()
        self.writer = SegmentWriter(self.segments, 1)
        self.restart()

    def restart(self) -> None:
        metas = [frame.meta for frame in read_frames(self.segments, Position(0, 0))]
        offset = RouterOffset(metas[-1]["inode"], metas[-1]["offset"]) if metas else None
        self.commit = GroupCommit(self.writer, {}, time.time)
        self.replies = ReplyLog(self.commit)
        self.log = RouterLog(self.file, offset, self.replies, self.admin, turn_over_bytes=400)

    def follow(self, steps: int = 6) -> list[str]:
        """Request ids in the log, after some steps."""

        async def run() -> None:
            writing = asyncio.create_task(self.commit.run())
            for _ in range(steps):
                await self.log.step()
            writing.cancel()

        asyncio.run(run())
        frames = read_frames(self.segments, Position(0, 0))
        return records_of(frames).request_id

    def write(self, number: int, path: Path | None = None, **changes: Any) -> None:
        line = {"t": time.time(), "id": str(number), "model": "m", "release": "m-1-abcdef", "status": 503, "ms": 3}
        with (path or self.file).open("a") as file:
            file.write(json.dumps({**line, "flags": "UF", **changes}) + "\n")


@pytest.fixture
def admin() -> Any:
    """Envoy's admin, as far as it is needed: what to do at POST /reopen_logs may be set."""
    asked: list[str] = []
    on_reopen: list[Callable[[], None]] = []

    class Admin(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            for act in on_reopen:
                act()
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Admin)
    server.asked, server.on_reopen = asked, on_reopen  # type: ignore[attr-defined]
    server.address = f"127.0.0.1:{server.server_port}"  # type: ignore[attr-defined]
    with ServerThread(server):
        yield server


@pytest.fixture
def follower(tmp_path: Path) -> Follower:
    return Follower(tmp_path, None)


def test_lines_are_taken_once_also_after_a_restart(follower: Follower) -> None:
    follower.write(1)
    assert follower.follow() == ["1"]
    follower.restart()
    follower.write(2)
    assert follower.follow() == ["1", "2"]


def test_half_a_line_waits_for_its_other_half(follower: Follower) -> None:
    follower.write(1)
    line = follower.file.read_bytes()
    follower.file.write_bytes(line + line[:20])
    assert follower.follow() == ["1"]
    follower.file.write_bytes(line + line)
    assert follower.follow() == ["1", "1"]


def test_malformed_lines_and_unanswered_requests_are_left_out_and_the_first_are_counted(follower: Follower) -> None:
    follower.file.write_text("no json\n[]\n")
    follower.write(1, status="503")
    follower.write(2, status=0)
    follower.write(3, model=None)
    follower.write(4)
    assert follower.follow() == ["4"]
    assert follower.replies.malformed == 3


def test_a_file_that_was_begun_anew_is_read_from_its_start(follower: Follower) -> None:
    follower.write(1)
    follower.write(2)
    follower.follow()
    follower.file.unlink()
    follower.write(3)
    assert follower.follow() == ["1", "2", "3"]


def test_a_large_file_is_turned_over_and_nothing_is_lost_or_read_twice(tmp_path: Path, admin) -> None:
    follower = Follower(tmp_path, admin.address)
    old = tmp_path / "local.jsonl.1"
    for number in range(4):
        follower.write(number)
    assert follower.follow() == ["0", "1", "2", "3"]
    assert admin.asked
    assert old.exists()
    # Envoy still has the old file open; then it follows.
    follower.write(4, old)
    assert follower.follow()[-1] == "4"
    follower.write(5)
    follower.restart()
    assert follower.follow() == [str(number) for number in range(6)]
    assert not old.exists()
    follower.restart()
    follower.write(6)
    assert follower.follow() == [str(number) for number in range(7)]


def test_an_envoy_that_does_not_reopen_its_log_is_asked_again_and_said_to_be_so(tmp_path: Path) -> None:
    follower = Follower(tmp_path, str(tmp_path / "no-such.sock"))
    for number in range(4):
        follower.write(number)
    assert follower.follow() == ["0", "1", "2", "3"]
    assert "did not reopen" in follower.log.trouble


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        ("UT", "timeout"),
        ("UMSDR", "timeout"),
        ("UO", "overflow"),
        ("OM", "overflow"),
        ("UPE", "protocol"),
        ("UR", "reset"),
        ("UC", "reset"),
        ("LR", "reset"),
        ("URX", "unavailable"),
        ("UF", "unavailable"),
        ("UF,URX", "unavailable"),
        ("URX,UC", "reset"),
    ],
)
def test_why_the_router_answered_is_told_from_its_flags(follower: Follower, flags: str, error: str) -> None:
    follower.write(1, flags=flags)
    follower.follow(2)
    assert records_of(read_frames(follower.segments, Position(0, 0))).error == [error]
