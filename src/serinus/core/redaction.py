"""Addresses without what lets somebody in: user names, passwords, and tokens in queries."""

from __future__ import annotations

import re

_ADDRESS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>[^\s'\"`<>]+)")
_TOLD = re.compile(r"(?:egg|subdirectory|md5|sha\d+)=[^&]*")
"""Of a fragment: what pip reads there."""


def without_credentials(text: str) -> str:
    """`text` with every address in it reduced to scheme, host, path and what pip reads of the fragment."""
    return _ADDRESS.sub(_reduced, text)


def _reduced(found: re.Match[str]) -> str:
    rest, _, fragment = found["rest"].partition("#")
    rest = rest.partition("?")[0]
    host, slash, path = rest.partition("/")
    user, at, host = host.rpartition("@")
    # `ssh://git@host` has a user name that everybody has; a password makes it somebody's.
    kept = f"{user}@" if at and found["scheme"].endswith("ssh") and ":" not in user else ""
    told = "&".join(_TOLD.findall(fragment))
    return f"{found['scheme']}://{kept}{host}{slash}{path}" + (f"#{told}" if told else "")


def shown(url: str) -> str:
    """One address, whatever characters its password has: what stands before its last `@` is left out."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2].partition('?')[0]}" if separator else url


def address(url: str) -> str:
    """By which two spellings of the same index are equal."""
    return without_credentials(url.strip()).rstrip("/").lower()
