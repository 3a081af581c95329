"""Text without what lets somebody in: user names, passwords and tokens in addresses, and values that are called so."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# Lengths are bounded where a search begins anew at every character: what is searched may be somebody's attack.
# A user's part may hold anything but blanks and what ends it; a quote after it ends the address.
_ADDRESS = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,30})://(?P<rest>(?:[^\s\"`<>/?#@]*@)*[^\s'\"`<>]*)",
)
_TOLD = re.compile(r"(?:egg|subdirectory|md5|sha\d+)=[^&]*")
"""Of a fragment: what pip reads there."""
_PORT = re.compile(r"(?:[^:\[]*|\[[0-9A-Fa-f:.]*\])(?::\d{0,5})?[.,;:)\]]*")
"""A host with or without a port, and what a sentence may have behind it."""
_BEFORE_A_HOST = re.compile(
    r"(?<=[/'\"`=(<])[^\s:/@'\"`<>=(]{1,200}:[^\s/@'\"`<>]{1,200}@(?=[\w-]{1,100}(?:\.[\w-]{1,100})+)"
)
"""`user:password@host.example`, of an address that has lost its scheme."""
_HEADER = re.compile(r"(?i)(\bauthorization[\"']?\s{0,9}[:=]\s{0,9}[\"']?(?:(?:basic|bearer|token)\s{1,9})?)[^\s\"',]+")
_NAMED = re.compile(
    r"(?i)\b([\w-]{0,64}?(?:password|passwd|secret|token|api[_-]?key|access[_-]?key)"
    r"(?:\s{0,9}=\s{0,9}[\"']?|[\"']\s{0,9}:\s{0,9}[\"']))"
    r"(?![$<.*])[^\s&\"',;]+"
)
_HIDDEN = "***"


def without_credentials(text: str) -> str:
    """`text` with every address in it reduced to scheme, host, path and what pip reads of the fragment, and without
    the values of what is called a password, a secret, a token or a key. Of its own result it changes nothing."""
    if "://" in text:
        text = _ADDRESS.sub(_reduced, text)
    if "@" in text:
        text = _BEFORE_A_HOST.sub("", text)
    if "=" in text or ":" in text:
        text = _HEADER.sub(rf"\1{_HIDDEN}", text)
        text = _NAMED.sub(rf"\1{_HIDDEN}", text)
    return text


_SIGNS = ("://", "author", "password", "passwd", "secret", "token", "key")
"""One of them, or a colon before an `@`, is in every text of which `without_credentials` changes anything, in small
letters."""
_ENDS_A_USER = re.compile(r"[\s/'\"`<>]")
_LONGEST_USER = 2_500
"""Characters, as JSON writes the longest that `_BEFORE_A_HOST` takes."""


def may_hold_credentials(text: str) -> bool:
    """False: `without_credentials` changes nothing in it, nor in a part of it. Quick."""
    small = text.casefold()
    if any(sign in small for sign in _SIGNS):
        return True
    before = text.split("@")[:-1]
    return any(":" in _ENDS_A_USER.split(part[-_LONGEST_USER:])[-1] for part in before)


def all_without_credentials(value: Any) -> Any:
    """Removes credentials from every string in a JSON value; keys are not changed."""
    if value is None or isinstance(value, int | float):  # the most, in figures
        return value
    if isinstance(value, str):
        return without_credentials(value)
    if isinstance(value, Mapping):
        return {key: all_without_credentials(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [all_without_credentials(one) for one in value]
    return value


def _reduced(found: re.Match[str]) -> str:
    rest = found["rest"]
    first = re.split("[/?#]", rest, maxsplit=1)[0]
    if "@" not in first and not _PORT.fullmatch(first):  # a password with one of these in it, or an address cut off
        first, at, rest = rest.rpartition("@")
        rest = rest if at else rest.partition(":")[0]
    rest, _, fragment = rest.partition("#")
    host, slash, path = rest.partition("?")[0].partition("/")
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
    """A normal form of a package index's address, in which its spellings are equal."""
    return without_credentials(url.strip()).rstrip("/").lower()
