"""Which package indexes a model's requirements may send uv to: those that the operator has named, and no others."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from serinus.core.redaction import address

_INDEX = re.compile(r"(-i|--index-url|--extra-index-url|--index|--default-index|-f|--find-links)[\s=]*(\S*)$")
_DEFAULT = frozenset({"-i", "--index-url", "--default-index"})
_FOUND = frozenset({"-f", "--find-links"})


class Allowed:
    """`indexes`: addresses as uv needs them, credentials included."""

    def __init__(self, indexes: Collection[str]) -> None:
        self._known = {address(url): url for url in indexes}

    def followed(self, lines: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
        """`lines` with the operator's address in place of the model's, and what was left out, in words."""
        kept: list[str] = []
        left_out: list[str] = []
        for line in lines:
            found = _INDEX.match(line)
            if found is None:
                kept.append(line)
            elif url := self._known.get(address(found[2])):
                kept.append(f"{_spelled(found[1])} {url}")
            else:
                left_out.append(
                    f"left out {found[1]}: it names a package index that `serinus up --index` does not allow"
                )
        return kept, left_out


def _spelled(option: str) -> str:
    """As a requirements file may have it."""
    if option in _DEFAULT:
        return "--index-url"
    return "--find-links" if option in _FOUND else "--extra-index-url"
