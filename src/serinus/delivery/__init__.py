"""The phases of a rollout and the named transitions between them. Pure functions.

`advance` decides what happens next, given what the engine observed and the time. `routing_of` and `read_aliases` derive
the traffic and the aliases that belong to a status. The engine applies them. A rollback is a rollout like any other: it
promotes a former champion.
"""

from serinus.delivery.aliases import CHALLENGER, CHAMPION, AliasReading, lost_text, read_aliases, without_lost
from serinus.delivery.capacity import Load, coming_weight, expected_workers, held_back, is_kept_large, missing_workers
from serinus.delivery.history import champion_before, champions, rolled_back_from, why_never_champion
from serinus.delivery.needed import needed_releases
from serinus.delivery.observed import Built, Examined, Failure, Observed, Resolved
from serinus.delivery.orders import may_approve, never_began
from serinus.delivery.transitions import TRANSITIONS, Transition, advance
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
    "Load",
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
    "coming_weight",
    "expected_workers",
    "held_back",
    "is_kept_large",
    "lost_text",
    "may_approve",
    "missing_workers",
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
