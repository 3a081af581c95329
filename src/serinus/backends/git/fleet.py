"""The port Fleet on Git.

The repository is bare: there is no work tree that could be left half-written, and no index with a lock. People clone it
and may push to it. One commit is one run of `git fast-import`, which writes the objects and then moves `main` in one
step, and refuses that where somebody else has moved it meanwhile.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from serinus.backends.git.command import Git, GitFailed, explain
from serinus.core.errors import Refused, Unavailable
from serinus.core.names import checked
from serinus.core.text import fit, harmless
from serinus.lib import directories, locks

BRANCH = "refs/heads/main"

LONGEST = 4 << 20
"""The largest file that is read, in bytes."""
STALE_SECONDS = 2.0
"""The age from which on a lock file of Git is a leftover of a killed process, while this process holds the repository's
own lock. Git holds its locks for milliseconds."""

_COMMITTER = "Serinus <serinus@serinus.local>"
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Change:
    """A commit that changed a model."""

    commit: str
    at: datetime
    who: str
    summary: str
    why: str


class GitFleet:
    """`models/<model>.yaml` is the ModelDeployment of a model, `live/<model>.yaml` what Serinus has made live.

    Creates the repository at `path` where it does not exist. Safe for several threads and processes. Raises Refused
    where `path` is something else, and InvalidInput for a model name that cannot be a file name.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._git = Git(path)
        self._listed: tuple[str, Mapping[str, str]] = ("", {})
        """A commit, and the blobs in it by their paths, with which something that is published again is compared
        without starting Git."""
        self._create()

    def read(self, model: str) -> str | None:
        return self._show(_spec_path(model))

    def write(self, model: str, text: str, *, who: str, why: str) -> str:
        return self._commit(_spec_path(model), text, f"Set the ModelDeployment of {model}", who, why)

    def publish(self, model: str, live: Mapping[str, Any], *, who: str, why: str) -> str:
        text = yaml.safe_dump(dict(live), sort_keys=False, allow_unicode=True)
        version = f" {live['version']}" if "version" in live else ""
        summary = f"Retire {model}" if "retired" in live else f"Make {model}{version} live"
        return self._commit(_live_path(model), text, summary, who, why)

    def live(self, model: str) -> Mapping[str, Any] | None:
        text = self._show(_live_path(model))
        if text is None:
            return None
        try:
            found = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise Refused(
                f"{_live_path(model)} in {self._path} is not YAML.", hint="Revert its last commit."
            ) from error
        return found if isinstance(found, dict) else None

    def changes(self, since: str | None) -> tuple[str, Collection[str] | None]:
        head = self._tip()
        if since == head:
            return head, ()
        if not since or not head:
            return head, None
        try:
            out = self._git.run("diff-tree", "-r", "-z", "--name-only", since, head, "--", "live")
        except GitFailed:  # `since` no longer exists, because the history was rewritten.
            return head, None
        paths = out.decode(errors="replace").split("\0")
        return head, {path.removeprefix("live/").removesuffix(".yaml") for path in paths if path}

    def history(self, model: str, limit: int = 50) -> Sequence[Change]:
        """Returns the changes of the model's two files, newest first."""
        if self._head() is None:
            return []
        form = "--format=%H%x00%aI%x00%an%x00%s%x00%b"
        paths = (_spec_path(model), _live_path(model))
        out = self._ask("log", "-z", form, f"--max-count={limit}", BRANCH, "--", *paths)
        fields = out.decode(errors="replace").split("\0")
        rows = [fields[start : start + 5] for start in range(0, len(fields) - 4, 5)]
        return [
            Change(commit, datetime.fromisoformat(at), who, summary, why.strip())
            for commit, at, who, summary, why in rows
        ]

    # --- how ----------------------------------------------------------------------------------------------

    def _create(self) -> None:
        if (self._path / "HEAD").is_file():
            return
        if self._path.exists() and any(self._path.iterdir()):
            raise Refused(
                f"{self._path} exists, but is not a bare Git repository.",
                hint="Move it elsewhere: Serinus creates its own fleet repository there.",
            )
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with directories.appearing(self._path) as made:
            try:
                Git.create(made)
            except GitFailed as failure:
                raise explain(failure, self._path) from failure
        if not (self._path / "HEAD").is_file():
            raise Unavailable(f"The fleet repository could not be made at {self._path}.")

    def _show(self, path: str) -> str | None:
        listed = [] if self._head() is None else self._ask("ls-tree", "--long", BRANCH, "--", path).split(maxsplit=4)
        if not listed:
            return None
        size = listed[3]  # The fields are mode, type, name, size and path.
        if not size.isdigit() or int(size) > LONGEST:
            raise Refused(
                f"{path} in {self._path} is not a file of at most {LONGEST >> 20} MiB.", hint="Revert its last commit."
            )
        return self._ask("cat-file", "blob", f"{BRANCH}:{path}").decode(errors="replace")

    def _tip(self) -> str:
        """Returns the same as `_head`, without a process where git stores the branch in a file of its own, as it
        usually does."""
        try:
            return (self._path / BRANCH).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            return self._head() or ""

    def _head(self) -> str | None:
        return self._ask("for-each-ref", "--format=%(objectname)", BRANCH).decode().strip() or None

    def _ask(self, *arguments: str) -> bytes:
        try:
            return self._git.run(*arguments)
        except GitFailed as failure:
            raise explain(failure, self._path) from failure

    def _commit(self, path: str, text: str, summary: str, who: str, why: str) -> str:
        with self._locked():
            for attempt in range(1, _ATTEMPTS + 1):
                head = self._tip() or None
                blobs = self._blobs(head) if head is not None else {}
                if head is not None and path in blobs and blobs[path] == _blob_id(text, like=head):
                    return head
                stream = _fast_import(path, text, _message(summary, why), who, head)
                try:
                    self._git.run("fast-import", "--quiet", "--date-format=now", given=stream)
                except GitFailed as failure:
                    # There was a push in between, or a killed process has left its lock. Another attempt may help.
                    self._remove_stale_locks()
                    if attempt == _ATTEMPTS:
                        raise explain(failure, self._path) from failure
                else:
                    return self._committed(head, {**blobs, path: _blob_id(text, like=head or "")})
        raise AssertionError("every attempt returns or raises")

    def _blobs(self, head: str) -> Mapping[str, str]:
        """Returns the ids of the files of commit `head`, by path."""
        listed, blobs = self._listed
        if listed != head:
            out = self._ask("ls-tree", "-r", "-z", head).decode(errors="replace")
            rows = [row.split("\t", 1) for row in out.split("\0") if row]
            blobs = {path: said.split()[2] for said, path in rows if said.split()[1] == "blob"}
            self._listed = head, blobs
        return blobs

    def _committed(self, before: str | None, blobs: Mapping[str, str]) -> str:
        """Returns the commit that was just made on top of `before`."""
        head = self._tip()
        ours = before is not None and self._ask("rev-parse", f"{head}^").decode().strip() == before
        if ours:  # There was no push in between.
            self._listed = head, blobs
        return head

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Locks the repository among all users of this class. The kernel releases the lock when a process dies."""
        with locks.held(self._path / "serinus.lock"):
            yield

    def _remove_stale_locks(self) -> None:
        for lock in (self._path / f"{BRANCH}.lock", self._path / "packed-refs.lock", self._path / "HEAD.lock"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - lock.stat().st_mtime > STALE_SECONDS:
                    lock.unlink()
        for left in self._path.glob("objects/pack/tmp_*"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - left.stat().st_mtime > 3600:
                    left.unlink()


def _fast_import(path: str, text: str, message: str, who: str, head: str | None) -> bytes:
    """Returns a commit on top of `head` that writes `text` to `path`, in the format of git-fast-import(1)."""
    body = text.encode()
    words = message.encode()
    parts = [
        f"commit {BRANCH}\nauthor {_author(who)} now\ncommitter {_COMMITTER} now\ndata {len(words)}\n".encode(),
        words,
        f"\nfrom {head}\n".encode() if head else b"\n",
        f'M 100644 inline "{path}"\ndata {len(body)}\n'.encode(),
        body,
        b"\n",
    ]
    return b"".join(parts)


def _blob_id(text: str, like: str) -> str:
    """Returns Git's id of a file with this content, in a repository with a commit named `like`."""
    body = text.encode()
    kind = hashlib.sha256 if len(like) == hashlib.sha256().digest_size * 2 else hashlib.sha1
    return kind(b"blob %d\0" % len(body) + body, usedforsecurity=False).hexdigest()


def _message(summary: str, why: str) -> str:
    why = fit(why).strip()
    return f"{summary}\n\n{why}\n" if why else f"{summary}\n"


def _author(who: str) -> str:
    name = re.sub(r"[<>\n\t]", "", harmless(who)).strip() or "unknown"
    mailbox = re.sub(r"[^A-Za-z0-9._+-]+", "-", name).strip("-.") or "unknown"
    return f"{name} <{mailbox}@serinus.local>"


def _spec_path(model: str) -> str:
    return f"models/{checked(model)}.yaml"


def _live_path(model: str) -> str:
    return f"live/{checked(model)}.yaml"
