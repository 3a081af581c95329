"""Who has set an alias through the door of the bundled MLflow: kept in a file, which the control process reads.

MLflow itself does not keep it, and a tag of its own could be written by whoever may set the alias.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from serinus.lib import files

MOST_BYTES = 64 * 1024
"""Of a request that sets an alias."""
_MOST_NOTES = 10_000
_SETS = re.compile(r"/(?:ajax-)?api/2\.0/mlflow/registered-models/alias/?")


@dataclass(frozen=True, slots=True)
class Proposal:
    model: str
    alias: str
    version: int


def sets_alias(method: str, path: str) -> bool:
    return method == "POST" and _SETS.fullmatch(path) is not None


def read(body: bytes) -> Proposal:
    """What the request sets, as MLflow reads it. Raises ValueError where it cannot be told."""
    try:
        told = json.loads(body)
        if isinstance(told, str):  # clients of old encode twice
            told = json.loads(told)
        # By `int`, as MLflow does it: other spellings of a version are the same version.
        return Proposal(str(told["name"]), str(told["alias"]), int(told["version"]))
    except (KeyError, TypeError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(type(error).__name__) from error


class Proposals:
    """`file`: written by the door alone."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def note(self, proposal: Proposal, by: str) -> None:
        """Before MLflow is asked, so that no alias is seen without it. `by`: empty: nobody's. Raises OSError."""
        notes = self._notes()
        key = _key(proposal.model, proposal.alias)
        notes.pop(key, None)
        notes[key] = {"version": proposal.version, "by": by}
        kept = dict(list(notes.items())[-_MOST_NOTES:])
        files.write(self._file, json.dumps(kept))

    def who(self, model: str, alias: str, version: str) -> str:
        """Empty where nobody is known to have set the alias to this version."""
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
