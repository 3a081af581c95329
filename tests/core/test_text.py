"""What a model wrote, shown to a person."""

import json
import logging
import subprocess
import sys

import pytest

from serinus.core.errors import Refused
from serinus.core.text import configure_logging, harmless, harmless_in_json, one_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x1b]0;owned\x07", r"\x1b[2J\x1b]0;owned\x07"),
        ("ok\r12:00 promoted", r"ok\x0d12:00 promoted"),
        ("\x9b2J", r"\x9b2J"),
        ("a\u202egnp.exe", r"a\u202egnp.exe"),
        ("\x00\x08\x7f", r"\x00\x08\x7f"),
        ("card\u200b-fraud\u200d\u2060\ufeff", r"card\u200b-fraud\u200d\u2060\ufeff"),
        ("a\u00adb\U000e0041", r"a\xadb\U000e0041"),
        ("half a pair: \ud800", r"half a pair: \ud800"),
        ("a\xa0b\u3000c", "a\xa0b\u3000c"),
        ("tab\tand\nline, Zürich, 東京, 🙂", "tab\tand\nline, Zürich, 東京, 🙂"),
    ],
)
def test_control_characters_are_shown_and_nothing_else_is_changed(text: str, shown: str) -> None:
    assert harmless(text) == shown


def test_an_error_holds_no_control_characters() -> None:
    error = Refused("stopped: \x1b[2J", hint="see \x07")
    assert (error.message, error.hint, str(error)) == (r"stopped: \x1b[2J", r"see \x07", r"stopped: \x1b[2J see \x07")


def test_json_stays_the_same_json_and_shows_no_control_characters() -> None:
    said = {"reason": "\x1b[2J\x9b\u202e\u200b\U000e0041 Zürich 🙂", "lines": ["a\nb"]}
    text = harmless_in_json(json.dumps(said, indent=2, ensure_ascii=False))
    assert json.loads(text) == said
    assert harmless(text) == text
    assert "Zürich 🙂" in text


def test_a_log_shows_no_control_characters_of_what_it_quotes(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    configure_logging()
    try:
        raise ValueError("\x1b[2J\u202e")
    except ValueError:
        logging.getLogger("a").exception("failed: %s", "\x07\ud800")
    said = capfd.readouterr().err
    assert r"failed: \x07\ud800" in said
    assert r"ValueError: \x1b[2J\u202e" in said
    _, *others = said.splitlines()
    assert len(others) > 3
    assert all(line.startswith("    ") for line in others), "none looks like an entry of its own"


def test_one_line_is_one_line() -> None:
    told = one_line("it failed\r\n2026-11-29 promoted: card@9\u2028\x1b[2J \t x\x85y\x0bz")
    assert told == r"it failed 2026-11-29 promoted: card@9 \x1b[2J x y z"


@pytest.mark.parametrize("name", ["httpx", "httpx2"])
def test_a_log_has_no_line_for_each_request_of_an_http_client(name: str) -> None:
    code = f"""
import logging
import subprocess
import sys
import {name} as client
from serinus.core.text import configure_logging

configure_logging()
asked = client.Client(transport=client.MockTransport(lambda request: client.Response(200)), trust_env=False)
asked.get("http://serinus.test/")
logging.getLogger("{name}").warning("a warning of the client")
logging.getLogger("serinus").info("a line of this program")
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr
    assert [line.partition(" a ")[2] for line in said.splitlines()] == ["warning of the client", "line of this program"]
