"""Images of releases: what belongs in one, built and pushed where the registry does not have it yet."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from serinus.core.home import Home
from serinus.core.ports import LockedEnvironment, Packages
from serinus.core.release import Release
from serinus.targets.kubernetes.images import bases, contents, documents, layers, sbom, trees
from serinus.targets.kubernetes.images.bases import Base
from serinus.targets.kubernetes.images.interpreters import THIS_PYTHON, Interpreters, minor_of
from serinus.targets.kubernetes.images.layers import Layer, Layers
from serinus.targets.kubernetes.images.pushing import Make, Pusher
from serinus.targets.kubernetes.images.references import Reference, repository_part
from serinus.targets.kubernetes.images.registry import INDEX, Manifest, Registry
from serinus.targets.kubernetes.images.trees import Entry

_FORMAT = 1
"""Of images. Another number where the same parts make another image."""
_TAG_DIGITS = 40
_TRIALS = "trials"
"""The repository of images that are not those of a release."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where images are pushed to, and what they are built on."""

    repository: Reference
    """Images of a model are in `<repository>/models/<model>`; `<repository>/layers` has what they share, and
    `<repository>/trials` those in which models are examined."""
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


@dataclass(frozen=True, slots=True)
class _Wanted:
    """An image of all platforms."""

    name: str
    """In words."""
    repository: str
    """Below that of the place."""
    identity: str
    plans: tuple[_Plan, ...]
    labels: Mapping[str, str]
    bill: bytes | None = None
    """What it consists of, as a bill of materials. None: it has none."""


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

    def for_trial(
        self, artifact: str, environment: str | None, say: Callable[[str], None] = lambda _: None
    ) -> Reference:
        """The image of an artifact and an environment, which are named by their digests, to ask a model in. It has the
        layers of the releases of both. Without an environment nothing of the model can be loaded, and the interpreter
        is the one that runs Serinus. Errors as of `build_and_push`."""
        with layers.said():
            return self._tried(artifact, environment, say)

    def _tried(self, artifact: str, environment: str | None, say: Callable[[str], None]) -> Reference:
        locked = self._packages.locked(environment) if environment is not None else None
        plans = [self._plan(self._model(artifact), locked, one, say) for one in self._place.platforms]
        wanted = _Wanted(
            f"artifact {artifact[:12]}",
            _TRIALS,
            self._identity(_TRIALS, "", plans),
            tuple(plans),
            {"serinus.artifact": artifact},
        )
        return self._indexed(wanted, say)

    def _built(self, release: Release, say: Callable[[str], None]) -> Reference:
        environment = release.compiled.environment_digest if release.compiled else release.environment_digest
        locked = self._packages.locked(environment)
        own = self._graph(release.compiled.digest) if release.compiled else self._model(release.artifact_digest)
        plans = [self._plan(own, locked, platform, say) for platform in self._place.platforms]
        identity = self._identity(release.model, release.version, plans)
        bill = sbom.bill(release, locked.packages, locked.python_version, self._base, identity)
        wanted = _Wanted(
            f"{release.model}@{release.version}",
            f"models/{repository_part(release.model)}",
            identity,
            tuple(plans),
            self._labels(release, environment),
            bill,
        )
        return self._indexed(wanted, say)

    def _indexed(self, wanted: _Wanted, say: Callable[[str], None]) -> Reference:
        where = Reference(self._place.repository.registry, f"{self._place.repository.repository}/{wanted.repository}")
        tag = wanted.identity[:_TAG_DIGITS]
        known = self._pusher.registry.manifest(where.repository, tag)
        if known is not None and known.media_type == INDEX:
            return replace(where, digest=known.digest)
        manifests = []
        for plan in wanted.plans:
            say(f"building the image of {wanted.name} for {plan.platform}")
            base = self._based(plan.platform)
            manifest = self._push(where.repository, plan, base, wanted.labels)
            if wanted.bill is not None:
                self._pusher.refer(where.repository, manifest, sbom.MEDIA_TYPE, wanted.bill)
            manifests.append((manifest, base.platform))
        index = documents.index(manifests, wanted.labels)
        # The tag comes last: what has it is whole.
        self._pusher.registry.put_manifest(where.repository, tag, index)
        say(f"pushed the image of {wanted.name}: {where}@{index.digest}")
        return replace(where, digest=index.digest)

    def _graph(self, digest: str) -> _Part:
        graph = self._home.graph(digest)
        return _part("graph", [digest], lambda: contents.graph(graph), common=False)

    def _model(self, digest: str) -> _Part:
        artifact = self._home.artifact(digest)
        return _part("model", [digest], lambda: contents.model(artifact), common=False)

    def _plan(
        self, own: _Part, environment: LockedEnvironment | None, platform: str, say: Callable[[str], None]
    ) -> _Plan:
        locked = environment or THIS_PYTHON
        prefix, minor = self._interpreters.prefix(locked, platform), minor_of(locked)
        interpreter = _part(
            "interpreter", [self._interpreters.digest(prefix, minor)], lambda: contents.python(prefix, minor)
        )
        runtime = _part("runtime", [trees.digest(contents.runtime())], contents.runtime)
        packages = [] if environment is None else [self._packages_of(environment, platform, say)]
        return _Plan(platform, (interpreter, *packages, runtime, own), contents.has_shared_library(prefix))

    def _packages_of(self, locked: LockedEnvironment, platform: str, say: Callable[[str], None]) -> _Part:
        of = [locked.digest, platform, locked.python_version, self._packages.accelerators]
        return _Part(layers.key("environment", *of), lambda file: self._environment(locked, platform, say, file), True)

    def _environment(
        self, locked: LockedEnvironment, platform: str, say: Callable[[str], None], file: BinaryIO
    ) -> Layer:
        with self._layers.scratch() as scratch:
            packages, accelerators = scratch / "packages", scratch / "accelerators"
            self._packages.install(locked.digest, platform, packages, say)
            there = self._packages.install_accelerators(locked.python_version, platform, accelerators, say)
            made = contents.environment(packages, accelerators if there else None, minor_of(locked))
            return layers.write(made, file)

    def _identity(self, name: str, version: str, plans: Sequence[_Plan]) -> str:
        parts = [[plan.platform, *(part.key for part in plan.parts)] for plan in plans]
        whole = [_FORMAT, name, version, self._base.digest, contents.ENTRYPOINT, parts]
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
            if part.common:
                made.append(self._pusher.common(repository, part.key, part.make))
            else:  # A model was examined before there was a release of it.
                trials = f"{self._place.repository.repository}/{_TRIALS}"
                made.append(self._pusher.own(repository, part.key, part.make, trials))
        configuration = documents.config(base, made, labels, shared_library=plan.shared_library)
        self._pusher.registry.push_bytes(repository, configuration)
        manifest = documents.manifest(configuration, [*base.layers, *(one.descriptor for one in made)], labels)
        self._pusher.registry.put_manifest(repository, manifest.digest, manifest)
        return manifest


def _part(kind: str, of: Sequence[str], entries: Callable[[], Iterable[Entry]], *, common: bool = True) -> _Part:
    """A layer of files that are there already."""
    return _Part(layers.key(kind, *of), lambda file: layers.write(entries(), file), common)
