"""Names of hosts, with and without a port."""

from __future__ import annotations

import pytest

from serinus.lib.hosts import without_port


@pytest.mark.parametrize(
    ("given", "host"),
    [
        ("serinus.example", "serinus.example"),
        ("serinus.example:443", "serinus.example"),
        ("192.0.2.1:31234", "192.0.2.1"),
        ("[::1]:8443", "[::1]"),
        ("[::1]", "[::1]"),
        ("::1", "::1"),
        ("2001:db8::1:8443", "2001:db8::1:8443"),
        ("serinus.example:", "serinus.example:"),
        ("serinus.example:x", "serinus.example:x"),
        ("serinus.example:1:2", "serinus.example:1:2"),
    ],
)
def test_the_port_is_left_out(given: str, host: str) -> None:
    assert without_port(given) == host
