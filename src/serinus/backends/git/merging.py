"""What people have changed in the fleet repository, and who they are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from serinus.backends.git.repository import COMMITTER, Repository
from serinus.core.errors import Refused, Unavailable
from serinus.core.merged import Merged, MergedFile
from serinus.core.names import is_model_name, spec_file
from serinus.core.people import Access, Actor
from serinus.core.text import one_line

FOLDERS = ("models", "live")
"""The folders with files of models."""
_FILE = re.compile(r"models/(?P<spec>[^/]+)/model\.yaml|models/(?P<former>[^/]+)\.yaml|live/(?P<live>[^/]+)\.yaml")
_LONGEST = 200
"""The largest number of characters of a name or a summary that are kept."""
_FORM = "%H%x00%P%x00%an%x00%ae%x00%cn%x00%ce%x00%s"


@dataclass(frozen=True, slots=True)
class _Commit:
    id: str
    parents: Sequence[str]
    author: tuple[str, str]
    """Name and address."""
    committer: tuple[str, str]
    summary: str


def merged_between(repository: Repository, since: str, head: str, *, reviewed: bool) -> Sequence[Merged]:
    """Returns the files of models in `head` whose last change after `since` is not by Serinus.

    `reviewed`: who merges another person's change has approved it.
    """
    try:
        found = _last_changes(repository, since, head)
    except Unavailable:  # `since` no longer exists, because the history was rewritten.
        return ()
    return [
        _merged(repository, path, commit, reviewed)
        for path, commit in sorted(found.items())
        if file_of(path) is not None and not _is_ours(commit) and not _is_moved(repository, path)
    ]


def _last_changes(repository: Repository, since: str, head: str) -> dict[str, _Commit]:
    """Returns the last commit of each file, along the branch itself: a merged branch counts as its merge."""
    out = repository.ask(
        "log", "-z", "--first-parent", f"--format={_FORM}", f"{since}..{head}" if since else head, "--", *FOLDERS
    )
    fields = out.decode(errors="replace").split("\0")
    commits = [_commit(fields[start : start + 7]) for start in range(0, len(fields) - 6, 7)]
    found: dict[str, _Commit] = {}
    for commit in commits:
        before = commit.parents[0] if commit.parents else "--root"
        # Of the first commit, git prints the id as well.
        arguments = ("diff-tree", "-r", "-z", "--name-only", "--no-commit-id", before, commit.id, "--", *FOLDERS)
        for path in repository.ask(*arguments).decode(errors="replace").split("\0"):
            if path:
                found.setdefault(path, commit)
    return found


def _commit(fields: Sequence[str]) -> _Commit:
    commit, parents, author, address, committer, mailbox, summary = fields
    return _Commit(commit, parents.split(), (author, address), (committer, mailbox), summary)


def file_of(path: str) -> tuple[str, MergedFile] | None:
    """The model of a file, and which file it is. None: it is of no model."""
    found = _FILE.fullmatch(path)
    model = next(filter(None, found.groups()), "") if found is not None else ""
    if not is_model_name(model):
        return None
    return model, MergedFile.LIVE if path.startswith("live/") else MergedFile.SPEC


def _is_moved(repository: Repository, path: str) -> bool:
    """Whether it is the former file of a model that has a file at the present path."""
    of = file_of(path)
    assert of is not None
    model, kind = of
    return kind is MergedFile.SPEC and path != spec_file(model) and repository.has(spec_file(model))


def _is_ours(commit: _Commit) -> bool:
    return "{} <{}>".format(*commit.committer) == COMMITTER


def _merged(repository: Repository, path: str, commit: _Commit, reviewed: bool) -> Merged:
    of = file_of(path)
    assert of is not None
    model, kind = of
    author, approver = _people(repository, commit)
    try:
        text, unreadable = repository.show(path), ""
    except Refused as error:
        text, unreadable = "", str(error)
    return Merged(
        model,
        kind,
        path,
        text,
        commit.id,
        one_line(commit.summary)[:_LONGEST],
        author,
        unreadable,
        approver if reviewed and not approver.may_be(author) else None,
    )


def _people(repository: Repository, commit: _Commit) -> tuple[Actor, Actor]:
    """Returns who wrote the change, and who brought it into the branch.

    A merge has been made by who merged; its change was written by the author of the last commit of the merged branch.
    Any other commit was written by its author and brought in by its committer.
    """
    if len(commit.parents) < 2:
        return _actor(commit.author, Access.DEPLOY), _actor(commit.committer, Access.APPROVE)
    out = repository.ask("log", "-1", "--format=%an%x00%ae", commit.parents[1]).decode(errors="replace")
    name, _, address = out.rstrip("\n").partition("\0")
    return _actor((name, address), Access.DEPLOY), _actor(commit.author, Access.APPROVE)


def _actor(person: tuple[str, str], access: Access) -> Actor:
    name, address = person
    return Actor(one_line(name)[:_LONGEST] or "unknown", access, origin="git", owner=one_line(address)[:_LONGEST])
