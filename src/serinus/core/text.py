"""Text from outside, made safe to show."""

from __future__ import annotations

import logging
import unicodedata

from serinus.core.redaction import without_credentials

_KEPT = frozenset("\t\n")
_SPACES = "Zs"
_HTTP_CLIENTS = ("httpx", "httpx2")


def harmless(text: str) -> str:
    r"""Returns `text` with every character without a visible shape as an escape, such as `\x1b`. Spaces, tabs and line
    feeds are kept.

    A terminal obeys control characters: they clear the screen, rename the window or overwrite text. Bidirectional marks
    and zero-width characters make a line or a name look like another one. Lone surrogates cannot be encoded at all.
    """
    return text if text.isprintable() else "".join(map(_shown, text))


def one_line(text: str) -> str:
    """Returns the text as `fit` does, with each run of blanks and line ends replaced by one blank.

    The result cannot be mistaken for lines of Serinus' own.
    """
    return fit(" ".join(text.split()))


def harmless_in_json(text: str) -> str:
    """Returns JSON text with the same characters escaped. It parses to the same value."""
    return text if text.isprintable() else "".join(map(_shown_in_json, text))


def configure_logging(form: str = "%(asctime)s %(levelname)s %(message)s") -> None:
    """Sends the log of this process, from INFO on, to standard error. `form` is the format of a line.

    Control characters are escaped, because logs are read in terminals and an error may quote a model. Credentials are
    removed, and continuation lines are indented. HTTP clients log from WARNING on, because they would log each request.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_Fit(form))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for client in _HTTP_CLIENTS:
        logging.getLogger(client).setLevel(logging.WARNING)


def fit(text: str) -> str:
    """Returns text from outside as it may be stored, logged and shown: without credentials and control characters."""
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
