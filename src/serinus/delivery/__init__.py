"""The rollout as named transitions. Pure: observations and the time come in, the next status comes out.

`advance` is the whole decision; `routing_of` and `read_aliases` say what the world must look like for a status. The
engine makes it so, and a rollback is nothing more than a status whose routing has the old champion in it.
"""

from serinus.delivery.aliases import CHALLENGER, AliasReading, read_aliases
from serinus.delivery.history import champion_before, champions, rolled_back_from, why_never_champion
from serinus.delivery.transitions import (
    TRANSITIONS,
    Built,
    Examined,
    Failure,
    Observed,
    Resolved,
    Transition,
    advance,
    may_approve,
)
from serinus.delivery.world import after_abort, after_promotion, routing_of, split_token, steady_token, step_watch

__all__ = [
    "CHALLENGER",
    "TRANSITIONS",
    "AliasReading",
    "Built",
    "Examined",
    "Failure",
    "Observed",
    "Resolved",
    "Transition",
    "advance",
    "after_abort",
    "after_promotion",
    "champion_before",
    "champions",
    "may_approve",
    "read_aliases",
    "rolled_back_from",
    "routing_of",
    "split_token",
    "steady_token",
    "step_watch",
    "why_never_champion",
]
