"""What tests of several directories need of the machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import object_stores
import one_thread  # noqa: F401  it sets variables
import pytest
from databases import new_database

from serinus.lib import files

PLACES = [*sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True), *os.get_exec_path()]
"""Debian keeps the server out of the path."""


def _found(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join(PLACES))


@pytest.fixture(autouse=True)
def _umask() -> Iterator[None]:
    """That of the process is the same for every test, whatever those before it have called."""
    with files.umask(0o022):
        yield


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The address of a server of its own, with nothing in it, on a Unix socket; without the database's name."""
    initdb, postgres = _found("initdb"), _found("postgres")
    if initdb is None or postgres is None or find_spec("psycopg") is None:
        what = "driver (the extra `postgres`)" if initdb and postgres else "server (Debian: apt-get install postgresql)"
        why = f"there is no PostgreSQL {what} on this machine"
        if os.environ.get("SERINUS_TEST_POSTGRES") == "required":
            pytest.fail(why)
        pytest.skip(why)
    directory = Path(tempfile.mkdtemp(prefix="serinus-postgres-", dir="/tmp"))  # the address of a socket is short
    who: dict[str, Any] = {"cwd": directory}
    if os.geteuid() == 0:  # as whom PostgreSQL does not run
        shutil.chown(directory, "nobody", "nogroup")
        who |= {"user": "nobody", "group": "nogroup", "extra_groups": []}
    data = directory / "data"
    try:
        made = [initdb, "-D", data, "-U", "serinus", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"]
        subprocess.run(made, check=True, stdout=subprocess.DEVNULL, **who)
        settings = ["-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=200"]
        with (directory / "log").open("wb") as log:
            command = [postgres, "-D", data, "-k", directory, *settings]
            server = subprocess.Popen(command, stdout=log, stderr=log, **who)
        try:
            _wait(server, directory)
            yield f"postgresql://serinus@/{{}}?host={directory}"
        finally:
            server.send_signal(2)  # fast: it ends its sessions
            server.wait(30)
    finally:
        shutil.rmtree(directory)


def _wait(server: subprocess.Popen[bytes], directory: Path) -> None:
    import psycopg

    end = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(host=str(directory), user="serinus", dbname="postgres").close()
        except psycopg.OperationalError:
            told = (directory / "log").read_text()
            assert server.poll() is None, told
            assert time.monotonic() < end, told
            time.sleep(0.05)
        else:
            return


@pytest.fixture
def postgres_database(postgres_server: str) -> Iterator[str]:
    """The address of an empty database."""
    with new_database(postgres_server) as address:
        yield address


@pytest.fixture(scope="session")
def object_store_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object_stores.ObjectStore]:
    """An S3 server for all tests, each with a prefix of its own."""
    with object_stores.running(tmp_path_factory.mktemp("object-store")) as store:
        yield store


@pytest.fixture
def object_store(
    object_store_server: object_stores.ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> Iterator[object_stores.ObjectStore]:
    """The same, with its variables in the environment, and whole again after the test."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in object_store_server.environment().items():
        monkeypatch.setenv(name, value)
    yield object_store_server
    object_store_server.door.shut = False
    object_store_server.door.loses = lambda method, path: False
    object_store_server.door.lost.clear()
