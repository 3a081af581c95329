"""What the control plane that decides says of itself. It is stored, so that those that wait can show it as well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pydantic import TypeAdapter

from serinus.core.ports import Settings

SILENT_AFTER = timedelta(seconds=30)
"""How old what was said may be before people are warned that no control plane decides."""

_KEY = "control.told"


@dataclass(frozen=True, slots=True)
class Told:
    """What is wrong, for people."""

    trouble: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The problems that the engine reports, by model."""
    warnings: tuple[str, ...] = ()
    registry_answers: bool = True
    """Whether the registry was read at the last attempt."""


@dataclass(frozen=True, slots=True)
class _Kept:
    at: datetime
    told: Told


_kept = TypeAdapter(_Kept)


def tell(settings: Settings, told: Told, now: datetime) -> None:
    """Stores what was said last."""
    settings.set_setting(_KEY, _kept.dump_json(_Kept(now, told)).decode())


def last_told(settings: Settings, now: datetime) -> Told:
    """Returns what was said last, with a warning where that is long ago."""
    text = settings.setting(_KEY)
    if text is None:
        return Told(warnings=("no control plane has decided yet: rollouts wait",))
    kept = _kept.validate_json(text)
    if now - kept.at < SILENT_AFTER:
        return kept.told
    return Told(kept.told.trouble, tuple(_silent(kept)), kept.told.registry_answers)


def _silent(kept: _Kept) -> Sequence[str]:
    since = f"no control plane has decided since {kept.at:%Y-%m-%d %H:%M:%S} UTC"
    return (f"{since}: rollouts wait, and what is live goes on", *kept.told.warnings)
