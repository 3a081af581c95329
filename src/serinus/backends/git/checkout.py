"""A person's checkout of the fleet repository, and what a change in it would bring. Nothing is written."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from serinus.backends.git.command import Git, GitFailed, explain
from serinus.backends.git.fleet import former_spec_file, live_file
from serinus.backends.git.merging import FOLDERS, file_of
from serinus.backends.git.repository import COMMITTER, LONGEST, blob_id, no_file
from serinus.core.errors import InvalidInput, Refused
from serinus.core.merged import ChangedFile, MergedFile
from serinus.core.names import spec_file
from serinus.core.text import one_line

_DEFAULTS = ("refs/remotes/origin/HEAD", "refs/remotes/origin/main", "refs/remotes/origin/master")
_LOCAL_DEFAULTS = ("refs/heads/main", "refs/heads/master")
_COMPARED = (*FOLDERS, "rendered")
_WHOLE_HISTORY = "Fetch the whole history: `git fetch --unshallow`, or the depth 0 in the settings of the CI."


class Checkout:
    """The repository around `directory`. A revision of None is the working tree, with files that were not added yet.

    Raises InvalidInput where there is no repository, and Unavailable where git is missing or fails.
    """

    def __init__(self, directory: Path) -> None:
        self._root = directory
        self._trees: dict[str, Mapping[str, tuple[str, int | None]]] = {}
        self._texts: dict[str, str] = {}
        if not directory.is_dir():
            raise InvalidInput(f"{directory} is not a directory.")
        try:
            self._bare = self._tried("rev-parse", "--is-bare-repository") == "true"
            self._root = Path(self._tried("rev-parse", "--absolute-git-dir" if self._bare else "--show-toplevel"))
        except GitFailed as failure:
            words = one_line(failure.words.splitlines()[0] if failure.words else "no reason given")
            hint = "Name a directory in a checkout of the fleet repository."
            if "dubious ownership" in failure.words:
                hint = f"If you trust its owner: `git config --global --add safe.directory {directory.resolve()}`."
            raise InvalidInput(f"git finds no checkout in {directory}: {words}", hint=hint) from failure

    def commit(self, revision: str) -> str:
        """Returns the id of a revision. Raises InvalidInput where there is none."""
        found = self._resolved(revision)
        if found is None:
            raise InvalidInput(
                f"git knows no revision '{one_line(revision)}' in {self._root}.", hint=self._hint("Fetch it first.")
            )
        return found

    def base(self, until: str | None) -> str:
        """Returns the commit at which `until`, or else the commit that is checked out, has left the default branch.
        Raises InvalidInput where there is none."""
        head = until or self.commit("HEAD")
        name = next((one for one in (*_DEFAULTS, *_LOCAL_DEFAULTS) if self._resolved(one)), None)
        if name is None:
            raise InvalidInput(
                f"{self._root} has no branch main or master, and no origin/HEAD.",
                hint="Name the commit to compare with: --from REV.",
            )
        try:
            return self._tried("merge-base", name, head)
        except GitFailed as failure:
            shown = name.removeprefix("refs/remotes/").removeprefix("refs/heads/")
            raise InvalidInput(
                f"git finds no common history with {shown} in {self._root}.",
                hint=self._hint("Name the commit to compare with: --from REV."),
            ) from failure

    def changed(self, since: str, until: str | None) -> tuple[Sequence[ChangedFile], Sequence[str]]:
        """Returns the changed files of models, in the order in which the engine would carry them out, and the paths of
        all other files that differ below `models/`, `live/` and `rendered/`. Raises InvalidInput."""
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
        found = self._before(spec_file(model), revision)
        return found if found is not None else self._before(former_spec_file(model), revision)

    def live(self, model: str, revision: str) -> str | None:
        """Returns the file that says what is live of the model. None: there is none, or it cannot be read."""
        return self._before(live_file(model), revision)

    def made_live(self, model: str, release: str, before: str) -> str | None:
        """Returns the commit by which a release became live for the first time, up to the commit `before`. None: the
        history has none."""
        by = ("-F", f"--committer={COMMITTER}")  # What a person has written there may never have been live.
        commits = self._log(*by, f"-Srelease: {release}\n", before, "--", live_file(model))
        return commits[-1] if commits else None

    def same_before(self, file: ChangedFile, before: str) -> str | None:
        """Returns an earlier commit, in the history of `before`, in which the file was as it is after the change. None:
        there is none."""
        blob = blob_id(file.text or "", like=before)
        for commit in self._log(f"--find-object={blob}", before, "--", file.path):
            if file.path in (there := self._tree(commit)) and there[file.path][0] == blob:
                return commit
        return None

    @cached_property
    def is_shallow(self) -> bool:
        """Whether a part of the history was not fetched."""
        return self._text("rev-parse", "--is-shallow-repository") == "true"

    # --- how ----------------------------------------------------------------------------------------------

    def _differing(self, since: str, until: str | None) -> Sequence[str]:
        if until is not None:
            out = self._ask("diff-tree", "-r", "-z", "--name-only", "--no-renames", since, until, "--", *_COMPARED)
            return self._sorted(out)
        if self._bare:
            raise InvalidInput(
                f"{self._root} is a bare repository, without a working tree.",
                hint="Name the commit with the change: --to REV.",
            )
        out = self._ask("diff-index", "-z", "--name-only", "--no-renames", since, "--", *_COMPARED)
        return self._sorted(out + self._ask("ls-files", "-z", "--others", "--exclude-standard", "--", *_COMPARED))

    @staticmethod
    def _sorted(out: bytes) -> Sequence[str]:
        return sorted({path for path in out.decode(errors="replace").split("\0") if path})

    def _has(self, path: str, revision: str | None) -> bool:
        try:
            return self._show(path, revision) is not None
        except Refused:
            return True

    def _before(self, path: str, revision: str) -> str | None:
        try:
            return self._show(path, revision)
        except Refused:
            return None

    def _show(self, path: str, revision: str | None) -> str | None:
        """Returns the text of a file. None: there is none. Raises Refused where it is too large or not a file."""
        if revision is None:
            return self._on_disk(path)
        there = self._tree(revision)
        if path not in there:
            if any(other.startswith(f"{path}/") for other in there):
                raise no_file(path, self._root)
            return None
        blob, size = there[path]
        if size is None or size > LONGEST:
            raise no_file(path, self._root)
        if blob not in self._texts:
            self._texts[blob] = self._ask("cat-file", "blob", blob).decode(errors="replace")
        return self._texts[blob]

    def _on_disk(self, path: str) -> str | None:
        file = self._root / path
        try:
            if file.parent.resolve() != file.parent:  # For git, there is nothing behind a link.
                return None
            if file.is_symlink():  # Its content is the path to which it leads.
                return str(file.readlink())
            if not file.exists():
                return None
            if not file.is_file():
                raise no_file(path, self._root)
            with file.open("rb") as opened:
                found = opened.read(LONGEST + 1)
        except OSError as error:
            raise Refused(f"{path} cannot be read: {os.strerror(error.errno or 0)}.") from error
        if len(found) > LONGEST:
            raise no_file(path, self._root)
        return found.decode(errors="replace")

    def _tree(self, revision: str) -> Mapping[str, tuple[str, int | None]]:
        """Returns the files of models in a commit: by path the id, and the size of what is a file."""
        if revision not in self._trees:
            out = self._ask("ls-tree", "-r", "-z", "--long", revision, "--", *FOLDERS).decode(errors="replace")
            rows = (row.split("\t", 1) for row in out.split("\0") if row)
            self._trees[revision] = {
                path: (blob, int(size) if size.isdigit() else None)
                for said, path in rows
                for _, _, blob, size in [said.split()]
            }
        return self._trees[revision]

    def _resolved(self, revision: str) -> str | None:
        with contextlib.suppress(GitFailed):
            return self._tried("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        return None

    def _log(self, *arguments: str) -> Sequence[str]:
        return self._ask("log", "--no-show-signature", "--format=%H", *arguments).decode().split()

    def _hint(self, otherwise: str) -> str:
        return _WHOLE_HISTORY if self.is_shallow else otherwise

    def _text(self, *arguments: str) -> str:
        return self._ask(*arguments).decode(errors="replace").strip()

    def _ask(self, *arguments: str) -> bytes:
        try:
            return Git.in_checkout(self._root, *arguments)
        except GitFailed as failure:
            raise explain(failure, self._root) from failure

    def _tried(self, *arguments: str) -> str:
        """Returns what git prints. Raises GitFailed as well."""
        return Git.in_checkout(self._root, *arguments).decode(errors="replace").strip()
