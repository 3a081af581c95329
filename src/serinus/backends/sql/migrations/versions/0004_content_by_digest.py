"""Releases name content by digest instead of by paths on one machine.

Before, a release had the paths of its artifact and interpreter. A compiled one had those of its graph and of the
interpreter of the compiled environment, whose directory is named by its digest. An artifact had the paths of its files
and of its input example.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from alembic import op

from serinus.backends.sql.rewriting import rewrite

revision = "0004"
down_revision = "0003"

_KEYS = {"rollouts": "number", "pending": "number", "models": "model", "releases": "number"}


def upgrade() -> None:
    rewrite(op.get_bind(), _KEYS, _without_paths)


def _without_paths(document: dict[str, Any], table: str) -> dict[str, Any]:
    """Removes the paths. Each table has releases at other places of its documents."""
    if table == "releases":
        return _release(document)
    changed = dict(document)
    for name in ("candidate", "champion", "previous"):
        if changed.get(name) is not None:
            changed[name] = _release(changed[name])
    if changed.get("retired") is not None:
        changed["retired"] = {**changed["retired"], "release": _release(changed["retired"]["release"])}
    if changed.get("artifact") is not None:
        changed["artifact"] = _without(changed["artifact"], "path", "input_example")
    return changed


def _release(release: dict[str, Any]) -> dict[str, Any]:
    changed = _without(release, "artifact_path", "python")
    compiled = changed.get("compiled")
    if compiled is not None:
        environment = PurePath(compiled["python"]).parent.parent.name
        changed["compiled"] = {"digest": compiled["digest"], "environment_digest": environment}
    return changed


def _without(document: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in names}
