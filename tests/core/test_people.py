"""Who is whom: what four eyes go by."""

from __future__ import annotations

import pytest

from serinus.core.people import Access, Actor


def actor(name: str, owner: str = "", origin: str = "127.0.0.1") -> Actor:
    return Actor(name, Access.APPROVE, origin, owner)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (actor("ci"), actor("ci")),
        (actor("ci", "anna@bank"), actor("laptop", "anna@bank")),
        (actor("ci", "anna@bank"), actor("laptop", "Anna@Bank")),
        (actor("ci", "anna@bank"), actor("laptop", "  ANNA@bank ")),
        (actor("ci", "anna  b"), actor("laptop", "anna b")),
        (actor("ci", "\uff41nna@bank"), actor("laptop", "anna@bank")),
        (actor("anna@bank"), actor("laptop", "anna@bank")),
        (actor("ci", "anna@bank"), actor("ci", "bert@bank")),
    ],
)
def test_one_token_and_two_of_one_owner_are_one_person(one: Actor, other: Actor) -> None:
    assert one.may_be(other)
    assert other.may_be(one)


@pytest.mark.parametrize(
    ("one", "other"),
    [(actor("anna"), actor("bert")), (actor("ci", "anna@bank"), actor("cd", "bert@bank"))],
)
def test_tokens_of_two_owners_are_two_people(one: Actor, other: Actor) -> None:
    assert not one.may_be(other)
    assert not other.may_be(one)


def test_an_alias_is_nobodys_until_the_registry_names_somebody() -> None:
    assert actor("nobody", origin="alias").is_nobody
    assert not actor("anna", "anna", origin="alias").is_nobody
    assert not actor("nobody").is_nobody, "a token is always somebody's"


def test_an_owner_is_shown_where_it_says_more_than_the_name() -> None:
    assert actor("ci", "anna@bank").shown == "ci (anna@bank)"
    assert actor("anna", "anna").shown == actor("anna").shown == "anna"
