"""Where the sockets of a home lie."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from serinus.core.home import Home

LONGEST = 107
"""Bytes of a Unix address without its closing zero."""


def test_the_sockets_of_a_shallow_home_lie_in_it() -> None:
    home = Home(Path("/home/anna/.serinus"))
    assert home.sockets == home.path / "s"


def test_the_sockets_of_a_deep_home_are_short_and_of_one_user_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that one user has made in /tmp is closed to the next user of the same checkout."""
    home = Home(Path("/home") / Path(*["deep"] * 30))
    ours = home.sockets
    monkeypatch.setattr(os, "geteuid", lambda: 54_321)
    assert home.sockets != ours
    assert home.sockets != Home(home.path / "other").sockets
    assert len(f"{home.release_socket('fraud-1')}.new".encode()) <= LONGEST
    monkeypatch.setattr(os, "geteuid", lambda: 2**32 - 2)
    assert len(f"{home.release_socket('fraud-1')}.new".encode()) <= LONGEST
