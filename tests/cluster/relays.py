"""A way to an API server that a test can cut."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import yaml


class Relay:
    """Passes on what comes to `address`, a port of loopback, to `host` and `port`."""

    def __init__(self, host: str, port: int) -> None:
        self._there = (host, port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = self._listening.getsockname()[:2]
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self._cut = False
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Ends every connection, and each further one at once."""
        with self._lock:
            self._cut = True
            for one in self._open:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            self._open.clear()

    def mend(self) -> None:
        with self._lock:
            self._cut = False

    def close(self) -> None:
        self.cut()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._listening.accept()
            except OSError:
                return
            with self._lock:
                if self._cut:
                    here.close()
                    continue
                there = socket.create_connection(self._there)
                self._open += [here, there]
            for source, target in ((here, there), (there, here)):
                threading.Thread(target=_pass_on, args=(source, target), daemon=True).start()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while content := source.recv(1 << 16):
            target.sendall(content)
    for one in (source, target):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def relayed(kubeconfig: Path, directory: Path) -> Iterator[tuple[Relay, Path]]:
    """And a kubeconfig that leads through it. What the API server shows is not checked: it is not for that address."""
    document = yaml.safe_load(kubeconfig.read_text())
    named = next(one for one in document["contexts"] if one["name"] == document["current-context"])["context"][
        "cluster"
    ]
    cluster = next(one for one in document["clusters"] if one["name"] == named)["cluster"]
    server = urlsplit(cluster["server"])
    relay = Relay(server.hostname or "", server.port or 443)
    for name in ("certificate-authority", "certificate-authority-data"):
        cluster.pop(name, None)
    cluster |= {"server": f"https://127.0.0.1:{relay.address[1]}", "insecure-skip-tls-verify": True}
    file = directory / "relayed"
    file.write_text(yaml.safe_dump(document))
    try:
        yield relay, file
    finally:
        relay.close()


def as_bearer(kubeconfig: Path, token: str, directory: Path) -> Path:
    """The same cluster for somebody else."""
    document = yaml.safe_load(kubeconfig.read_text())
    named = next(one for one in document["contexts"] if one["name"] == document["current-context"])["context"]["user"]
    next(one for one in document["users"] if one["name"] == named)["user"] = {"token": token}
    file = directory / "bearer"
    file.write_text(yaml.safe_dump(document))
    return file
