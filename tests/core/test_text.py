"""What a model wrote, shown to a person."""

import pytest

from serinus.core.errors import Refused
from serinus.core.text import harmless


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x1b]0;owned\x07", r"\x1b[2J\x1b]0;owned\x07"),
        ("ok\r12:00 promoted", r"ok\x0d12:00 promoted"),
        ("\x9b2J", r"\x9b2J"),
        ("a\u202egnp.exe", r"a\u202egnp.exe"),
        ("\x00\x08\x7f", r"\x00\x08\x7f"),
        ("tab\tand\nline, Zürich, 東京, 🙂", "tab\tand\nline, Zürich, 東京, 🙂"),
    ],
)
def test_control_characters_are_shown_and_nothing_else_is_changed(text: str, shown: str) -> None:
    assert harmless(text) == shown


def test_an_error_holds_no_control_characters() -> None:
    error = Refused("stopped: \x1b[2J", hint="see \x07")
    assert (error.message, error.hint, str(error)) == (r"stopped: \x1b[2J", r"see \x07", r"stopped: \x1b[2J see \x07")
