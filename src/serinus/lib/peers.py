"""The process at the other end of a Unix socket, by the kernel (SO_PEERCRED of unix(7))."""

from __future__ import annotations

import os
import socket
import struct
from typing import Any

_CREDENTIALS = struct.Struct("3i")
"""struct ucred: pid, uid, gid."""


def user_of(connection: Any) -> int:
    """Returns the user id of the peer at the time when it connected or began to listen.

    `connection` is a connected Unix socket, or asyncio's view of one. Raises OSError.
    """
    _, uid = _credentials(connection)
    return uid


def process_of(connection: Any) -> int:
    """Returns the process id of the peer at the time when it connected or began to listen. Raises OSError."""
    pid, _ = _credentials(connection)
    return pid


def _credentials(connection: Any) -> tuple[int, int]:
    asked = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(asked)
    return int(pid), int(uid)


def is_ours(connection: Any) -> bool:
    """Whether the peer is a process of this user or of root. Raises OSError."""
    return user_of(connection) in (os.geteuid(), 0)


def checked(connection: socket.socket) -> None:
    """Checks the peer, before anything is sent. Raises PermissionError where it is another user's process."""
    if not is_ours(connection):
        raise PermissionError(f"a process of user {user_of(connection)} listens there")
