"""`lib.unix_sockets`: what callers find at the path of a socket, and when."""

from __future__ import annotations

import socket
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from serinus.lib import unix_sockets


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "api.sock"


@pytest.fixture
def listening(path: Path) -> Iterator[socket.socket]:
    with closing(unix_sockets.listen_beside(path, 8)) as listening:
        yield listening


def connected(path: Path) -> socket.socket:
    caller = socket.socket(socket.AF_UNIX)
    try:
        caller.connect(str(path))
    except BaseException:
        caller.close()
        raise
    return caller


def test_nobody_finds_it_before_it_is_published(path: Path, listening: socket.socket) -> None:
    with pytest.raises(FileNotFoundError):
        connected(path)
    unix_sockets.publish(path)
    with closing(connected(path)), closing(listening.accept()[0]):
        assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_it_is_this_users_alone(path: Path, listening: socket.socket) -> None:
    unix_sockets.publish(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_one_before_is_found_until_the_next_is_published(path: Path, listening: socket.socket) -> None:
    unix_sockets.publish(path)
    with closing(unix_sockets.listen_beside(path, 8)) as after:
        with closing(connected(path)), closing(listening.accept()[0]):
            pass
        unix_sockets.publish(path)
        with closing(connected(path)), closing(after.accept()[0]):
            pass


def test_what_a_killed_process_has_left_is_in_nobodys_way(path: Path) -> None:
    unix_sockets.listen_beside(path, 8).close()
    with closing(unix_sockets.listen_beside(path, 8)) as listening:
        unix_sockets.publish(path)
        with closing(connected(path)), closing(listening.accept()[0]):
            pass


def test_a_withdrawn_one_keeps_who_is_connected(path: Path, listening: socket.socket) -> None:
    unix_sockets.publish(path)
    with closing(connected(path)) as caller, closing(listening.accept()[0]) as accepted:
        unix_sockets.withdraw(path)
        with pytest.raises(FileNotFoundError):
            connected(path)
        caller.sendall(b"x")
        assert accepted.recv(1) == b"x"


def test_one_that_was_never_published_is_withdrawn_as_well(path: Path, listening: socket.socket) -> None:
    unix_sockets.withdraw(path)
    assert list(path.parent.iterdir()) == []
