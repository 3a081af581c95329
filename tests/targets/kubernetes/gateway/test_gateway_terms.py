"""A control plane that was asleep while another one took over publishes nothing."""

from __future__ import annotations

import pytest
from gateway_harness import PromptBoard, key_of
from leaders import Leader

from serinus.core.errors import Superseded, Unavailable
from serinus.core.routing import WHOLE, Arm, Role, Routing
from serinus.targets.kubernetes.gateway.cluster_board import TERM, publication_of, secret_of
from serinus.targets.kubernetes.gateway.publication import Publication, Unreadable, parse
from serinus.targets.kubernetes.gateway.router import ClusterRouter


@pytest.fixture
def board() -> PromptBoard:
    return PromptBoard()


def router(board: PromptBoard, leader: Leader | None) -> ClusterRouter:
    return ClusterRouter(board, key_of, "probes:8085", leadership=leader)


def split(name: str) -> Routing:
    arm = Arm("fraud-7", WHOLE, Role.CHAMPION, "192.0.2.1:8080")
    return Routing("fraud", (arm,), split=name, salt="", timeout_ms=100)


def test_what_is_published_says_its_term(board: PromptBoard) -> None:
    mine = router(board, Leader(3))
    mine.begin_term()
    assert board.stored is not None
    assert board.stored.publication.term == 3
    mine.apply(split("by-3"))
    assert (board.stored.publication.term, board.splits) == (3, {"by-3"})
    mine.begin_term()
    assert board.stored.publication.term == 3


def test_who_sleeps_between_reading_and_publishing_loses(board: PromptBoard) -> None:
    first, second = Leader(1), Leader(2)
    asleep, taking_over = router(board, first), router(board, second)
    asleep.begin_term()
    asleep.apply(split("by-1"))
    board.before_publishing = taking_over.begin_term  # it decides nothing else
    with pytest.raises(Superseded, match="published in term 2"):
        asleep.apply(split("by-1-late"))
    assert board.splits == {"by-1"}
    assert first.ended
    with pytest.raises(Superseded):
        asleep.remove("fraud")
    taking_over.apply(split("by-2"))
    assert (board.splits, second.ended) == ({"by-2"}, "")


def test_who_waits_for_its_term_routes_nothing_and_lets_callers_in(board: PromptBoard) -> None:
    deciding, waiting = router(board, Leader(4)), Leader(0)
    waiting.end("another one does")
    standby = router(board, waiting)
    deciding.begin_term()
    deciding.apply(split("by-4"))
    for act in (standby.begin_term, lambda: standby.apply(split("by-nobody")), lambda: standby.retire("fraud")):
        with pytest.raises(Superseded):
            act()
    standby.admit("payments", "key")
    assert board.stored is not None
    assert (board.stored.publication.term, board.splits) == (4, {"by-4"})
    assert "payments" in parse(board.stored.publication.document).wanted.routes.callers
    standby.dismiss("payments")
    assert "payments" not in parse(board.stored.publication.document).wanted.routes.callers


def test_only_who_decides_publishes_again_what_somebody_has_deleted(board: PromptBoard) -> None:
    deciding, waiting = router(board, Leader(4)), Leader(0)
    deciding.begin_term()
    standby = router(board, waiting)
    standby.admit("payments", "key")
    deciding.apply(split("by-4"))
    waiting.end("another one does")
    board.stored = None
    with pytest.raises(Superseded):
        standby.admit("billing", "key")
    assert board.stored is None
    deciding.begin_term()
    assert board.splits == {"by-4"}


def test_where_nothing_is_published_a_reading_publishes_in_the_present_term(board: PromptBoard) -> None:
    for term in (5, 6):
        board.stored = None
        router(board, Leader(term)).all_in_force()
        assert board.stored is not None
        assert board.stored.publication.term == term


def test_the_secret_keeps_the_term() -> None:
    publication = Publication("v1", {"v1": b"document"}, number=7, term=3)
    assert publication_of(secret_of(publication, "serinus", "1")) == publication
    unsaid = secret_of(publication, "serinus", "1")
    del unsaid["metadata"]["annotations"][TERM]
    assert publication_of(unsaid).term == 0, "as of a version before terms"


def test_a_secret_that_is_none_of_ours_is_said(board: PromptBoard, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable() -> None:
        raise Unreadable("the Secret holds something else than documents")

    monkeypatch.setattr(board, "read", unreadable)
    with pytest.raises(Unavailable, match="cannot be read: the Secret holds something else"):
        router(board, Leader(1)).begin_term()
