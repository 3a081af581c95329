"""A record of who has set an alias at the bundled MLflow server. The control process reads it.

MLflow does not record that, and a tag could be written by whoever may set the alias.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from serinus.lib import files

MOST_BYTES = 64 * 1024
"""The largest request that sets an alias, in bytes."""
_MOST_NOTES = 10_000
_SETS = re.compile(r"/(?:ajax-)?api/2\.0/mlflow/registered-models/alias/?")


@dataclass(frozen=True, slots=True)
class Proposal:
    """An alias that was set."""

    model: str
    alias: str
    version: int


def sets_alias(method: str, path: str) -> bool:
    """Whether the request sets an alias."""
    return method == "POST" and _SETS.fullmatch(path) is not None


def read(body: bytes) -> Proposal:
    """Returns what the request sets, interpreted as MLflow does. Raises ValueError where that is not possible."""
    try:
        told = json.loads(body)
        if isinstance(told, str):  # Old clients encode the body twice.
            told = json.loads(told)
        # `int` is used as in MLflow, so that different spellings of a version are the same version.
        return Proposal(str(told["name"]), str(told["alias"]), int(told["version"]))
    except (KeyError, TypeError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(type(error).__name__) from error


class Proposals:
    """The record. Only the server writes to `file`."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def note(self, proposal: Proposal, by: str) -> None:
        """Records the owner `by` (empty: nobody) before MLflow gets the request, so that no alias appears without it.
        Raises OSError."""
        notes = self._notes()
        key = _key(proposal.model, proposal.alias)
        notes.pop(key, None)
        notes[key] = {"version": proposal.version, "by": by}
        kept = dict(list(notes.items())[-_MOST_NOTES:])
        files.write(self._file, json.dumps(kept))

    def who(self, model: str, alias: str, version: str) -> str:
        """Returns who has set the alias to this version. Empty: unknown."""
        noted = self._notes().get(_key(model, alias))
        if not isinstance(noted, dict) or str(noted.get("version")) != version:
            return ""
        return str(noted.get("by", ""))

    def _notes(self) -> dict[str, object]:
        try:
            found = json.loads(self._file.read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def _key(model: str, alias: str) -> str:
    return json.dumps([model, alias])
