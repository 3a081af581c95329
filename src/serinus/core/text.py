"""Text that somebody else wrote, made fit to be shown."""

from __future__ import annotations

import logging
import unicodedata

from serinus.core.redaction import without_credentials

_KEPT = frozenset("\t\n")
_SPACES = "Zs"


def harmless(text: str) -> str:
    """`text` with every character that has no shape of its own shown as an escape (`\\x1b`), but for spaces, tabs and
    line feeds.

    A terminal obeys control characters: they clear it, rename its window or overwrite what stands there. Marks that
    turn the direction of text around, and those that take no room, let a line or a name be read as another. Halves of
    surrogate pairs cannot be written at all.
    """
    return text if text.isprintable() else "".join(map(_shown, text))


def one_line(text: str) -> str:
    """`fit`, with each run of blanks and line ends as one blank: it cannot look like lines of ours."""
    return fit(" ".join(text.split()))


def harmless_in_json(text: str) -> str:
    """The same of text that is JSON, which stays the same JSON."""
    return text if text.isprintable() else "".join(map(_shown_in_json, text))


def configure_logging(form: str = "%(asctime)s %(levelname)s %(message)s") -> None:
    """Of this process, from INFO on, to standard error. `form`: of a line. Control characters are shown as escapes:
    a log is read in a terminal, and an error may quote a model. Credentials are left out, and further lines of an
    entry are set in."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Fit(form))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def fit(text: str) -> str:
    """`text` of somebody else as it may be stored, logged and shown: without credentials, and harmless."""
    return harmless(without_credentials(text))


class _Fit(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return fit(super().format(record)).replace("\n", "\n    ")


def _shown(character: str) -> str:
    if _is_shown(character):
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _shown_in_json(character: str) -> str:
    if _is_shown(character):
        return character
    code = ord(character)
    if code < 0x10000:
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"


def _is_shown(character: str) -> bool:
    return character.isprintable() or character in _KEPT or unicodedata.category(character) == _SPACES
