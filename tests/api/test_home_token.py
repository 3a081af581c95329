"""The home's own token: made, kept, and replaced."""

from __future__ import annotations

import os
import pwd
from typing import Any

import pytest
from small_fleet import NOW, Installation

from serinus.api import home_token
from serinus.core.people import Access, Actor

ENGINE = Actor("serinus", Access.ADMIN, "engine")


def ensure(installation: Installation) -> str:
    home_token.ensure(installation.home, installation.store, ENGINE, NOW)
    return installation.home.token.read_text()


def test_it_is_made_once_for_its_owner_alone(installation: Installation) -> None:
    token = ensure(installation)
    assert installation.home.token.stat().st_mode & 0o777 == 0o600
    assert installation.store.whose_token(token) == Actor("admin", Access.ADMIN, owner=home_token.login())
    assert ensure(installation) == token
    (entry,) = installation.store.audit_trail()
    assert (entry.who, entry.what, entry.details["for"]) == ("serinus", "issue-token", home_token.login())


def test_without_its_file_another_takes_its_place(installation: Installation) -> None:
    first = ensure(installation)
    installation.home.token.unlink()
    assert ensure(installation) != first
    assert installation.store.whose_token(first) is None


def test_where_it_was_revoked_it_is_made_again(installation: Installation) -> None:
    first = ensure(installation)
    installation.store.revoke_token("admin", NOW)
    assert installation.store.whose_token(ensure(installation)) is not None
    assert installation.store.whose_token(first) is None


def test_what_lies_where_it_is_written_is_not_followed(installation: Installation) -> None:
    elsewhere = installation.home.path / "elsewhere"
    installation.home.token.with_suffix(".new").symlink_to(elsewhere)
    ensure(installation)
    assert not elsewhere.exists()
    assert not installation.home.token.is_symlink()


@pytest.mark.parametrize(
    ("name", "owner"),
    [("anna", "anna"), ("nobody", "user nobody"), ("DOM\\anna$", "DOM-anna"), ("_svc", "svc"), ("", "user")],
)
def test_its_owner_is_the_users_login_in_letters_that_an_owner_may_have(
    name: str, owner: str, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Entry:
        pw_name = name

    monkeypatch.setattr(pwd, "getpwuid", lambda _uid: Entry)
    found = installation.store.whose_token(ensure(installation))
    assert found is not None
    assert found.owner == owner


def test_a_user_without_a_login_is_named_by_its_number(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(_uid: int) -> Any:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert home_token.login() == f"uid {os.geteuid()}"
    assert installation.store.whose_token(ensure(installation)) is not None
