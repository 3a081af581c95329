"""Listening sockets that outlive the host, with a stand-in for the runtime."""

from __future__ import annotations

import os
import signal
import socket
import threading
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest

from serinus.core.placement import PlacementState
from serinus.lib.processes import identity
from serinus.targets.local.host import holder as holder_module
from serinus.targets.local.host.holder import receive, send
from serinus.targets.local.host.sockets import Sockets

SOON = ("--idle", "0.3", "--young", "0", "--busiest", "0", "--survey", "0.1")


def said_by_holder(home, secret):
    """Names of what it holds. ConnectionError: it does not say."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)) as caller:
        caller.connect(str(home.holder_socket))
        send(caller, {"secret": secret})
        names = []
        while not (said := receive(caller))[0].get("done"):
            names.append(said[0]["name"])
            said[1].close()
        return names


def held(hosted):
    """While no host is there: it serves one caller at a time."""
    return said_by_holder(hosted.home, hosted.home.secret.read_text())


def held_listening(hosted):
    """Without the wires of workers, which are held until these are gone."""
    return [name for name in held(hosted) if not name.startswith("wire/")]


def in_background(hosted, placement):
    answers = []
    caller = threading.Thread(target=lambda: answers.append(hosted.ask(placement, 60.0)))
    caller.start()

    def answer():
        caller.join()
        return answers[0]

    return answer


def test_who_asks_a_release_at_zero_while_there_is_no_host_is_answered_by_the_next_one(hosted, holder, wait_until):
    hosted.start(*SOON)
    first = hosted.placed()
    at_zero = hosted.until(first.release, PlacementState.SCALED_TO_ZERO)
    wait_until(lambda: identity(first.pid) is None)
    hosted.kill()
    answer = in_background(hosted, at_zero)
    hosted.start()
    assert answer().status == 200


def test_who_asks_a_release_whose_worker_died_after_its_host_is_answered_by_the_next_one(hosted, holder, wait_until):
    hosted.start()
    first = hosted.placed()
    hosted.kill()
    os.kill(first.pid, signal.SIGKILL)
    wait_until(lambda: identity(first.pid) is None)
    answer = in_background(hosted, first)
    hosted.start()
    assert answer().status == 200


def test_a_holder_that_was_killed_is_told_again_what_to_hold(hosted, holder, wait_until):
    hosted.start(*SOON)
    first = hosted.placed()
    at_zero = hosted.until(first.release, PlacementState.SCALED_TO_ZERO)
    wait_until(lambda: identity(first.pid) is None)
    pid = holder()
    second = hosted.placed("other-1-bbbbbb")  # the host has gone on without it, or with it again
    hosted.until(second.release, PlacementState.SCALED_TO_ZERO)
    told = {Path(one.endpoint).name for one in (first, second)}
    wait_until(lambda: told <= listening(pid))
    hosted.kill()
    answers = [in_background(hosted, at_zero), in_background(hosted, second)]
    hosted.start()
    assert [answer().status for answer in answers] == [200, 200]


def listening(pid):
    """Paths at which that process has listening Unix sockets, by the kernel's lists."""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since
            inodes.add(str(link.readlink())[len("socket:[") : -1])
    lines = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    return {Path(line[7]).name.removesuffix(".new") for line in lines if len(line) > 7 and line[6] in inodes}


def test_a_removed_release_is_no_longer_held(hosted, holder, wait_until):
    hosted.start()
    first, second = hosted.placed(), hosted.placed("other-1-bbbbbb")
    hosted.target.remove(first.release)
    wait_until(lambda: not Path(first.endpoint).exists())
    hosted.kill()
    assert held_listening(hosted) == [Path(second.endpoint).name]


def test_a_host_that_is_told_to_stop_leaves_nothing_behind(hosted, holder):
    hosted.start()
    hosted.placed()
    hosted.stop()
    assert held(hosted) == []


def test_a_socket_whose_place_was_taken_by_another_is_not_used_again(hosted, holder):
    hosted.start()
    first = hosted.placed()
    hosted.kill()
    path = hosted.home.release_socket(first.release)
    path.rename(path.with_name("before"))  # so that its inode is not given to the next one
    with closing(socket.socket(socket.AF_UNIX)) as another:
        another.bind(str(path))
        sockets = Sockets(hosted.home.holder_socket, hosted.home.secret.read_text())
        assert sockets.connect()
        assert sockets.taken(path) is None


@pytest.mark.parametrize("said", [b"", b"[1]", b"[" * 4000, b"{}", b'{"secret": null}', b"\xff", b"9" * 4000])
def test_what_is_no_hello_ends_that_connection_only_and_leaves_no_descriptor(hosted, holder, wait_until, said):
    pid = holder()
    opened = Path(f"/proc/{pid}/fd")
    wait_until(lambda: len(list(opened.iterdir())) > 3)
    before = len(list(opened.iterdir()))
    with Path("/dev/null").open() as file, closing(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)) as caller:
        caller.settimeout(10)
        caller.connect(str(hosted.home.holder_socket))
        if said:  # else it is silent, and sent away after a while
            socket.send_fds(caller, [said], [file.fileno()] * 10)
        assert caller.recv(1) == b""
    wait_until(lambda: len(list(opened.iterdir())) == before)
    assert held(hosted) == []


def test_silent_callers_of_the_holder_are_few_and_keep_no_host_out(hosted, holder, wait_until):
    with ExitStack() as callers:
        for _ in range(100):
            caller = callers.enter_context(closing(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)))
            caller.connect(str(hosted.home.holder_socket))
        wait_until(lambda: knocks(hosted))
        assert held(hosted) == []


def knocks(hosted):
    with suppress(ConnectionError):
        return held(hosted) == []


def test_another_users_process_is_no_host(monkeypatch):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        assert holder_module._is_ours(ours)
        monkeypatch.setattr(os, "geteuid", lambda: 65534)
        assert holder_module._is_ours(ours) == (os.getuid() == 0), "root may"


def test_nothing_is_given_to_who_does_not_know_the_secret(hosted, holder):
    hosted.start()
    hosted.placed()
    hosted.kill()
    for secret in ("", "0" * 32):
        with pytest.raises(ConnectionError):
            said_by_holder(hosted.home, secret)
    assert len(held_listening(hosted)) == 1
