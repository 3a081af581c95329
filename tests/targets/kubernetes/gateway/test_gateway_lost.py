"""The Secret with the routing is deleted, while a control plane runs and while none does."""

from __future__ import annotations

import pytest
from gateway_harness import PromptBoard, key_of
from leaders import Leader

from serinus.backends.envoy.xds import Routes
from serinus.core.errors import Superseded, Unavailable
from serinus.core.routing import WHOLE, Arm, Role, Routing
from serinus.targets.kubernetes.gateway.publication import Wanted
from serinus.targets.kubernetes.gateway.router import ClusterRouter


def routing(model: str, split: str = "steady") -> Routing:
    arm = Arm(f"{model}-7", WHOLE, Role.CHAMPION, f"{model}-7.serinus.svc:8080")
    return Routing(model, (arm,), split=split, salt="", timeout_ms=100)


KNOWN = Wanted(
    Routes({model: routing(model) for model in ("fraud", "scoring")}, retired=frozenset({"old"}), keys_asked=True)
)


def away() -> Wanted:
    raise Unavailable("the store does not answer")


@pytest.fixture
def board() -> PromptBoard:
    return PromptBoard()


def test_all_that_is_known_is_published_at_once_where_nothing_is(board: PromptBoard) -> None:
    """Gateways that still run the routing of before never run less than that."""
    router = ClusterRouter(board, key_of, "probes:8085", known=lambda: KNOWN)
    assert router.all_in_force() == KNOWN.routes.routings
    assert board.wanted == KNOWN
    assert router.callers() == frozenset()


def test_what_was_seen_last_is_published_before_what_is_known(board: PromptBoard) -> None:
    router = ClusterRouter(board, key_of, "probes:8085", known=lambda: KNOWN)
    router.apply(routing("fraud", "canary"))
    router.admit("payments", "key")
    board.stored = None
    assert router.in_force("fraud") == routing("fraud", "canary")
    assert router.callers() == {"payments"}
    assert router.in_force("scoring") == routing("scoring")


def test_nothing_is_published_while_what_is_known_cannot_be_read(board: PromptBoard) -> None:
    router = ClusterRouter(board, key_of, "probes:8085", known=away)
    with pytest.raises(Unavailable, match="the store does not answer"):
        router.all_in_force()
    assert board.stored is None


def test_nothing_is_published_before_it_is_known_what_is_live(board: PromptBoard) -> None:
    found: list[Wanted] = []
    router = ClusterRouter(
        board, key_of, "probes:8085", leadership=Leader(3), known=lambda: found[0] if found else None
    )
    router.begin_term()
    assert router.all_in_force() == {}
    with pytest.raises(Unavailable, match="which releases are live is not known yet"):
        router.admit("payments", "key")
    assert board.stored is None
    found.append(KNOWN)
    assert router.all_in_force() == KNOWN.routes.routings


def test_only_who_decides_publishes_what_is_known(board: PromptBoard) -> None:
    waiting = Leader(0)
    waiting.end("another one does")
    standby = ClusterRouter(board, key_of, "probes:8085", leadership=waiting, known=lambda: KNOWN)
    with pytest.raises(Superseded):
        standby.all_in_force()
    assert board.stored is None
    ClusterRouter(board, key_of, "probes:8085", leadership=Leader(3), known=lambda: KNOWN).begin_term()
    assert board.wanted == KNOWN
    assert board.stored is not None
    assert board.stored.publication.term == 3
