"""Images of releases by the store, so that a control plane with an empty disk knows where they are pulled from.

An image is built of files in the home. They are a cache: where they are gone, the image that was pushed is used again.
"""

from __future__ import annotations

from collections.abc import Callable

from serinus.core.errors import Unbuildable
from serinus.core.home import Home
from serinus.core.ports import Settings
from serinus.core.release import Release


class KeptImages:
    """The images of releases. `build`: builds and pushes the image of a release where the registry does not have it,
    and returns its reference by digest. `recorded`: returns the image by which a release runs, where the store was
    lost; None: there is none. Thread-safe."""

    def __init__(
        self,
        home: Home,
        build: Callable[[Release], str],
        store: Settings,
        recorded: Callable[[Release], str | None] = lambda _: None,
    ) -> None:
        self._home, self._build, self._store, self._recorded = home, build, store, recorded

    def image_of(self, release: Release) -> str:
        """Returns `registry/repository@sha256:...`. Raises as `build` and `recorded` do, and Unbuildable where neither
        the files nor an image are known."""
        known = self._store.setting(_key(release))
        if _is_here(self._home, release):
            built = self._build(release)
            if built != known:
                self._store.set_setting(_key(release), built)
            return built
        if known is None and (known := self._recorded(release)) is not None:
            self._store.set_setting(_key(release), known)
        if known is None:
            raise Unbuildable(
                f"The files of {release.id} are not on this disk, and no image of it is known.",
                hint=f"Deploy {release.model}@{release.version} again.",
            )
        return known

    def holds(self, release: Release) -> bool:
        """Whether the release has an image, or all that one is built of: that of its graph, and that of the model,
        which is served where the graph is distrusted."""
        if _is_here(self._home, release) and _model_is_here(self._home, release):
            return True
        return self._store.setting(_key(release)) is not None or self._recorded(release) is not None


def _key(release: Release) -> str:
    """Returns the key of the setting. A release with a graph has one image with it, and one with the model's files."""
    return f"image/{release.id}/{'model' if release.compiled is None else 'graph'}"


def _is_here(home: Home, release: Release) -> bool:
    """Whether all that the image is built of is in the home."""
    compiled = release.compiled
    if compiled is None:
        return _model_is_here(home, release)
    return home.graph(compiled.digest).is_dir() and home.interpreter(compiled.environment_digest).exists()


def _model_is_here(home: Home, release: Release) -> bool:
    files, python = home.artifact(release.artifact_digest), home.interpreter(release.environment_digest)
    return files.is_dir() and python.exists()
