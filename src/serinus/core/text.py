"""Text that somebody else wrote, made fit to be shown."""

from __future__ import annotations

import re

_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def harmless(text: str) -> str:
    """`text` with its control characters shown as escapes (`\\x1b`), but for tabs and line feeds.

    A terminal obeys control characters: they clear it, rename its window or overwrite what stands there. The marks that
    turn the direction of text around can have a line read otherwise than it is.
    """
    return _CONTROLS.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
