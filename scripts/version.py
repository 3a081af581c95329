"""Sets the version of both distributions, which are released together: `python scripts/version.py 0.2.0`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
_PLACES = {
    "pyproject.toml": (r'(?m)^(version = ")[^"]+', r'("serinus-runtime==)[^"]+'),
    "runtime/pyproject.toml": (r'(?m)^(version = ")[^"]+',),
}


def found(root: Path = ROOT) -> dict[str, list[str]]:
    """File -> the versions in it."""
    return {name: _versions((root / name).read_text(), patterns) for name, patterns in _PLACES.items()}


def _versions(text: str, patterns: tuple[str, ...]) -> list[str]:
    matches = [_match(pattern, text) for pattern in patterns]
    return [match[0].removeprefix(match[1]) for match in matches]


def put(version: str, root: Path = ROOT) -> None:
    if not re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", version):
        raise SystemExit(f"{version} is not a version such as 0.2.0 or 0.2.0rc1")
    for name, patterns in _PLACES.items():
        text = (root / name).read_text()
        for pattern in patterns:
            text, count = re.subn(pattern, rf"\g<1>{version}", text, count=1)
            if not count:
                raise SystemExit(f"{name} has no version where one is expected")
        (root / name).write_text(text)


def _match(pattern: str, text: str) -> re.Match[str]:
    match = re.search(pattern, text)
    if match is None:
        raise SystemExit(f"no version is where one is expected: {pattern}")
    return match


if __name__ == "__main__":
    put(sys.argv[1])
