"""The ports of Serinus to the outside, one Protocol in each file. `tests/contracts/` has a contract suite for each
port, which runs on every implementation.

Every method may be repeated safely. Every method may raise Unavailable where the other side does not answer. Its
docstring names the other errors.
"""

from serinus.core.ports.audit import Audit
from serinus.core.ports.clock import Clock
from serinus.core.ports.compiler import Compilation, Compiler
from serinus.core.ports.environments import Environments
from serinus.core.ports.events import Events
from serinus.core.ports.fleet import Fleet
from serinus.core.ports.kept_rows import KeptRows
from serinus.core.ports.leadership import Leadership
from serinus.core.ports.models import Models
from serinus.core.ports.packages import LockedEnvironment, LockedPackage, Packages
from serinus.core.ports.predictions import ArrowTable, PredictionLog, PredictionQueries, PredictionRows
from serinus.core.ports.recording import Recording
from serinus.core.ports.registry import Registry
from serinus.core.ports.rollouts import Rollouts
from serinus.core.ports.router import Router
from serinus.core.ports.scorer import Scorer
from serinus.core.ports.settings import Settings
from serinus.core.ports.store import Store
from serinus.core.ports.target import Target
from serinus.core.ports.terms import Terms
from serinus.core.ports.tokens import Tokens
from serinus.core.ports.trials import Rescorer, RowFiles, Trials
from serinus.core.ports.writers import Writer, Writers

__all__ = [
    "ArrowTable",
    "Audit",
    "Clock",
    "Compilation",
    "Compiler",
    "Environments",
    "Events",
    "Fleet",
    "KeptRows",
    "Leadership",
    "LockedEnvironment",
    "LockedPackage",
    "Models",
    "Packages",
    "PredictionLog",
    "PredictionQueries",
    "PredictionRows",
    "Recording",
    "Registry",
    "Rescorer",
    "Rollouts",
    "Router",
    "RowFiles",
    "Scorer",
    "Settings",
    "Store",
    "Target",
    "Terms",
    "Tokens",
    "Trials",
    "Writer",
    "Writers",
]
