"""What was found of releases that answer by a shorter way: kept in the store, read by whoever acts or tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter

from serinus.core.placement import Placement
from serinus.core.ports import Settings
from serinus.core.release import Release
from serinus.core.rollout import ModelState, Rollout

_DISTRUSTED, _RECHECKED = "distrusted", "rechecked"
_MOST_COUNTED = 1_000
"""Releases whose counts are kept: those that were looked at last."""


@dataclass(frozen=True, slots=True)
class Distrust:
    """Why releases with one shortcut are served the long way. It holds for good."""

    model: str
    release: str
    """Where it was found."""
    way: str
    """The shorter one that it went."""
    at: datetime
    reason: str
    """In words, with numbers; never a value of a row."""
    graph: str | None = None
    """Digest of the compiled model that is not to be used any more."""
    told: bool = False
    """The audit and the events have it."""


@dataclass(frozen=True, slots=True)
class Rechecked:
    """Of one release since it was first looked at, in answers, which are requests."""

    model: str
    at: datetime
    """Of the last look."""
    compared: int = 0
    differing: int = 0
    """By the fault of the shorter way."""
    nondeterministic: int = 0
    """The model itself answered the same request in different ways."""
    unrepeated: int = 0
    """The answer differed in the record and not when it was asked for again."""
    failures: int = 0
    """Comparisons for which the model's own predict gave no answer."""


_distrusted = TypeAdapter(Mapping[str, Distrust])
_rechecked = TypeAdapter(Mapping[str, Rechecked])


def shortcut_of(release: Release) -> str:
    """What a shorter way of the release stands on: what is wrong with it is wrong for every release that has it."""
    if release.compiled is not None:
        return f"graph {release.compiled.digest}"
    return f"model {release.artifact_digest} {release.environment_digest}"


def distrusted(settings: Settings) -> Mapping[str, Distrust]:
    """What is distrusted, by shortcut."""
    return _distrusted.validate_json(settings.setting(_DISTRUSTED) or "{}")


def save_distrusted(settings: Settings, found: Mapping[str, Distrust]) -> None:
    settings.set_setting(_DISTRUSTED, _distrusted.dump_json(found).decode())


def rechecked(settings: Settings) -> Mapping[str, Rechecked]:
    """Counts of the recheck, by release."""
    return _rechecked.validate_json(settings.setting(_RECHECKED) or "{}")


def save_rechecked(settings: Settings, counts: Mapping[str, Rechecked]) -> None:
    newest = sorted(counts, key=lambda release: counts[release].at)[-_MOST_COUNTED:]
    settings.set_setting(_RECHECKED, _rechecked.dump_json({name: counts[name] for name in newest}).decode())


@dataclass(frozen=True, slots=True)
class Found:
    """All of it, for people."""

    marks: Mapping[str, Distrust]
    counts: Mapping[str, Rechecked]

    def of(self, release: Release | None) -> Mapping[str, Any] | None:
        counts = self.counts.get(release.id) if release else None
        return _plain(counts) if counts else None

    def table(self) -> Sequence[Mapping[str, Any]]:
        return [{"release": name, **_plain(counts)} for name, counts in self.counts.items()]

    def why(self, release: Release | None) -> str:
        """Why it is served the long way; empty where it is not."""
        mark = self.marks.get(shortcut_of(release)) if release else None
        return mark.reason if mark else ""

    def notes(self, state: ModelState, rollout: Rollout | None, placements: Mapping[str, Placement]) -> Sequence[str]:
        """Of what takes traffic now."""
        live = [release for release in (state.champion, rollout and rollout.candidate) if release]
        return [_told(release, reason, placements) for release in live if (reason := self.why(release))]


def _told(release: Release, reason: str, placements: Mapping[str, Placement]) -> str:
    placed = placements.get(release.id)
    if placed is not None and placed.long and placed.way == "mlflow":
        return f"{release.id} is served by the model's own predict instead of a shorter way: {reason}"
    return f"{release.id} cannot be trusted and will be served by the model's own predict: {reason}"


def _plain(counts: Rechecked) -> Mapping[str, Any]:
    return {**asdict(counts), "at": counts.at.isoformat()}


def found_of(settings: Settings) -> Found:
    return Found(distrusted(settings), rechecked(settings))
