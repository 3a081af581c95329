"""The holder, a process that keeps the listening sockets of a home's releases open while there is no host, so that
callers wait in the kernel's queue instead of being refused. It is run as a script and imports nothing else.

It uses a Unix socket (SOCK_SEQPACKET) with a JSON message in each packet. It serves one host at a time, and the next
one waits for its end:

    host    {"secret"}                                first; a model runs as the same user and could connect
    holder  {"name", "inode"} and a descriptor        what it holds, one message each
    holder  {"done": true}
    host    {"keep": name, "inode"} and a descriptor  any number; replaces what it held under that name
    host    {"drop": name}

`inode` is that of the socket's file, by which the next host sees whether callers still find that socket. systemd does
the same for its services (FileDescriptorStoreMax= of systemd.service(5)).
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
"""The number of callers at a time that have not sent the secret yet."""


@dataclass(frozen=True)
class Held:
    """A listening socket and the inode of its file."""

    inode: int
    socket: socket.socket


@dataclass
class Holder:
    """Serves one host after another."""

    secret: str
    _held: dict[str, Held] = field(default_factory=dict)
    _one_host: threading.Lock = field(default_factory=threading.Lock)
    _strangers: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(_MOST_STRANGERS))

    def serve(self, path: Path) -> None:
        """Serves until the process ends."""
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
        with caller, contextlib.suppress(OSError, ValueError, KeyError):  # It has disconnected.
            try:
                known = self._knows(caller)
            finally:
                self._strangers.release()
            if known:
                with self._one_host:  # All messages of the former host are read first.
                    self._attend(caller)

    def _knows(self, caller: socket.socket) -> bool:
        """Checks the secret, which is the first message. Descriptors with it are not accepted."""
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
    """Whether the peer is a process of this user or root, by struct ucred of unix(7)."""
    _, uid, _ = struct.unpack("3i", caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return uid in (os.geteuid(), 0)


def send(to: socket.socket, said: dict[str, Any], carried: socket.socket | None = None) -> None:
    """Sends a message. Raises OSError where the other end has closed or does not read."""
    socket.send_fds(to, [json.dumps(said).encode()], [] if carried is None else [carried.fileno()])


def receive(of: socket.socket) -> tuple[dict[str, Any], socket.socket | None]:
    """Returns a message. Raises OSError where the other end has closed, and ValueError where the message is
    malformed."""
    text, descriptors, _, _ = socket.recv_fds(of, _LONGEST, 1)
    carried = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    if not text:
        raise ConnectionResetError("the other end is gone")
    said: dict[str, Any] = json.loads(text)
    return said, carried[0] if carried else None


def many_descriptors() -> None:
    """Raises the limit of open files as far as the user may. The default is a thousand, and a release takes several."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main() -> int:
    """Runs until SIGTERM."""
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
