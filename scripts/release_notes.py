"""The changelog's section of a version that both distributions have: `python scripts/release_notes.py 0.2.0`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from version import ROOT, found


def notes(version: str, changelog: str) -> str:
    """Raises SystemExit where there is no such section, or nothing in it."""
    section = re.search(rf"(?ms)^## \[?{re.escape(version)}\]?[^\n]*\n(.*?)(?=^## |\Z)", changelog)
    if section is None or not section[1].strip():
        raise SystemExit(f"CHANGELOG.md has no section '## {version}' with something in it")
    return section[1].strip() + "\n"


def main(version: str, root: Path = ROOT) -> str:
    there = {one for versions in found(root).values() for one in versions}
    if there != {version}:
        raise SystemExit(
            f"the version is {', '.join(sorted(there))}, not {version}: python scripts/version.py {version}"
        )
    return notes(version, (root / "CHANGELOG.md").read_text())


if __name__ == "__main__":
    sys.stdout.write(main(sys.argv[1]))
