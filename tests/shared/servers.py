"""Servers of tests, each in a thread of its own."""

from __future__ import annotations

import socketserver
import threading
from types import TracebackType
from typing import Generic, TypeVar

S = TypeVar("S", bound=socketserver.TCPServer)


class ServerThread(Generic[S]):
    """`server` answers until this is closed."""

    def __init__(self, server: S) -> None:
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> S:
        return self._server

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
