"""The engine, which reconciles the world with what is stored.

Each tick loads, observes, decides, acts, stores once and then emits events. It is level-triggered: every tick starts
from what is stored and observed, so the next tick repairs the effects of a crash at any line.
"""

from serinus.engine.commands.desk import Desk
from serinus.engine.commands.disk import Disk
from serinus.engine.commands.rollouts import Deployed
from serinus.engine.happenings import ENGINE
from serinus.engine.news import News
from serinus.engine.queries.outcomes import OutcomeReader
from serinus.engine.queries.report import Report
from serinus.engine.queries.told import Told, last_told, tell
from serinus.engine.reconcile.rechecking import Rechecker
from serinus.engine.reconcile.reconciler import Engine
from serinus.engine.reconcile.taking_over import is_taken_over
from serinus.engine.subscribers import Delivery, RegistryTags
from serinus.engine.world import World

__all__ = [
    "ENGINE",
    "Delivery",
    "Deployed",
    "Desk",
    "Disk",
    "Engine",
    "News",
    "OutcomeReader",
    "Rechecker",
    "RegistryTags",
    "Report",
    "Told",
    "World",
    "is_taken_over",
    "last_told",
    "tell",
]
