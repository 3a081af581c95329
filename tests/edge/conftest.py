from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.extend(
    [
        str(Path(__file__).parent),
        *(str(Path(__file__).parents[1] / other) for other in ("backends/envoy", "api", "supervisor")),
    ]
)

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
