"""Removal of credentials from text: user names, passwords and tokens in URLs, and the values of keys with such
names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# Lengths are bounded where a search starts again at every character, because the text may be hostile.
# The user name may hold anything except blanks and its delimiter. A quote after it ends the URL.
_ADDRESS = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,30})://(?P<rest>(?:[^\s\"`<>/?#@]*@)*[^\s'\"`<>]*)",
)
_TOLD = re.compile(r"(?:egg|subdirectory|md5|sha\d+)=[^&]*")
"""The parts of a fragment that pip reads."""
_PORT = re.compile(r"(?:[^:\[]*|\[[0-9A-Fa-f:.]*\])(?::\d{0,5})?[.,;:)\]]*")
"""A host with or without a port, and the punctuation that may follow it in a sentence."""
_BEFORE_A_HOST = re.compile(
    r"(?<=[/'\"`=(<])[^\s:/@'\"`<>=(]{1,200}:[^\s/@'\"`<>]{1,200}@(?=[\w-]{1,100}(?:\.[\w-]{1,100})+)"
)
"""`user:password@host.example`, from a URL that has lost its scheme."""
_HEADER = re.compile(r"(?i)(\bauthorization[\"']?\s{0,9}[:=]\s{0,9}[\"']?(?:(?:basic|bearer|token)\s{1,9})?)[^\s\"',]+")
_NAMED = re.compile(
    r"(?i)\b([\w-]{0,64}?(?:password|passwd|secret|token|api[_-]?key|access[_-]?key)"
    r"(?:\s{0,9}=\s{0,9}[\"']?|[\"']\s{0,9}:\s{0,9}[\"']))"
    r"(?![$<.*])[^\s&\"',;]+"
)
_HIDDEN = "***"


def without_credentials(text: str) -> str:
    """Returns `text` without credentials.

    Every URL is reduced to scheme, host, path and the parts of the fragment that pip reads. Values of keys that are
    named like a password, a secret, a token or a key are removed. The function is idempotent.
    """
    if "://" in text:
        text = _ADDRESS.sub(_reduced, text)
    if "@" in text:
        text = _BEFORE_A_HOST.sub("", text)
    if "=" in text or ":" in text:
        text = _HEADER.sub(rf"\1{_HIDDEN}", text)
        text = _NAMED.sub(rf"\1{_HIDDEN}", text)
    return text


_SIGNS = ("://", "author", "password", "passwd", "secret", "token", "key")
"""Lower-case signs. Every text that `without_credentials` would change has one of them, or a colon before an `@`."""
_ENDS_A_USER = re.compile(r"[\s/'\"`<>]")
_LONGEST_USER = 2_500
"""The length in characters, written as JSON, of the longest match of `_BEFORE_A_HOST`."""


def may_hold_credentials(text: str) -> bool:
    """Whether the text may hold credentials. Where this is False, `without_credentials` changes neither the text nor
    any part of it. Fast."""
    small = text.casefold()
    if any(sign in small for sign in _SIGNS):
        return True
    before = text.split("@")[:-1]
    return any(":" in _ENDS_A_USER.split(part[-_LONGEST_USER:])[-1] for part in before)


def all_without_credentials(value: Any) -> Any:
    """Removes credentials from every string in a JSON value. Keys are not changed."""
    if value is None or isinstance(value, int | float):  # The common case: numbers.
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
    if "@" not in first and not _PORT.fullmatch(first):  # a password with `/`, `?` or `#`, or a truncated URL
        first, at, rest = rest.rpartition("@")
        rest = rest if at else rest.partition(":")[0]
    rest, _, fragment = rest.partition("#")
    host, slash, path = rest.partition("?")[0].partition("/")
    user, at, host = host.rpartition("@")
    # The user name in `ssh://git@host` is no secret, unless there is a password.
    kept = f"{user}@" if at and found["scheme"].endswith("ssh") and ":" not in user else ""
    told = "&".join(_TOLD.findall(fragment))
    return f"{found['scheme']}://{kept}{host}{slash}{path}" + (f"#{told}" if told else "")


def shown(url: str) -> str:
    """Returns one URL without credentials, whatever characters the password has. The text before the last `@` is
    removed."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2].partition('?')[0]}" if separator else url


def address(url: str) -> str:
    """Returns a normal form of the URL of a package index, in which its different spellings are equal."""
    return without_credentials(url.strip()).rstrip("/").lower()
