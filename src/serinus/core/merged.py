"""Changes that people bring into the fleet repository."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from serinus.core.people import Actor


class MergedFile(StrEnum):
    """Which of a model's files was changed."""

    SPEC = "spec"
    """Its ModelDeployment."""
    LIVE = "live"
    """What Serinus has made live."""


@dataclass(frozen=True, slots=True)
class ChangedFile:
    """A file of a model as a change that is not merged yet would leave it."""

    model: str
    kind: MergedFile
    path: str
    text: str | None
    """The content. None: the file is deleted."""
    unreadable: str = ""
    """Why the content cannot be read. Empty: it can."""


@dataclass(frozen=True, slots=True)
class Merged:
    """A file of a model as a person has changed it, by the last commit that did."""

    model: str
    kind: MergedFile
    path: str
    text: str | None
    """The content. None: the file was deleted."""
    commit: str
    summary: str
    """The first line of the commit's message."""
    author: Actor
    unreadable: str = ""
    """Why the content cannot be read. Empty: it can."""
    approver: Actor | None = None
    """The person who merged the change, where that is another one, and the repository accepts that as an approval."""
