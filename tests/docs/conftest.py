"""The pages, the blocks of code in them, and the command line that they speak of."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer

from serinus.cli.app import app

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


def _walk(command: Any, name: str) -> Iterator[tuple[str, frozenset[str]]]:
    below = getattr(command, "commands", None)
    options = frozenset(o for p in command.params for o in (*p.opts, *p.secondary_opts) if o.startswith("-"))
    yield name, options | {"--help", "-h"}
    for verb, inner in (below or {}).items():
        yield from _walk(inner, f"{name} {verb}".strip())


@pytest.fixture(scope="session")
def verbs() -> Mapping[str, frozenset[str]]:
    """Verb (`deploy`, `outcomes import`; empty: `serinus` itself) to its options."""
    return dict(_walk(typer.main.get_command(app), ""))


@pytest.fixture(scope="session")
def documents() -> list[Page]:
    return pages()


@pytest.fixture(scope="session")
def readme() -> Page:
    return page("README.md")


@pytest.fixture(scope="session")
def first_deployment() -> Page:
    return page("docs/first-deployment.md")
