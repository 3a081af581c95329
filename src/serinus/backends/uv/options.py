"""Restricts the package indexes that a model's requirements may name to those of the operator."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from urllib.parse import urlsplit

from serinus.core.errors import Unbuildable
from serinus.core.redaction import address, without_credentials

_INDEX = re.compile(r"(-i|--index-url|--extra-index-url|--index|--default-index|-f|--find-links)[\s=]*(\S*)$")
_DEFAULT = frozenset({"-i", "--index-url", "--default-index"})
_ADDRESS = re.compile(r"[A-Za-z][\w+.-]*://[^\s,;'\"]+")
_VARIABLE = re.compile(r"UV_.*(INDEX|FIND_LINKS)")
_PUBLIC = (("https", "pypi.org", None), ("https", "files.pythonhosted.org", None))
_FOUND = frozenset({"-f", "--find-links"})


class Allowed:
    """`indexes` are URLs as uv needs them, including credentials."""

    def __init__(self, indexes: Collection[str]) -> None:
        self._known = {address(url): url for url in indexes}
        self._hosts = frozenset({*_PUBLIC, *map(_host, [*indexes, *of_the_environment()])})

    def check(self, packages: Sequence[str]) -> None:
        """Raises Unbuildable where a package is given by a URL on a host without a listed index."""
        for line in packages:
            for found in _ADDRESS.findall(line):
                if not found.startswith("file:") and _host(found) not in self._hosts:
                    raise Unbuildable(
                        f"the requirement '{without_credentials(line)}' names an address that is on the host of no "
                        "package index that `serinus up --index` allows.",
                        hint="Require a released version (`name==1.2.3`), or log the wheel with the model.",
                    )

    def followed(self, lines: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
        """Returns `lines` with the operator's URLs in place of the model's, and what was left out, in words."""
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


def of_the_environment() -> Sequence[str]:
    """Returns the indexes that uv's variables name, including credentials."""
    values = (value for name, value in os.environ.items() if _VARIABLE.match(name))
    return [found for value in values for found in _ADDRESS.findall(value)]


def _host(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme.lower(), parts.hostname, parts.port


def _spelled(option: str) -> str:
    """Returns the option as a requirements file may spell it."""
    if option in _DEFAULT:
        return "--index-url"
    return "--find-links" if option in _FOUND else "--extra-index-url"
