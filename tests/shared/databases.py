"""PostgreSQL servers of the tests, and their databases."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from waiting import free_port

PLACES = [*sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True), *os.get_exec_path()]
"""Debian keeps the server out of the path."""
USER = "serinus"
PASSWORD = "of-postgres-that-nobody-may-see"


@contextmanager
def running(listen: str | None = None) -> Iterator[str]:
    """The address of a server with nothing in it, with `{}` in the place of the database's name.

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
    try:
        made = [initdb, "-D", data, "-U", USER, "--auth-local=trust", "--auth-host=scram-sha-256"]
        made += ["--pwfile", directory / "password", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"]
        subprocess.run(made, check=True, stdout=subprocess.DEVNULL, **who)
        with (data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all all scram-sha-256\n")
        settings = ["-c", f"listen_addresses={listen or ''}", "-c", "fsync=off", "-c", "max_connections=200"]
        with (directory / "log").open("wb") as log:
            command = [postgres, "-D", data, "-k", directory, "-p", str(port), *settings]
            server = subprocess.Popen(command, stdout=log, stderr=log, **who)
        try:
            _wait(server, directory, port)
            if listen is None:
                yield f"postgresql://{USER}@/{{}}?host={directory}&port={port}"
            else:
                yield f"postgresql://{USER}:{PASSWORD}@{listen}:{port}/{{}}"
        finally:
            server.send_signal(2)  # fast: it ends its sessions
            server.wait(30)
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
    """The address of an empty database of `server`, which is removed at the end."""
    import psycopg

    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server.format("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]
        yield server.format(name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")  # type: ignore[arg-type]
