"""The port Fleet on Git.

The repository is bare: there is no work tree that could be left half-written, and no index with a lock. People clone
it, or the server that it is a copy of, and may push to it.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from serinus.backends.git.merging import merged_between
from serinus.backends.git.remote import Remote
from serinus.backends.git.repository import BRANCH, Repository
from serinus.core.errors import Refused, SerinusError, Unavailable
from serinus.core.merged import Merged
from serinus.core.names import checked, is_model_name, spec_file

log = logging.getLogger(__name__)

_LIVE = re.compile(r"live/([^/]+)\.yaml")

FOLLOWED_EVERY = 5.0
"""The time, in seconds, after which the branch of the server is read again."""


@dataclass(frozen=True, slots=True)
class Change:
    """A commit that changed a model."""

    commit: str
    at: datetime
    who: str
    summary: str
    why: str


class GitFleet:
    """`models/<model>/model.yaml` is the ModelDeployment of a model, `live/<model>.yaml` what Serinus has made live.

    Safe for several threads and processes. Raises InvalidInput for a model name that cannot be a file name, and what
    `Repository` raises.
    """

    def __init__(self, path: Path, remote: Remote | None = None) -> None:
        self.repository = Repository(path, remote)
        self._may_write: Callable[[], object] = lambda: None

    def deciding(self, may_write: Callable[[], object]) -> GitFleet:
        """Returns the same for what decides: `may_write` is called just before each commit, which is not made where it
        raises. Before that the server may have taken its time to answer, and it may have refused other commits."""
        other = copy(self)
        other._may_write = may_write
        return other

    def read(self, model: str) -> str | None:
        found = self.repository.show(spec_file(model))
        return found if found is not None else self.repository.show(former_spec_file(model))

    def write(self, model: str, text: str, *, who: str, why: str) -> str:
        files = {former_spec_file(model): None, spec_file(model): text}
        return self._commit(files, f"Set the ModelDeployment of {model}", who=who, why=why)

    def publish(self, model: str, live: Mapping[str, Any], *, who: str, why: str) -> str:
        text = yaml.safe_dump(dict(live), sort_keys=False, allow_unicode=True)
        version = f" {live['version']}" if "version" in live else ""
        summary = f"Retire {model}" if "retired" in live else f"Make {model}{version} live"
        path = live_file(model)
        return self._commit({path: text}, summary, who=who, why=why)

    def _commit(self, files: Mapping[str, str | None], summary: str, *, who: str, why: str) -> str:
        def edit(_: Mapping[str, str]) -> Mapping[str, str | None]:
            self._may_write()
            return files

        return self.repository.commit(edit, summary, who=who, why=why)

    def live(self, model: str) -> Mapping[str, Any] | None:
        text = self.repository.show(live_file(model))
        if text is None:
            return None
        try:
            found = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise Refused(
                f"{live_file(model)} in {self.repository.path} is not YAML.", hint="Revert its last commit."
            ) from error
        return found if isinstance(found, dict) else None

    def all_live(self) -> Mapping[str, Mapping[str, Any]]:
        self.repository.fetch()
        paths = self.repository.blobs(self.repository.tip())
        names = [found.group(1) for path in paths if (found := _LIVE.fullmatch(path)) is not None]
        live = {name: self.live(name) for name in names if is_model_name(name)}
        return {model: said for model, said in live.items() if said is not None}

    def changes(self, since: str | None) -> tuple[str, Collection[str] | None]:
        head = self._position()
        if since == head:
            return head, ()
        if not since or not head:
            return head, None
        paths = self.repository.made_between(since, head)
        if paths is None:
            try:
                out = self.repository.ask("diff-tree", "-r", "-z", "--name-only", since, head, "--", "live")
            except Unavailable:  # `since` no longer exists, because the history was rewritten.
                return head, None
            paths = out.decode(errors="replace").split("\0")
        return head, {path.removeprefix("live/").removesuffix(".yaml") for path in paths if path.startswith("live/")}

    def merged(self, since: str | None) -> tuple[str, Sequence[Merged]]:
        head = self._position()
        if since is None or self.repository.made_between(since, head) is not None:
            return head, ()
        if since and not self.repository.contains(since, head):
            # Another control plane may have read more. Otherwise the history was rewritten.
            self.repository.fetch()
            head = self.repository.tip()
            if head and self.repository.contains(head, since):
                return since, ()
        remote = self.repository.remote
        return head, merged_between(self.repository, since, head, reviewed=remote is not None and remote.reviewed)

    def run(self, stop: threading.Event) -> None:
        """Reads the branch of the server, where there is one, every few seconds until `stop` is set.

        What it finds is in `changes` and `merged`, and what keeps it from reading is raised there.
        """
        while not stop.wait(FOLLOWED_EVERY):
            try:
                self.repository.fetch()
            except SerinusError as error:
                log.debug("%s", error)
            except Exception:
                log.exception("The fleet repository could not be read from its server.")

    def _position(self) -> str:
        if self.repository.trouble is not None:
            raise self.repository.trouble.with_traceback(None)
        return self.repository.tip()

    def history(self, model: str, limit: int = 50) -> Sequence[Change]:
        """Returns the changes of the model's two files, newest first."""
        if self.repository.head() is None:
            return []
        form = "--format=%H%x00%aI%x00%an%x00%s%x00%b"
        paths = (spec_file(model), former_spec_file(model), live_file(model))
        out = self.repository.ask("log", "-z", form, f"--max-count={limit}", BRANCH, "--", *paths)
        fields = out.decode(errors="replace").split("\0")
        rows = [fields[start : start + 5] for start in range(0, len(fields) - 4, 5)]
        return [
            Change(commit, datetime.fromisoformat(at), who, summary, why.strip())
            for commit, at, who, summary, why in rows
        ]


def former_spec_file(model: str) -> str:
    """Returns the path at which earlier versions kept the ModelDeployment. It is still read."""
    return f"models/{checked(model)}.yaml"


def live_file(model: str) -> str:
    return f"live/{checked(model)}.yaml"
