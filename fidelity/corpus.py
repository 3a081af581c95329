"""What was ever found, kept as files and compared again by the quick tests."""

from __future__ import annotations

import json
from pathlib import Path

from fidelity.case import Case
from fidelity.session import Finding, findings

DIRECTORY = Path(__file__).parent / "corpus"


def files() -> list[Path]:
    return sorted(DIRECTORY.glob("*.json"))


def read(file: Path) -> Case:
    content = json.loads(file.read_text(encoding="utf-8"))
    content.pop("about", None)
    return Case.load(content)


def replay(file: Path) -> list[Finding]:
    """All that differs, wanted or not. Raises CannotBuild."""
    return findings(read(file))
