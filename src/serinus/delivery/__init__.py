"""The rollout as named transitions. Pure: observations and the time come in, the next status comes out.

`advance` is the whole decision; `routing_of` and `read_aliases` say what the world must look like for a status. The
engine makes it so, and a rollback is nothing more than a status whose routing has the old champion in it.
"""

from serinus.delivery.aliases import CHALLENGER, CHAMPION, AliasReading, lost_text, read_aliases, without_lost
from serinus.delivery.history import champion_before, champions, rolled_back_from, why_never_champion
from serinus.delivery.needed import needed_releases
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
    never_began,
)
from serinus.delivery.world import (
    after_abort,
    after_promotion,
    after_retirement,
    after_scaled,
    after_scaling,
    routing_of,
    split_token,
    steady_token,
    step_watch,
)

__all__ = [
    "CHALLENGER",
    "CHAMPION",
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
    "after_retirement",
    "after_scaled",
    "after_scaling",
    "champion_before",
    "champions",
    "lost_text",
    "may_approve",
    "needed_releases",
    "never_began",
    "read_aliases",
    "rolled_back_from",
    "routing_of",
    "split_token",
    "steady_token",
    "step_watch",
    "why_never_champion",
    "without_lost",
]
