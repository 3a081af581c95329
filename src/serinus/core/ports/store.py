"""The store: the ports of the control plane's state, taken together."""

from __future__ import annotations

from typing import Protocol

from serinus.core.ports.audit import Audit
from serinus.core.ports.events import Events
from serinus.core.ports.kept_rows import KeptRows
from serinus.core.ports.models import Models
from serinus.core.ports.rollouts import Rollouts
from serinus.core.ports.settings import Settings
from serinus.core.ports.terms import Terms
from serinus.core.ports.tokens import Tokens


class Store(Rollouts, Models, Events, Audit, Tokens, Settings, Terms, KeptRows, Protocol):
    """The state that must not be lost. One database is behind all of these ports, and every write is one transaction.
    Implementations: backends/sql."""
