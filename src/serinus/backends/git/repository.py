"""A bare repository and the commits that Serinus makes in it, also where its branch is on a Git server.

One commit is one run of `git fast-import`, which writes the objects and then moves the branch in one step, and refuses
that where somebody else has moved it meanwhile.

With a remote, the branch of the server is the only truth: the repository here is a copy of it. A commit is made on top
of what the server has, is pushed, and only then counts here. Where somebody has pushed meanwhile it is made again on
top of that. Nothing is ever forced.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from serinus.backends.git.command import Git, GitFailed, explain
from serinus.backends.git.remote import SECONDS, TRACKED, Away, Overtaken, Remote, has_no_branch, in_words, is_behind
from serinus.core.errors import Refused, SerinusError, Unavailable
from serinus.core.text import fit, harmless
from serinus.lib import directories, locks

BRANCH = "refs/heads/main"
COMMITTER = "Serinus <serinus@serinus.local>"

LONGEST = 4 << 20
"""The largest file that is read, in bytes."""
_LONGEST_KEPT, _MOST_KEPT = 64 << 10, 1000
"""The largest file, in bytes, and the number of files that are kept in memory."""
_MOST_MADE = 10_000
"""The number of own commits that are remembered."""
STALE_SECONDS = 2.0
"""The age from which on a lock file of Git is a leftover of a killed process, while this process holds the repository's
own lock. Git holds its locks for milliseconds."""

_NEXT = "refs/serinus/next"
"""A commit that the server does not have yet."""
_ATTEMPTS = 3
_PUSHES = 10
_FRESH = 2.0
"""The time, in seconds, for which the server's branch is taken to be as it was read. A push that comes too late is
noticed anyway."""
_QUIET = 10.0
"""The time, in seconds, for which a server that did not answer is not asked again."""

Edit = Callable[[Mapping[str, str]], Mapping[str, str | None]]
"""Answers the files to write, by path, and None for those to delete, given the ids of the blobs that are there."""


class Repository:
    """Creates the repository at `path` where it does not exist. Safe for several threads and processes. Raises Refused
    where `path` is something else."""

    def __init__(self, path: Path, remote: Remote | None = None) -> None:
        self.path = path
        self.remote = remote
        self._git = Git(path)
        self._listed: tuple[str, Mapping[str, str]] = ("", {})
        """A commit, and the blobs in it by their paths, with which something that is published again is compared
        without starting Git."""
        self._texts: dict[str, str] = {}
        """Contents of blobs by their ids, which never change."""
        self._made: dict[str, tuple[str, frozenset[str]]] = {}
        """Commits of this object by their ids, each with its parent and the paths that it has changed."""
        self._fetched = float("-inf")
        self._away: tuple[float, Away] | None = None
        self.trouble: SerinusError | None = None
        """Why the branch of the server could not be read the last time."""
        self._create()

    # --- reading ------------------------------------------------------------------------------------------

    def show(self, path: str) -> str | None:
        """Returns the text of a file, or None if nothing has this path. Raises Refused if the file is too large, or is
        a directory or a submodule, and Unavailable.

        No process is started if the same content was read before.
        """
        head = self.tip()
        blob = self.blobs(head).get(path)
        if blob is None:
            if head and self.ask("ls-tree", head, "--", path):
                raise no_file(path, self.path)
            return None
        text = self._texts.get(blob)
        if text is None:
            size = int(self.ask("cat-file", "-s", blob))
            if size > LONGEST:
                raise no_file(path, self.path)
            text = self.ask("cat-file", "blob", blob).decode(errors="replace")
            if size <= _LONGEST_KEPT:
                if len(self._texts) >= _MOST_KEPT:
                    self._texts.clear()
                self._texts[blob] = text
        return text

    def made_between(self, since: str, head: str) -> Collection[str] | None:
        """Returns the paths that were changed between two commits, where all commits between them are of this object.
        None: others may have committed, too. No process is started."""
        paths: set[str] = set()
        while head != since:
            made = self._made.get(head)
            if made is None:
                return None
            head, changed = made
            paths |= changed
        return paths

    def has(self, path: str) -> bool:
        """Whether there is such a file."""
        return path in self.blobs(self.tip())

    def tip(self) -> str:
        """Returns the same as `head`, without a process where git stores the branch in a file of its own, as it
        usually does. Empty: there is no commit."""
        try:
            return (self.path / BRANCH).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            return self.head() or ""

    def head(self) -> str | None:
        """Returns the newest commit. None: there is none."""
        return self._resolved(BRANCH)

    def ask(self, *arguments: str) -> bytes:
        """Returns what git prints. Raises Unavailable."""
        try:
            return self._git.run(*arguments)
        except GitFailed as failure:
            raise explain(failure, self.path) from failure

    def contains(self, commit: str, head: str) -> bool:
        """Whether `commit` is `head` or in its history. False as well: it is not in the repository."""
        try:
            self._git.run("merge-base", "--is-ancestor", commit, head)
        except GitFailed:
            return False
        return True

    def blobs(self, commit: str) -> Mapping[str, str]:
        """Returns the ids of the files of a commit, by path; of no commit, which is empty, none."""
        listed, blobs = self._listed
        if listed != commit:
            out = self.ask("ls-tree", "-r", "-z", commit).decode(errors="replace") if commit else ""
            rows = [row.split("\t", 1) for row in out.split("\0") if row]
            blobs = {path: said.split()[2] for said, path in rows if said.split()[1] == "blob"}
            self._listed = commit, blobs
        return blobs

    # --- writing ------------------------------------------------------------------------------------------

    def fetch(self) -> None:
        """Reads the branch of the server, where there is one. Raises Unavailable, and Refused where the repository here
        has commits of its own."""
        if self.remote is None:
            return
        try:
            with self._locked():
                self._fetch(self.remote)
        except SerinusError as error:
            self.trouble = error
            raise
        self.trouble = None

    def commit(self, edit: Edit, summary: str, *, who: str, why: str = "") -> str:
        """Commits what `edit` answers, if it changes something, and returns the newest commit.

        Raises Unavailable: nothing was committed. It is `Overtaken` where somebody else has changed one of these files
        to something else since it was last read here.
        """
        with self._locked():
            if self.remote is None:
                return self._commit_here(edit, summary, who, why)
            return self._commit_there(self.remote, edit, summary, who, why)

    def _commit_here(self, edit: Edit, summary: str, who: str, why: str) -> str:
        for attempt in range(1, _ATTEMPTS + 1):
            head = self.tip()
            changes = self._changes(edit, head)
            if not changes:
                return head
            try:
                made = self._import(BRANCH, head, changes, _message(summary, why), who)
            except GitFailed as failure:
                # There was a push in between, or a killed process has left its lock. Another attempt may help.
                self._remove_stale_locks()
                if attempt == _ATTEMPTS:
                    raise explain(failure, self.path) from failure
            else:
                return self._committed(head, made, changes)
        raise AssertionError("every attempt returns or raises")

    def _commit_there(self, remote: Remote, edit: Edit, summary: str, who: str, why: str) -> str:
        known = self.tip()
        if time.monotonic() - self._fetched > _FRESH:
            self._fetch(remote)
        for _ in range(_PUSHES):
            head = self.tip()
            changes = self._changes(edit, head)
            self._check_overtaken(known, head, changes)
            if not changes:
                return head
            try:
                made = self._import(_NEXT, head, changes, _message(summary, why), who, "--force")
            except GitFailed as failure:
                self._remove_stale_locks()
                raise explain(failure, self.path) from failure
            if self._pushed(remote, made):
                self._move(made)
                return self._committed(head, made, changes)
            self._fetch(remote)
        raise Unavailable(f"Others push to '{remote.branch}' all the time: no commit of Serinus came in between.")

    def _changes(self, edit: Edit, head: str) -> Mapping[str, str | None]:
        """Returns what `edit` wants and `head` does not have."""
        there = self.blobs(head)
        wanted = edit(there)
        return {
            path: text
            for path, text in wanted.items()
            if there.get(path) != (None if text is None else blob_id(text, like=head))
        }

    def _check_overtaken(self, known: str, head: str, changes: Mapping[str, str | None]) -> None:
        """Raises Overtaken where somebody has changed one of these files since `known`, and not as Serinus does."""
        if not known or known == head or not changes:
            return
        found = self.blobs(head)
        before = self.blobs(known)
        for path in changes:
            if before.get(path) == found.get(path):
                continue
            said = self.ask("log", "-1", "--format=%h%x00%an", head, "--", path).decode(errors="replace")
            commit, _, author = said.strip().partition("\0")
            raise Overtaken(
                f"{harmless(author)} has changed {path} meanwhile, in the commit {commit}: Serinus did not replace it.",
                hint="Look at that commit, and repeat the command. What Serinus does by itself it tries again.",
                delay=5.0,
            )

    def _import(
        self, ref: str, head: str, changes: Mapping[str, str | None], message: str, who: str, *options: str
    ) -> str:
        """Returns the id of the commit, whose parent is `head`."""
        stream = _fast_import(ref, changes, message, who, head or None)
        return self._git.run("fast-import", "--quiet", "--date-format=now", *options, given=stream).decode().strip()

    def _committed(self, before: str, made: str, changes: Mapping[str, str | None]) -> str:
        """Notes what a commit on top of `before` has changed. Returns the newest commit."""
        if len(self._made) >= _MOST_MADE:
            self._made.clear()
        self._made[made] = before, frozenset(changes)
        head = self.tip()
        if before and head == made:  # There was no push in between.
            blobs = dict(self.blobs(before))
            for path, text in changes.items():
                blobs.pop(path, None)
                if text is not None:
                    blobs[path] = blob_id(text, like=before)
            self._listed = head, blobs
        return head

    # --- the server ---------------------------------------------------------------------------------------

    def _fetch(self, remote: Remote) -> None:
        tracked = self._resolved(TRACKED)
        try:
            options = ("--quiet", "--no-tags", "--no-write-fetch-head", "--end-of-options")
            self._call(remote, "fetch", *options, remote.url, f"+{remote.ref}:{TRACKED}")
        except GitFailed as failure:
            if not has_no_branch(failure):
                raise self._said(in_words(failure, remote)) from failure
        found, here = self._resolved(TRACKED), self.tip()
        if tracked is None and here and found != here:
            self._join(remote, found, here)
        elif found is not None and found != here:
            self.ask("update-ref", BRANCH, found)
        self._fetched = time.monotonic()

    def _join(self, remote: Remote, found: str | None, here: str) -> None:
        """Brings a repository that had no remote before together with the branch of the server."""
        if found is not None and self.contains(here, found):
            self.ask("update-ref", BRANCH, found)
        elif found is None or self.contains(found, here):
            if self._pushed(remote, here):
                self._move(here)
        else:
            self.ask("update-ref", "-d", TRACKED)
            raise Refused(
                f"The fleet repository {self.path} has commits that '{remote.branch}' of {remote.url} does not have, "
                "and the other way round.",
                hint=f"Bring them together: clone {remote.url}, pull {self.path} with --allow-unrelated-histories, "
                "and push.",
            )

    def _pushed(self, remote: Remote, commit: str) -> bool:
        """Pushes the commit. False: somebody else has pushed meanwhile."""
        try:
            self._call(remote, "push", "--porcelain", "--no-verify", remote.url, f"{commit}:{remote.ref}")
        except GitFailed as failure:
            if is_behind(failure):
                return False
            raise self._said(in_words(failure, remote)) from failure
        return True

    def _call(self, remote: Remote, *arguments: str) -> None:
        if self._away is not None and time.monotonic() < self._away[0]:
            raise self._away[1].with_traceback(None)
        try:
            self._git.run(*remote.settings, *arguments, timeout=SECONDS)
        except Unavailable as error:
            raise self._said(Away(error.message, hint=error.hint, delay=error.delay)) from error
        self._away = None

    def _said(self, error: Unavailable) -> Unavailable:
        """Notes that the server is away. The next callers get the same error for a while, and do not wait for it."""
        if isinstance(error, Away):
            self._away = time.monotonic() + _QUIET, error
        return error

    def _move(self, commit: str) -> None:
        self.ask("update-ref", TRACKED, commit)
        self.ask("update-ref", BRANCH, commit)
        self._fetched = time.monotonic()

    # --- how ----------------------------------------------------------------------------------------------

    def _create(self) -> None:
        if (self.path / "HEAD").is_file():
            return
        if self.path.exists() and any(self.path.iterdir()):
            raise Refused(
                f"{self.path} exists, but is not a bare Git repository.",
                hint="Move it elsewhere: Serinus creates its own fleet repository there.",
            )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with directories.appearing(self.path) as made:
            try:
                Git.create(made)
            except GitFailed as failure:
                raise explain(failure, self.path) from failure
        if not (self.path / "HEAD").is_file():
            raise Unavailable(f"The fleet repository could not be made at {self.path}.")

    def _resolved(self, ref: str) -> str | None:
        return self.ask("for-each-ref", "--format=%(objectname)", ref).decode().strip() or None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Locks the repository among all users of this class. The kernel releases the lock when a process dies."""
        with locks.held(self.path / "serinus.lock"):
            yield

    def _remove_stale_locks(self) -> None:
        for name in (BRANCH, _NEXT, TRACKED, "packed-refs", "HEAD"):
            lock = self.path / f"{name}.lock"
            with contextlib.suppress(FileNotFoundError):
                if time.time() - lock.stat().st_mtime > STALE_SECONDS:
                    lock.unlink()
        for left in self.path.glob("objects/pack/tmp_*"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - left.stat().st_mtime > 3600:
                    left.unlink()


def no_file(path: str, where: Path) -> Refused:
    """Returns the error for what cannot be read at `path` of the repository `where`."""
    return Refused(f"{path} in {where} is not a file of at most {LONGEST >> 20} MiB.", hint="Revert its last commit.")


def _fast_import(ref: str, changes: Mapping[str, str | None], message: str, who: str, head: str | None) -> bytes:
    """Returns a commit on top of `head` that makes the changes, in the format of git-fast-import(1), which prints its
    id."""
    words = message.encode()
    parts = [
        f"commit {ref}\nmark :1\nauthor {_author(who)} now\ncommitter {COMMITTER} now\ndata {len(words)}\n".encode(),
        words,
        f"\nfrom {head}\n".encode() if head else b"\n",
    ]
    for path, text in changes.items():
        if text is None:
            parts.append(f'D "{path}"\n'.encode())
        else:
            body = text.encode()
            parts += [f'M 100644 inline "{path}"\ndata {len(body)}\n'.encode(), body, b"\n"]
    return b"".join([*parts, b"\nget-mark :1\n"])


def blob_id(text: str, like: str) -> str:
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
