"""PostgreSQL servers of the tests, and their databases."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from waiting import free_port

PLACES = [*sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True), *os.get_exec_path()]
"""Debian keeps the server out of the path."""
USER = "serinus"
PASSWORD = "of-postgres-that-nobody-may-see"


@dataclass
class Server:
    """A server whose files are in `directory`."""

    address: str
    """With `{}` in the place of the database's name."""
    directory: Path
    port: int
    _command: Sequence[str | Path]
    _who: Mapping[str, Any]
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """Returns when it answers."""
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, **self._who)
        _wait(self._process, self.directory, self.port)

    def end(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: it ends its sessions, and writes what it has. SIGQUIT: at once, as after a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)


@contextmanager
def running(listen: str | None = None) -> Iterator[Server]:
    """A server with nothing in it.

    It is on a Unix socket and asks for no password, or on a port of the address `listen` and asks for `PASSWORD`. Skips
    the test where there is no server on this machine, or fails it where `SERINUS_TEST_POSTGRES=required`.
    """
    initdb, postgres = _programs()
    directory = Path(tempfile.mkdtemp(prefix="serinus-postgres-", dir="/tmp"))  # the address of a socket is short
    who: dict[str, Any] = {"cwd": directory}
    (directory / "password").write_text(PASSWORD)
    if os.geteuid() == 0:  # as whom PostgreSQL does not run
        shutil.chown(directory, "nobody", "nogroup")
        who |= {"user": "nobody", "group": "nogroup", "extra_groups": []}
    data, port = directory / "data", free_port()
    address = f"postgresql://{USER}@/{{}}?host={directory}&port={port}"
    if listen is not None:
        address = f"postgresql://{USER}:{PASSWORD}@{listen}:{port}/{{}}"
    try:
        made = [initdb, "-D", data, "-U", USER, "--auth-local=trust", "--auth-host=scram-sha-256"]
        made += ["--pwfile", directory / "password", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"]
        subprocess.run(made, check=True, stdout=subprocess.DEVNULL, **who)
        with (data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all all scram-sha-256\n")
        settings = ["-c", f"listen_addresses={listen or ''}", "-c", "fsync=off", "-c", "max_connections=200"]
        command = [postgres, "-D", data, "-k", directory, "-p", str(port), *settings]
        server = Server(address, directory, port, command, who)
        try:
            server.start()
            yield server
        finally:
            server.end()
    finally:
        shutil.rmtree(directory)


def _programs() -> tuple[str, str]:
    initdb, postgres = (shutil.which(name, path=os.pathsep.join(PLACES)) for name in ("initdb", "postgres"))
    if initdb is not None and postgres is not None and find_spec("psycopg") is not None:
        return initdb, postgres
    what = "driver (the extra `postgres`)" if initdb and postgres else "server (Debian: apt-get install postgresql)"
    why = f"there is no PostgreSQL {what} on this machine"
    if os.environ.get("SERINUS_TEST_POSTGRES") == "required":
        pytest.fail(why)
    pytest.skip(why)


def _wait(server: subprocess.Popen[bytes], directory: Path, port: int) -> None:
    import psycopg

    end = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(host=str(directory), port=port, user=USER, dbname="postgres").close()
        except psycopg.OperationalError:
            told = (directory / "log").read_text()
            assert server.poll() is None, told
            assert time.monotonic() < end, told
            time.sleep(0.05)
        else:
            return


@contextmanager
def new_database(server: str) -> Iterator[str]:
    """The address of an empty database of the server at the address `server`, which is removed at the end."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    _tell(server, f"CREATE DATABASE {name}")
    yield server.format(name)
    _tell(server, f"DROP DATABASE {name} WITH (FORCE)")


def _tell(server: str, statement: str) -> None:
    """By a connection of its own, which no crash of the server meanwhile has ended."""
    import psycopg

    with psycopg.connect(server.format("postgres"), autocommit=True) as connection:
        connection.execute(statement)  # type: ignore[arg-type]
