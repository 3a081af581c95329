"""Holds the listening sockets of a home's releases while there is no host: callers then wait in the kernel's queue
instead of being refused. A process of its own, run by its path, because nothing else needs to be imported for it.

Over a Unix socket (SOCK_SEQPACKET), a message a packet of JSON; one host at a time, the next one waits for its end:

    host    {"secret"}                                first; a model runs as the same user and could connect
    holder  {"name", "inode"} and a descriptor        what it holds, one message each
    holder  {"done": true}
    host    {"keep": name, "inode"} and a descriptor  any number; replaces what it held under that name
    host    {"drop": name}

`inode` is the socket file's: by it the next host sees whether callers still find that socket. What systemd does for
its services is the same (FileDescriptorStoreMax= of systemd.service(5)).
"""

from __future__ import annotations

import argparse
import contextlib
import hmac
import json
import os
import resource
import socket
import struct
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_LONGEST = 4096
_HELLO_SECONDS = 1.0
_WAITING = 128
_MOST_STRANGERS = 16
"""Callers that have not said the secret yet, at a time."""


@dataclass(frozen=True)
class Held:
    """A listening socket and its file's inode."""

    inode: int
    socket: socket.socket


@dataclass
class Holder:
    """Serves one host after another, for ever."""

    secret: str
    _held: dict[str, Held] = field(default_factory=dict)
    _one_host: threading.Lock = field(default_factory=threading.Lock)
    _strangers: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(_MOST_STRANGERS))

    def serve(self, path: Path) -> None:
        new = path.with_name(path.name + ".new")
        new.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(str(new))
            new.chmod(0o600)
            listener.listen(_WAITING)
            new.replace(path)
            while True:
                caller, _ = listener.accept()
                if not _is_ours(caller) or not self._strangers.acquire(blocking=False):
                    caller.close()
                    continue
                threading.Thread(target=self._meet, args=(caller,), daemon=True).start()

    def _meet(self, caller: socket.socket) -> None:
        with caller, contextlib.suppress(OSError, ValueError, KeyError):  # it went away
            try:
                known = self._knows(caller)
            finally:
                self._strangers.release()
            if known:
                with self._one_host:  # what the one before has said is read to its end
                    self._attend(caller)

    def _knows(self, caller: socket.socket) -> bool:
        """The secret, which it says first. Descriptors that come with it are not taken."""
        caller.settimeout(_HELLO_SECONDS)
        try:
            said = json.loads(caller.recv(_LONGEST))
            return hmac.compare_digest(str(said["secret"]).encode(), self.secret.encode())
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return False

    def _attend(self, host: socket.socket) -> None:
        for name, held in self._held.items():
            send(host, {"name": name, "inode": held.inode}, held.socket)
        send(host, {"done": True})
        host.settimeout(None)
        while True:
            said, listening = receive(host)
            before = self._held.pop(said.get("keep") or said["drop"], None)
            if before is not None:
                before.socket.close()
            if listening is not None:
                self._held[said["keep"]] = Held(said["inode"], listening)


def _is_ours(caller: socket.socket) -> bool:
    """The kernel says that it is this user's process, or root's: struct ucred of unix(7)."""
    _, uid, _ = struct.unpack("3i", caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return uid in (os.geteuid(), 0)


def send(to: socket.socket, said: dict[str, Any], carried: socket.socket | None = None) -> None:
    """Raises OSError where the other end is gone or does not read."""
    socket.send_fds(to, [json.dumps(said).encode()], [] if carried is None else [carried.fileno()])


def receive(of: socket.socket) -> tuple[dict[str, Any], socket.socket | None]:
    """One message. Raises OSError where the other end is gone, ValueError where it is none."""
    text, descriptors, _, _ = socket.recv_fds(of, _LONGEST, 1)
    carried = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    if not text:
        raise ConnectionResetError("the other end is gone")
    said: dict[str, Any] = json.loads(text)
    return said, carried[0] if carried else None


def many_descriptors() -> None:
    """As many as this user may have open: by default they are a thousand, and a release takes several."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main() -> int:
    """Until SIGTERM."""
    parser = argparse.ArgumentParser(description="Holds listening sockets while there is no host.")
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--secret", type=Path, required=True, help="the file")
    given = parser.parse_args()
    many_descriptors()
    os.umask(0o077)
    Holder(given.secret.read_text().strip()).serve(given.socket)
    return 0


if __name__ == "__main__":
    sys.exit(main())
