"""Disturbances: times at which the platform, not a release, decided how a model's requests were answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

LONGEST = 180.0
"""The longest time, in seconds, for which one report of a disturbance is believed. It is longer than a worker may take
to load. The reporting process renews the report while the disturbance lasts."""


class Cause(StrEnum):
    """Why the requests of a model were disturbed."""

    RESTART = "restart"
    """The router, the host or all of Serinus was stopped or started."""
    ACTIVATION = "wake"
    """A release that was scaled to zero was activated by a request. The stored value has an older name."""
    SCALING = "scaling"
    """A release got another worker."""
    REPLACEMENT = "replacement"
    """Serinus replaced a worker by one that is started or predicts in a different way."""
    STARVED = "starved"
    """Other processes of the machine used all processors."""


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
"""The causes in words, for requests that were answered in the past."""


@dataclass(frozen=True, slots=True)
class Disturbance:
    """A disturbance, with its times in Unix seconds."""

    cause: Cause
    since: float
    until: float | None = None
    """None: it has not ended."""
    model: str = ""
    """The model that is disturbed. Empty: every model."""

    @property
    def end(self) -> float:
        """Returns the time at which the disturbance ends, or from which on it is no longer believed."""
        longest = self.since + LONGEST
        return longest if self.until is None else min(self.until, longest)

    def concerns(self, model: str) -> bool:
        """Whether the model is disturbed."""
        return self.model in ("", model)
