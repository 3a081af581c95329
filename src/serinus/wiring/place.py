"""Where releases run: the implementations of ports that differ between targets, and what goes with them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from serinus.backends.onnx import Ask
from serinus.core.ports import Fleet, Recording, Rescorer, Router, Scorer, Target, Trials

if TYPE_CHECKING:
    from serinus.targets.kubernetes.leading import LeaseLeadership


class AdmittingRouter(Router, Protocol):
    """A router that also checks the API keys of callers, see `api.ports.Callers`."""

    def admit(self, name: str, key: str, models: Sequence[str] | None = None) -> None:
        """Lets a caller in."""
        ...

    def dismiss(self, name: str) -> None:
        """Removes the caller's key."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """One target with everything that belongs to it."""

    target: Target
    router: AdmittingRouter
    scorer: Scorer
    fleet: Fleet
    asks_keys: bool
    """Whether callers may need API keys."""
    fields: Mapping[str, str]
    """Notes about fields of a spec that follow from the settings of this target."""
    trials: Trials | None = None
    """Examines models. None: processes of this machine do."""
    rescorer: Rescorer | None = None
    """Predicts again what the recheck compares. None: processes of this machine do."""
    ask: Ask | None = None
    """Writes graphs and proves them. None: processes of this machine do."""
    loops: Mapping[str, Callable[[threading.Event], None]] = field(default_factory=dict)
    """What runs beside the engine until the event is set, by the names of their threads."""
    warnings: Callable[[], Sequence[str]] = tuple
    """Returns in words what is wrong, at once."""
    close: Callable[[], None] = lambda: None
    leadership: LeaseLeadership | None = None
    """By which one of several control planes decides. None: this one is alone."""
    name: str = ""
    """The name of this one among several control planes."""
    announce: Callable[[], None] = lambda: None
    """Makes the beginning of its term known. Raises SerinusError to be called again."""
    recording: Recording | None = None
    """By which champions are known where the store is lost."""
