from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from stages import Clock, Stage, end_everything

from serinus.core.home import Home


@pytest.fixture
def tidy() -> Iterator[Callable[[Home], Home]]:
    """Takes homes of which nothing runs any more when the test is over."""
    homes: list[Home] = []

    def remember(home: Home) -> Home:
        homes.append(home)
        return home

    yield remember
    for home in homes:
        for _ in range(2):  # the supervisor may have started something meanwhile
            end_everything(home)


@pytest.fixture
def directory() -> Iterator[Path]:
    """Short enough for Unix sockets."""
    path = Path(tempfile.mkdtemp(prefix="serinus-", dir="/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def stage(directory: Path, tidy: Callable[[Home], Home]) -> Stage:
    return Stage(tidy(Home(directory / "home")))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def home(stage: Stage) -> Home:
    """With the directories that a manager needs."""
    for path in stage.home.directories:
        path.mkdir(parents=True, exist_ok=True)
    return stage.home
