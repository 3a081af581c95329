"""The manifests of releases in the fleet repository, as Argo CD applies them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from serinus.backends.git.repository import Repository
from serinus.core.names import checked

_WHO = "serinus"
_NAMED = 5
"""The largest number of releases that are named in the first line of a commit."""


class GitRendered:
    """`rendered/<cluster>/<model>/<release>/` holds the manifests of a release, and nothing else.

    What people change there is replaced the next time that the release is written. Every method raises Unavailable
    where nothing was committed.
    """

    def __init__(self, repository: Repository, cluster: str, *, may_write: Callable[[], object] = lambda: None) -> None:
        """`may_write` is called just before each commit, which is not made where it raises. Raises InvalidInput where
        `cluster` cannot be the name of a folder."""
        self._repository, self._may_write = repository, may_write
        self._under = f"rendered/{checked(cluster)}/"

    def write(self, model: str, release: str, files: Mapping[str, str]) -> str:
        """Makes the folder of a release hold these files, in one commit, and returns the newest commit."""
        folder = f"{self._under}{checked(model)}/{checked(release)}/"
        wanted = {f"{folder}{checked(name)}": text for name, text in files.items()}

        def edit(there: Mapping[str, str]) -> Mapping[str, str | None]:
            self._may_write()
            gone = {path for path in there if path.startswith(folder)} - wanted.keys()
            return {**wanted, **dict.fromkeys(gone)}

        return self._repository.commit(edit, f"Place {release}", who=_WHO)

    def read(self, name: str) -> Mapping[str, str]:
        """Returns the file of this name of each release, by its path, as it is in the repository now. Raises
        Unavailable, and Refused where one is too large."""
        self._repository.fetch()
        paths = [path for path in self._repository.blobs(self._repository.tip()) if self._release_of(path) is not None]
        chosen = [path for path in paths if path.endswith(f"/{name}")]
        return {path: text for path in chosen if (text := self._repository.show(path)) is not None}

    def remove(self, releases: Collection[str]) -> str:
        """Removes the folders of these releases, in one commit, and returns the newest commit."""

        def edit(there: Mapping[str, str]) -> Mapping[str, str | None]:
            self._may_write()
            return dict.fromkeys(path for path in there if self._release_of(path) in releases)

        named = ", ".join(sorted(releases)[:_NAMED])
        more = f" and {len(releases) - _NAMED} more" if len(releases) > _NAMED else ""
        return self._repository.commit(edit, f"Remove {named}{more}", who=_WHO)

    def _release_of(self, path: str) -> str | None:
        parts = path.removeprefix(self._under).split("/")
        return parts[1] if path.startswith(self._under) and len(parts) > 2 else None
