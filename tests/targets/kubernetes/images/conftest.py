from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import registries
from registries import Proxy

from serinus.targets.kubernetes.images.registry import DockerConfig, Registry


@pytest.fixture(scope="session")
def registry_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`host:port` of a registry that lets everybody in."""
    with registries.serving(tmp_path_factory.mktemp("registry")) as host:
        yield host


@pytest.fixture
def proxy(registry_server: str) -> Iterator[Proxy]:
    one = Proxy(registry_server)
    yield one
    one.close()


@pytest.fixture
def nobody(tmp_path: Path) -> DockerConfig:
    """No credentials, whatever the user has."""
    return DockerConfig(tmp_path)


@pytest.fixture
def pauses() -> list[float]:
    """Seconds that the client would have waited."""
    return []


@pytest.fixture
def client(proxy: Proxy, nobody: DockerConfig, pauses: list[float]) -> Iterator[Registry]:
    """Of the registry behind the proxy."""
    one = Registry(proxy.host, nobody, pause=pauses.append, chunk=1 << 20)
    yield one
    one.close()
