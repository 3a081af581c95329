"""Images of releases: what belongs in one, built and pushed where the registry does not have it yet."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from serinus.core.home import Home
from serinus.core.ports import LockedEnvironment, Packages
from serinus.core.release import Release
from serinus.targets.kubernetes.images import bases, contents, documents, layers, sbom, trees
from serinus.targets.kubernetes.images.bases import Base
from serinus.targets.kubernetes.images.interpreters import Interpreters, minor_of
from serinus.targets.kubernetes.images.layers import Layer, Layers
from serinus.targets.kubernetes.images.pushing import Make, Pusher
from serinus.targets.kubernetes.images.references import Reference, repository_part
from serinus.targets.kubernetes.images.registry import INDEX, Manifest, Registry
from serinus.targets.kubernetes.images.trees import Entry

_FORMAT = 1
"""Of images. Another number where the same parts make another image."""
_TAG_DIGITS = 40


@dataclass(frozen=True, slots=True)
class Place:
    """Where images are pushed to, and what they are built on."""

    repository: Reference
    """Images of a model are in `<repository>/models/<model>`; `<repository>/layers` has what they share."""
    base: Reference
    """Pinned by its digest."""
    platforms: tuple[str, ...] = ("linux/amd64",)


@dataclass(frozen=True, slots=True)
class _Part:
    """One layer, before it is made."""

    key: str
    make: Make
    common: bool


@dataclass(frozen=True, slots=True)
class _Plan:
    """What an image of one platform consists of."""

    platform: str
    parts: tuple[_Part, ...]
    shared_library: bool


class Images:
    """`home`: where the artifacts and graphs of releases are. `directory`: where layers are kept. `registry`: the
    client of a registry by its name."""

    def __init__(
        self,
        home: Home,
        directory: Path,
        packages: Packages,
        registry: Callable[[str], Registry],
        place: Place,
        interpreters: Interpreters | None = None,
    ) -> None:
        self._home = home
        self._packages = packages
        self._registry = registry
        self._place = place
        self._base = place.base.pinned
        self._interpreters = interpreters or Interpreters()
        self._bases: dict[str, Base] = {}
        target = registry(place.repository.registry)
        self._layers = Layers(directory)
        self._pusher = Pusher(target, self._layers, f"{place.repository.repository}/layers")

    def build_and_push(self, release: Release, say: Callable[[str], None] = lambda _: None) -> Reference:
        """The image of `release`, by digest, with all platforms. Where the registry has it, nothing is built or sent.

        Releases that differ in how they answer alone have the same image. Raises Unbuildable (a package has no wheel,
        a file cannot be in an image), InvalidInput (the base image is none) and Unavailable, each in words.
        """
        with layers.said():
            return self._built(release, say)

    def _built(self, release: Release, say: Callable[[str], None]) -> Reference:
        environment = release.compiled.environment_digest if release.compiled else release.environment_digest
        locked = self._packages.locked(environment)
        plans = [self._plan(release, locked, platform, say) for platform in self._place.platforms]
        identity = self._identity(release, plans)
        repository = f"{self._place.repository.repository}/models/{repository_part(release.model)}"
        where = Reference(self._place.repository.registry, repository)
        known = self._pusher.registry.manifest(repository, identity[:_TAG_DIGITS])
        if known is not None and known.media_type == INDEX:
            return Reference(where.registry, repository, digest=known.digest)
        labels = self._labels(release, environment)
        bill = sbom.bill(release, locked.packages, locked.python_version, self._base, identity)
        manifests = []
        for plan in plans:
            say(f"building the image of {release.model}@{release.version} for {plan.platform}")
            base = self._based(plan.platform)
            manifest = self._push(repository, plan, base, labels)
            self._pusher.refer(repository, manifest, sbom.MEDIA_TYPE, bill)
            manifests.append((manifest, base.platform))
        index = documents.index(manifests, labels)
        # The tag comes last: what has it is whole.
        self._pusher.registry.put_manifest(repository, identity[:_TAG_DIGITS], index)
        say(f"pushed the image of {release.model}@{release.version}: {where}@{index.digest}")
        return Reference(where.registry, repository, digest=index.digest)

    def _plan(self, release: Release, locked: LockedEnvironment, platform: str, say: Callable[[str], None]) -> _Plan:
        prefix, minor = self._interpreters.prefix(locked, platform), minor_of(locked)
        if release.compiled is not None:
            graph = self._home.graph(release.compiled.digest)
            own = _part("graph", [release.compiled.digest], lambda: contents.graph(graph), common=False)
        else:
            artifact = self._home.artifact(release.artifact_digest)
            own = _part("model", [release.artifact_digest], lambda: contents.model(artifact), common=False)
        of = [locked.digest, platform, locked.python_version, self._packages.accelerators]
        parts = (
            _part("interpreter", [self._interpreters.digest(prefix, minor)], lambda: contents.python(prefix, minor)),
            _Part(layers.key("environment", *of), lambda file: self._environment(locked, platform, say, file), True),
            _part("runtime", [trees.digest(contents.runtime())], contents.runtime),
            own,
        )
        return _Plan(platform, parts, contents.has_shared_library(prefix))

    def _environment(
        self, locked: LockedEnvironment, platform: str, say: Callable[[str], None], file: BinaryIO
    ) -> Layer:
        with self._layers.scratch() as scratch:
            packages, accelerators = scratch / "packages", scratch / "accelerators"
            self._packages.install(locked.digest, platform, packages, say)
            there = self._packages.install_accelerators(locked.python_version, platform, accelerators, say)
            made = contents.environment(packages, accelerators if there else None, minor_of(locked))
            return layers.write(made, file)

    def _identity(self, release: Release, plans: Sequence[_Plan]) -> str:
        parts = [[plan.platform, *(part.key for part in plan.parts)] for plan in plans]
        whole = [_FORMAT, release.model, release.version, self._base.digest, contents.ENTRYPOINT, parts]
        return hashlib.sha256(json.dumps(whole).encode()).hexdigest()

    def _labels(self, release: Release, environment: str) -> Mapping[str, str]:
        graph = {"serinus.graph": release.compiled.digest} if release.compiled else {}
        return {
            "org.opencontainers.image.title": release.model,
            "org.opencontainers.image.version": release.version,
            "org.opencontainers.image.base.name": f"{self._base.registry}/{self._base.repository}",
            "org.opencontainers.image.base.digest": self._base.digest,
            "serinus.artifact": release.artifact_digest,
            "serinus.environment": environment,
            **graph,
        }

    def _based(self, platform: str) -> Base:
        if platform not in self._bases:
            self._bases[platform] = bases.read(self._registry(self._base.registry), self._base, platform)
        return self._bases[platform]

    def _push(self, repository: str, plan: _Plan, base: Base, labels: Mapping[str, str]) -> Manifest:
        for layer in base.layers:
            self._pusher.of_base(repository, layer, self._registry(self._base.registry), self._base)
        made: list[Layer] = []
        for part in plan.parts:
            push = self._pusher.common if part.common else self._pusher.own
            made.append(push(repository, part.key, part.make))
        configuration = documents.config(base, made, labels, shared_library=plan.shared_library)
        self._pusher.registry.push_bytes(repository, configuration)
        manifest = documents.manifest(configuration, [*base.layers, *(one.descriptor for one in made)], labels)
        self._pusher.registry.put_manifest(repository, manifest.digest, manifest)
        return manifest


def _part(kind: str, of: Sequence[str], entries: Callable[[], Iterable[Entry]], *, common: bool = True) -> _Part:
    """A layer of files that are there already."""
    return _Part(layers.key(kind, *of), lambda file: layers.write(entries(), file), common)
