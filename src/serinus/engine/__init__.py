"""Reconcilers: load, observe, decide, act, persist once, then emit. Level-triggered: a crash at any line is repaired by
the next tick, because every tick starts from what is stored and from what the world says."""

from serinus.engine.commands.desk import Deployed, Desk
from serinus.engine.commands.disk import Disk
from serinus.engine.happenings import ENGINE
from serinus.engine.news import News
from serinus.engine.queries.outcomes import OutcomeFigures
from serinus.engine.queries.report import Report
from serinus.engine.reconcile.rechecking import Rechecker
from serinus.engine.reconcile.reconciler import Engine
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
    "OutcomeFigures",
    "Rechecker",
    "RegistryTags",
    "Report",
    "World",
]
