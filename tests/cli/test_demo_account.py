"""The account that the demo gives, of rollouts that ended otherwise than they should."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scenes import rollout
from small_fleet import NOW, Installation

from demo.__main__ import MODEL, Account, outcome
from demo.serinus import Serinus
from serinus.core.events import Event
from serinus.core.rollout import Cause, ModelState, Phase


def aborted_before_there_was_a_release(installation: Installation) -> str:
    ended = replace(
        rollout(1, Phase.ABORTED, reason="Python 3.77 is not on this machine", cause=Cause.ENVIRONMENT), candidate=None
    )
    events = [
        Event(NOW, MODEL, ended.id, "aborted", "card-fraud@7 was stopped"),
        Event(NOW, MODEL, None, "alias", "challenger is 7"),
    ]
    installation.store.create(rollout(1, Phase.RESOLVE))
    installation.store.save(ended, ModelState(MODEL), events)
    return ended.id


def test_a_rollout_that_failed_before_there_was_a_release_is_told_with_its_reason(installation: Installation) -> None:
    wanted = aborted_before_there_was_a_release(installation)
    serinus, account = Serinus(installation.home.path), Account()
    assert serinus.json("releases", MODEL) == []
    assert serinus.newest_rollout(MODEL) == wanted
    assert outcome(serinus, account, 1, 0, "promoted") == "Python 3.77 is not on this machine"
    [wrong] = account.wrong
    assert "expected promoted" in wrong


def test_where_no_rollout_was_begun_that_is_said(installation: Installation) -> None:
    with pytest.raises(SystemExit, match="no rollout of card-fraud was begun"):
        Serinus(installation.home.path).newest_rollout(MODEL)
