"""A person's checkout of the fleet repository, and what a change in it would bring. Nothing is written."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from serinus.backends.git.command import Git, GitFailed, explain
from serinus.backends.git.fleet import former_spec_file, live_file
from serinus.backends.git.merging import file_of
from serinus.backends.git.repository import COMMITTER, LONGEST, text_of, too_large
from serinus.core.errors import InvalidInput, Refused
from serinus.core.merged import ChangedFile, MergedFile
from serinus.core.names import spec_file
from serinus.core.text import one_line

_DEFAULTS = ("refs/remotes/origin/HEAD", "refs/remotes/origin/main", "refs/remotes/origin/master")
_LOCAL_DEFAULTS = ("refs/heads/main", "refs/heads/master")
_WHOLE_HISTORY = "Fetch the whole history: `git fetch --unshallow`, or the depth 0 in the settings of the CI."


class Checkout:
    """The repository around `directory`. A revision of None is the working tree, with files that were not added yet.

    Raises InvalidInput where there is no repository, and Unavailable where git is missing or fails.
    """

    def __init__(self, directory: Path) -> None:
        self._root = directory
        if not directory.is_dir():
            raise InvalidInput(f"{directory} is not a directory.")
        try:
            self._bare = self._tried("rev-parse", "--is-bare-repository") == "true"
            self._root = Path(self._tried("rev-parse", "--absolute-git-dir" if self._bare else "--show-toplevel"))
        except GitFailed as failure:
            last = one_line(failure.words.splitlines()[0] if failure.words else "no reason given")
            raise InvalidInput(
                f"git finds no checkout in {directory}: {last}",
                hint="Name a directory in a checkout of the fleet repository.",
            ) from failure

    def commit(self, revision: str) -> str:
        """Returns the id of a revision. Raises InvalidInput where there is none."""
        found = self._resolved(revision)
        if found is None:
            raise InvalidInput(
                f"git knows no revision '{one_line(revision)}' in {self._root}.", hint=self._hint("Fetch it first.")
            )
        return found

    def base(self, until: str | None) -> tuple[str, str]:
        """Returns the commit at which `until` has left the default branch, and the name of that branch. Raises
        InvalidInput where there is none."""
        head = until or self.commit("HEAD")
        name = next((one for one in (*_DEFAULTS, *_LOCAL_DEFAULTS) if self._resolved(one)), None)
        if name is None:
            raise InvalidInput(
                f"{self._root} has no branch main or master, and no origin/HEAD.",
                hint="Name the commit to compare with: --from REV.",
            )
        shown = name.removeprefix("refs/remotes/").removeprefix("refs/heads/")
        try:
            return self._tried("merge-base", name, head), shown
        except GitFailed as failure:
            raise InvalidInput(
                f"git finds no common history with {shown} in {self._root}.",
                hint=self._hint("Name the commit to compare with: --from REV."),
            ) from failure

    def changed(self, since: str, until: str | None) -> tuple[Sequence[ChangedFile], Sequence[str]]:
        """Returns the changed files of models, in the order in which the engine would carry them out, and the paths of
        all other files that differ. Raises InvalidInput."""
        files, others = [], []
        for path in self._differing(since, until):
            of = file_of(path)
            if of is None:
                others.append(path)
                continue
            model, kind = of
            if kind is MergedFile.SPEC and path != spec_file(model) and self._has(spec_file(model), until):
                continue  # The former file of a model. It is not read any more.
            try:
                after = self._show(path, until)
            except Refused as error:
                files.append(ChangedFile(model, kind, path, "", str(error)))
                continue
            if after != self._before(path, since):  # Not only its mode, or its time.
                files.append(ChangedFile(model, kind, path, after))
        return files, others

    def spec(self, model: str, revision: str) -> str | None:
        """Returns the model's spec at a commit. None: there is none, or it cannot be read."""
        return self._before(spec_file(model), revision) or self._before(former_spec_file(model), revision)

    def live(self, model: str, revision: str) -> str | None:
        """Returns the file that says what is live of the model. None: there is none, or it cannot be read."""
        return self._before(live_file(model), revision)

    def made_live(self, model: str, release: str, before: str) -> str | None:
        """Returns the commit by which a release became live for the first time, up to the commit `before`. None: the
        history has none."""
        by = ("-F", f"--committer={COMMITTER}")  # What a person has written there may never have been live.
        commits = self._log("log", "--format=%H", *by, f"-Srelease: {release}\n", before, "--", live_file(model))
        return commits[-1] if commits else None

    def same_before(self, file: ChangedFile, before: str) -> str | None:
        """Returns an earlier commit, in the history of `before`, in which the file was as it is after the change. None:
        there is none."""
        blob = self._text("hash-object", "--stdin", given=(file.text or "").encode())
        for commit in self._log("log", "--format=%H", f"--find-object={blob}", before, "--", file.path):
            if self._before(file.path, commit) == file.text:
                return commit
        return None

    @cached_property
    def is_shallow(self) -> bool:
        """Whether a part of the history was not fetched."""
        return self._text("rev-parse", "--is-shallow-repository") == "true"

    # --- how ----------------------------------------------------------------------------------------------

    def _differing(self, since: str, until: str | None) -> Sequence[str]:
        if until is not None:
            out = self._ask("diff-tree", "-r", "-z", "--name-only", "--no-renames", since, until)
            return self._sorted(out)
        if self._bare:
            raise InvalidInput(
                f"{self._root} is a bare repository, without a working tree.",
                hint="Name the commit with the change: --to REV.",
            )
        out = self._ask("diff-index", "-z", "--name-only", "--no-renames", since, "--")
        return self._sorted(out + self._ask("ls-files", "-z", "--others", "--exclude-standard"))

    @staticmethod
    def _sorted(out: bytes) -> Sequence[str]:
        return sorted({path for path in out.decode(errors="replace").split("\0") if path})

    def _has(self, path: str, revision: str | None) -> bool:
        return self._show(path, revision) is not None

    def _before(self, path: str, revision: str) -> str | None:
        try:
            return self._show(path, revision)
        except Refused:
            return None

    def _show(self, path: str, revision: str | None) -> str | None:
        if revision is not None:
            return text_of(self._ask, revision, path, self._root)
        file = self._root / path
        try:
            if file.is_symlink():  # For git, its content is the path to which it leads.
                return str(file.readlink())
            if not file.is_file():
                return None
            with file.open("rb") as opened:
                found = opened.read(LONGEST + 1)
        except OSError as error:
            raise Refused(f"{path} cannot be read: {os.strerror(error.errno or 0)}") from error
        if len(found) > LONGEST:
            raise too_large(path, self._root)
        return found.decode(errors="replace")

    def _resolved(self, revision: str) -> str | None:
        with contextlib.suppress(GitFailed):
            return self._tried("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        return None

    def _log(self, *arguments: str) -> Sequence[str]:
        return self._ask(*arguments).decode().split()

    def _hint(self, otherwise: str) -> str:
        return _WHOLE_HISTORY if self.is_shallow else otherwise

    def _text(self, *arguments: str, given: bytes = b"") -> str:
        return self._ask(*arguments, given=given).decode(errors="replace").strip()

    def _ask(self, *arguments: str, given: bytes = b"") -> bytes:
        try:
            return Git.in_checkout(self._root, *arguments, given=given)
        except GitFailed as failure:
            raise explain(failure, self._root) from failure

    def _tried(self, *arguments: str) -> str:
        """Returns what git prints. Raises GitFailed as well."""
        return Git.in_checkout(self._root, *arguments).decode(errors="replace").strip()
