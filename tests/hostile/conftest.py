"""One running Serinus for all attacks that need one, and in it a model that runs what it is sent."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from hostile_models import SHELL, SHELL_INPUTS, SHELL_OUTPUTS, mlmodel
from hostile_serinus import Attacked, Shell, fresh, running, shared

Deploy = Callable[[], Shell]


@pytest.fixture(scope="session")
def serinus() -> Iterator[Attacked]:
    with running() as serinus:
        yield serinus


@pytest.fixture(scope="session")
def another_shell(serinus: Attacked) -> Deploy:
    """Deploys one more model that runs what it is sent, for a test that ends it or leaves something in it."""

    def deploy() -> Shell:
        name = fresh("shell")
        files = {"MLmodel": mlmodel(inputs=SHELL_INPUTS, outputs=SHELL_OUTPUTS), "code/by_hand.py": SHELL}
        ref = serinus.register(name, files, shared())
        return Shell(serinus, name, serinus.promoted(ref))

    return deploy


@pytest.fixture(scope="session")
def shell(another_shell: Deploy) -> Shell:
    """A model that runs what it is sent, in a worker as any other."""
    return another_shell()


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A process of this user that nobody may touch. It leads a group of its own."""
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True
    ) as process:
        yield process
        process.kill()
