"""Times at which the platform itself, not a release, decided how a model's requests were answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

LONGEST = 180.0
"""Seconds that one disturbance is believed for: longer than a worker may take to load. What goes on for longer is told
again by who knows it, or its writer is gone."""


class Cause(StrEnum):
    RESTART = "restart"
    """The router, the host or all of Serinus was stopped or started."""
    ACTIVATION = "wake"
    """A release that was scaled to zero was started because somebody asked for it. Stored under its old name."""
    SCALING = "scaling"
    """A release got one more worker."""
    REPLACEMENT = "replacement"
    """Serinus replaced a worker by one that is started, or that predicts, in another way."""
    STARVED = "starved"
    """Other processes of the machine had its processors."""


WORDS: Mapping[Cause, str] = {
    Cause.RESTART: "Serinus is restarting",
    Cause.ACTIVATION: "a release of this model is being activated",
    Cause.SCALING: "a release of this model is getting another worker",
    Cause.REPLACEMENT: "Serinus is replacing a worker of this model",
    Cause.STARVED: "other processes use all processors of this machine",
}


WORDS_AFTER: Mapping[Cause, str] = {
    Cause.RESTART: "while Serinus restarted",
    Cause.ACTIVATION: "while a release was activated",
    Cause.SCALING: "while a release got another worker",
    Cause.REPLACEMENT: "while Serinus replaced a worker",
    Cause.STARVED: "while other processes used all processors",
}
"""The same of requests that were answered then."""


@dataclass(frozen=True, slots=True)
class Disturbance:
    """Unix seconds."""

    cause: Cause
    since: float
    until: float | None = None
    """None: it goes on."""
    model: str = ""
    """Empty: of every model."""

    @property
    def end(self) -> float:
        longest = self.since + LONGEST
        return longest if self.until is None else min(self.until, longest)

    def concerns(self, model: str) -> bool:
        return self.model in ("", model)
