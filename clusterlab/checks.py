"""Whether a program is ready: it is asked. Each check returns within a few seconds."""

from __future__ import annotations

import http.client
import socket
import ssl
import subprocess
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

Check = Callable[[], bool]
_SECONDS = 2.0
_COMMAND_SECONDS = 10.0


def answers(url: str, *, holding: str = "") -> Check:
    """A GET is answered with status 200 and this text. Certificates are not checked: it is on this machine."""
    split = urlsplit(url)
    host = split.hostname or ""

    def check() -> bool:
        connection: http.client.HTTPConnection
        if split.scheme == "https":
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            connection = http.client.HTTPSConnection(host, split.port, timeout=_SECONDS, context=context)
        else:
            connection = http.client.HTTPConnection(host, split.port, timeout=_SECONDS)
        try:
            connection.request("GET", split.path or "/")
            answer = connection.getresponse()
            return answer.status == 200 and holding in answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return check


def listens(host: str, port: int) -> Check:
    def check() -> bool:
        try:
            socket.create_connection((host, port), timeout=_SECONDS).close()
        except OSError:
            return False
        return True

    return check


def tells(command: Sequence[str], *, holding: str = "") -> Check:
    """A command succeeds and prints this text."""

    def check() -> bool:
        try:
            told = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_COMMAND_SECONDS
            )
        except subprocess.TimeoutExpired:
            return False
        return told.returncode == 0 and holding in told.stdout

    return check
