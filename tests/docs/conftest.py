"""The pages, the blocks of code in them, and the command line that they speak of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import command_line
import pytest

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Page:
    path: Path

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    def blocks(self, language: str) -> list[str]:
        return [body for found, body in _FENCE.findall(self.text) if found == language]

    @property
    def prose(self) -> str:
        """Without the fenced blocks."""
        return _FENCE.sub("", self.text)


def page(name: str) -> Page:
    return Page(ROOT / name)


def pages() -> list[Page]:
    return [Page(path) for path in [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]]


@pytest.fixture(scope="session")
def verbs() -> Mapping[str, frozenset[str]]:
    """See `command_line.verbs`."""
    return command_line.verbs()


@pytest.fixture(scope="session")
def documents() -> list[Page]:
    return pages()


@pytest.fixture(scope="session")
def readme() -> Page:
    return page("README.md")


@pytest.fixture(scope="session")
def first_deployment() -> Page:
    return page("docs/first-deployment.md")
