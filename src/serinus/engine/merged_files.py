"""Reading what a person has written into a model's files in the fleet repository. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from serinus import spec as specs
from serinus.core.errors import InvalidInput, Refused


def spec_in(model: str, path: str, text: str | None) -> tuple[str, specs.ModelDeployment]:
    """Returns the text of a model's spec and what it says. Raises Refused where the file was deleted, and
    InvalidInput."""
    if text is None:
        raise Refused(
            f"{path} was deleted, and {model} stays as it is",
            hint=f"`serinus retire {model}` takes it out of service; `git revert` brings the file back.",
        )
    return text, specs.load(text, source=path, model=model)


def release_in(path: str, text: str) -> str:
    """Returns the release that shall be live. Raises InvalidInput."""
    found = live_in(path, text)
    release = found.get("release")
    if not isinstance(release, str) or "retired" in found:
        raise InvalidInput(
            f"{path} names no release that could be live.",
            hint="Revert a commit of Serinus to roll back; everything else Serinus writes again.",
        )
    return release


def live_in(path: str, text: str) -> Mapping[str, Any]:
    """Returns the fields of a file that says what is live. Empty: it has none. Raises InvalidInput where it is not
    YAML."""
    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        raise InvalidInput(f"{path}{line} is not YAML.", hint="Serinus writes it again.") from error
    return found if isinstance(found, dict) else {}
