"""The scale of a release is separated from its settings: workers, warm hours, memory, processors and the cache size.

A model's scale is taken from the settings of its champion, or of the release that was retired. A rollout's is taken
from those of its plan.
"""

from __future__ import annotations

from typing import Any

from alembic import op

from serinus.backends.sql.rewriting import rewrite

revision = "0005"
down_revision = "0004"

_KEYS = {"rollouts": "number", "pending": "number", "models": "model", "releases": "number"}
_SCALE = ("max_workers", "keep_warm", "warm_hours", "memory_limit_bytes", "cpu_limit")


def upgrade() -> None:
    rewrite(op.get_bind(), _KEYS, _apart)


def _apart(document: dict[str, Any], table: str) -> dict[str, Any]:
    """Separates the scale. Each table has releases at other places of its documents."""
    if table == "releases":
        return _behaving(document)
    changed = dict(document)
    if changed.get("plan") is not None:
        changed["plan"] = {**_behaving(changed["plan"]), "scale": _scale_of(changed["plan"])}
    retired = changed.get("retired")
    if table == "models" and (live := changed.get("champion") or (retired or {}).get("release")) is not None:
        changed["scale"] = _scale_of(live)
    for name in ("candidate", "champion", "previous"):
        if changed.get(name) is not None:
            changed[name] = _behaving(changed[name])
    if retired is not None:
        changed["retired"] = {**retired, "release": _behaving(retired["release"])}
    return changed


def _scale_of(holder: dict[str, Any]) -> dict[str, Any]:
    """Returns the scale in the former settings of a release or a plan."""
    settings = holder["settings"]
    scale = {name: settings[name] for name in _SCALE if name in settings}
    cache = settings.get("cache")
    return {**scale, "cache_bytes": cache["max_bytes"]} if cache else scale


def _behaving(holder: dict[str, Any]) -> dict[str, Any]:
    settings = {name: value for name, value in holder["settings"].items() if name not in _SCALE}
    if settings.get("cache"):
        settings["cache"] = {name: value for name, value in settings["cache"].items() if name != "max_bytes"}
    return {**holder, "settings": settings}
