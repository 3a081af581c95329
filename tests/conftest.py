"""What tests of several directories need of the machine."""

from __future__ import annotations

import os
from collections.abc import Iterator

import databases
import object_stores
import one_thread  # noqa: F401  it sets variables
import pytest
from deadline import pytest_runtest_setup, pytest_terminal_summary  # noqa: F401  they are hooks

from serinus.lib import files


@pytest.fixture(autouse=True)
def _umask() -> Iterator[None]:
    """That of the process is the same for every test, whatever those before it have called."""
    with files.umask(0o022):
        yield


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The address of a server of its own, with nothing in it, on a Unix socket; without the database's name."""
    with databases.running() as server:
        yield server.address


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[databases.Server]:
    """A server that the tests of a module may end and start."""
    with databases.running() as server:
        yield server


@pytest.fixture
def postgres_database(postgres_server: str) -> Iterator[str]:
    """The address of an empty database."""
    with databases.new_database(postgres_server) as address:
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
