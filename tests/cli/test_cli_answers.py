"""What the command line reads of the API's answers, whichever version has answered."""

from __future__ import annotations

import pytest

from serinus.cli.answers import read, read_all
from serinus.core.errors import SerinusError
from serinus.core.events import Event
from serinus.resources import AuditChain, Me

ME = {"name": "anna", "owner": "anna@bank", "access": "deploy"}


def test_a_field_of_a_later_version_is_passed_over() -> None:
    assert read(Me, {**ME, "since": "yesterday"}) == read(Me, ME)
    event = {"at": "2026-03-02T09:30:00Z", "model": "m", "rollout": None, "kind": "k", "text": "t", "colour": "red"}
    assert [one.text for one in read_all(Event, [event])] == ["t"]


@pytest.mark.parametrize("answer", [{**ME, "access": "root"}, {"name": "anna"}, [], None])
def test_what_cannot_be_read_is_an_error_in_words_that_names_the_place_and_no_value(answer: object) -> None:
    with pytest.raises(SerinusError, match="cannot read") as caught:
        read(Me, answer)
    assert "root" not in str(caught.value)
    assert "--json" in caught.value.hint


def test_the_place_of_what_cannot_be_read_is_named() -> None:
    with pytest.raises(SerinusError, match=r"at broken_at"):
        read(AuditChain, {"holds": False, "broken_at": "the beginning"})
