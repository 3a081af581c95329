from __future__ import annotations

from pathlib import Path

import pytest
from identities import Authority

from serinus.core.home import Home


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    for directory in made.directories:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return made
