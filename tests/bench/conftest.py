"""A server that stalls once."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest


@pytest.fixture
def stalling_server() -> Iterator[int]:
    """Its port. It sleeps 0.2 s before the first answer of the one connection that it takes."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                first = True
                while connection.recv(65536):
                    time.sleep(0.2 if first else 0)  # the stall is what is tested
                    first = False
                    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield int(listening.getsockname()[1])
        thread.join(5)
