"""Releases whose faster way to predict was found wrong, and the counts of the recheck. Both are kept in the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from pydantic import TypeAdapter

from serinus import resources
from serinus.core.placement import Placement
from serinus.core.ports import Settings
from serinus.core.release import Release
from serinus.core.rollout import ModelState, Rollout

_DISTRUSTED, _RECHECKED = "distrusted", "rechecked"
_MOST_COUNTED = 1_000
"""The number of releases whose counts are kept: those that were checked last."""


@dataclass(frozen=True, slots=True)
class Distrust:
    """Why the releases with one shortcut are served by the model's own `predict`. It is never withdrawn."""

    model: str
    release: str
    """The release in which the fault was found."""
    way: str
    """The faster way that gave wrong answers."""
    at: datetime
    reason: str
    """In words and with figures, without values of rows."""
    graph: str | None = None
    """The digest of the compiled model that must not be used any more."""
    told: bool = False
    """Whether the audit record and the events have it."""


@dataclass(frozen=True, slots=True)
class Rechecked:
    """The counts of one release since its first check. The unit is answers to requests."""

    model: str
    at: datetime
    """The time of the last check."""
    compared: int = 0
    differing: int = 0
    """Answers that the faster way gave wrong."""
    nondeterministic: int = 0
    """Requests to which the model itself gives different answers."""
    unrepeated: int = 0
    """Answers that differed in the record, and not when they were requested again."""
    failures: int = 0
    """Comparisons for which the model's own `predict` gave no answer."""


_distrusted = TypeAdapter(Mapping[str, Distrust])
_rechecked = TypeAdapter(Mapping[str, Rechecked])


def shortcut_of(release: Release) -> str:
    """Returns the key of the release's shortcut. A fault of a shortcut affects every release that has it."""
    if release.compiled is not None:
        return f"graph {release.compiled.digest}"
    return f"model {release.artifact_digest} {release.environment_digest}"


def distrusted(settings: Settings) -> Mapping[str, Distrust]:
    """Returns all distrusted shortcuts."""
    return _distrusted.validate_json(settings.setting(_DISTRUSTED) or "{}")


def save_distrusted(settings: Settings, found: Mapping[str, Distrust]) -> None:
    """Stores all distrusted shortcuts."""
    settings.set_setting(_DISTRUSTED, _distrusted.dump_json(found).decode())


def rechecked(settings: Settings) -> Mapping[str, Rechecked]:
    """Returns the counts of the recheck, by release."""
    return _rechecked.validate_json(settings.setting(_RECHECKED) or "{}")


def save_rechecked(settings: Settings, counts: Mapping[str, Rechecked]) -> None:
    """Stores the counts of the releases that were checked last."""
    newest = sorted(counts, key=lambda release: counts[release].at)[-_MOST_COUNTED:]
    settings.set_setting(_RECHECKED, _rechecked.dump_json({name: counts[name] for name in newest}).decode())


@dataclass(frozen=True, slots=True)
class Found:
    """The results of the recheck, for people."""

    marks: Mapping[str, Distrust]
    counts: Mapping[str, Rechecked]

    def of(self, release: Release | None) -> resources.Rechecked | None:
        """Returns the counts of a release. None: nothing was compared."""
        counts = self.counts.get(release.id) if release else None
        return resources.Rechecked(**asdict(counts)) if counts else None

    def table(self) -> Sequence[resources.RecheckedRelease]:
        """Returns the counts of all releases."""
        return [resources.RecheckedRelease(release=name, **asdict(counts)) for name, counts in self.counts.items()]

    def why(self, release: Release | None) -> str:
        """Returns why the release is served by the model's own `predict`. Empty: it is not distrusted."""
        mark = self.marks.get(shortcut_of(release)) if release else None
        return mark.reason if mark else ""

    def notes(self, state: ModelState, rollout: Rollout | None, placements: Mapping[str, Placement]) -> Sequence[str]:
        """Returns a sentence for each distrusted release that has traffic."""
        live = [release for release in (state.champion, rollout and rollout.candidate) if release]
        return [_told(release, reason, placements) for release in live if (reason := self.why(release))]


def _told(release: Release, reason: str, placements: Mapping[str, Placement]) -> str:
    placed = placements.get(release.id)
    if placed is not None and placed.long and placed.way == "mlflow":
        return f"{release.id} is served by the model's own predict instead of a shorter way: {reason}"
    return f"{release.id} cannot be trusted and will be served by the model's own predict: {reason}"


def found_of(settings: Settings) -> Found:
    """Returns the stored results."""
    return Found(distrusted(settings), rechecked(settings))
