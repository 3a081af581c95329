"""Images in which Serinus itself runs: base, interpreter, packages, and this very Serinus, so that all of an
installation is of one version."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO

import serinus_runtime

import serinus
from serinus.targets.kubernetes.images import bases, contents, documents, layers, trees
from serinus.targets.kubernetes.images.bases import Base
from serinus.targets.kubernetes.images.building import Place
from serinus.targets.kubernetes.images.layers import Layer, Layers
from serinus.targets.kubernetes.images.pushing import Make, Pusher
from serinus.targets.kubernetes.images.references import Reference
from serinus.targets.kubernetes.images.registry import Manifest, Registry
from serinus.targets.kubernetes.images.trees import Entry

CODE = "opt/serinus/code"
"""Where Serinus itself is in the image."""
_FORMAT = 1
_TAG_DIGITS = 40

Say = Callable[[str], None]
Install = Callable[[Path, str, str, Path, Say], None]
"""Installs the packages of a lock for a version of Python and a platform into a directory."""


@dataclass(frozen=True, slots=True)
class Program:
    """What runs in an image."""

    name: str
    """The repository below that of the place, and the end of the image's title."""
    title: str
    """In words."""
    lock: Path
    """The packages that it needs beside Serinus, each file by its hash."""
    module: str = ""
    """What the image runs by itself. Empty: every container has a command of its own."""


def push(
    program: Program,
    registry: Callable[[str], Registry],
    place: Place,
    prefix: Path,
    install: Install,
    directory: Path,
    platform: str,
    say: Say,
) -> Reference:
    """The image, by digest, in `<repository>/<name>`; where the registry has it, nothing is built or sent.

    `prefix`: of a relocatable installation of Python for `platform`. `directory`: where layers are kept. Raises
    Unbuildable, InvalidInput and Unavailable, each in words.
    """
    repository = f"{place.repository.repository}/{program.name}"
    where = registry(place.repository.registry)
    pusher = Pusher(where, Layers(directory), f"{place.repository.repository}/layers")
    parts = _parts(program, prefix, install, directory, platform, say)
    pinned = place.base.pinned
    whole = [_FORMAT, pinned.digest, platform, [key for key, _ in parts]]
    tag = hashlib.sha256(json.dumps(whole).encode()).hexdigest()[:_TAG_DIGITS]
    image = where.manifest(repository, tag)
    if image is None:
        say(f"building the image of {program.title} for {platform}")
        source = registry(pinned.registry)
        base = bases.read(source, pinned, platform)
        for layer in base.layers:
            pusher.of_base(repository, layer, source, pinned)
        made = [pusher.common(repository, key, make) for key, make in parts]
        image = _manifest(program, pusher, repository, base, made, prefix)
        # The tag comes last: what has it is whole.
        where.put_manifest(repository, tag, image)
    return Reference(place.repository.registry, repository, digest=image.digest)


def _parts(
    program: Program, prefix: Path, install: Install, directory: Path, platform: str, say: Say
) -> list[tuple[str, Make]]:
    """Key and maker of each layer."""
    python = contents.python_version(prefix)
    lock = hashlib.sha256(program.lock.read_bytes()).hexdigest()
    return [
        (
            layers.key("interpreter", trees.digest(contents.python(prefix, python))),
            lambda file: layers.write(contents.python(prefix, python), file),
        ),
        (
            layers.key("environment", program.name, lock, platform, python),
            lambda file: _environment(program, install, python, platform, directory, say, file),
        ),
        (layers.key("code", trees.digest(code())), lambda file: layers.write(code(), file)),
    ]


def _manifest(
    program: Program, pusher: Pusher, repository: str, base: Base, made: Sequence[Layer], prefix: Path
) -> Manifest:
    labels = {
        "org.opencontainers.image.title": f"serinus-{program.name}",
        "org.opencontainers.image.version": version("serinus"),
    }
    shared = contents.has_shared_library(prefix)
    configuration = documents.config(base, made, labels, shared_library=shared, starts=_starts(program, prefix))
    pusher.registry.push_bytes(repository, configuration)
    return documents.manifest(configuration, [*base.layers, *(one.descriptor for one in made)], labels)


def _starts(program: Program, prefix: Path) -> documents.Starts | None:
    if not program.module:
        return None
    packages = f"/{contents.ENVIRONMENT}/lib/python{contents.python_version(prefix)}/site-packages"
    variables = {"PYTHONPATH": f"/{CODE}:{packages}", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}
    return documents.Starts((f"/{contents.PYTHON}/bin/python3", "-P", "-m", program.module), variables)


def code() -> Iterator[Entry]:
    """Serinus and its runtime as they are here, and what says which version they are."""
    for package in (serinus, serinus_runtime):
        assert package.__file__ is not None
        root = Path(package.__file__).parent
        yield from trees.walk(root, f"{CODE}/{package.__name__}", data=True, wanted=_is_code)
    told = f"Metadata-Version: 2.1\nName: serinus\nVersion: {version('serinus')}\n"
    yield Entry(f"{CODE}/serinus-{version('serinus')}.dist-info/METADATA", content=told.encode())


def _is_code(relative: str) -> bool:
    return "__pycache__" not in relative.split("/") and not relative.endswith(".pyc")


def _environment(
    program: Program, install: Install, python: str, platform: str, directory: Path, say: Say, file: BinaryIO
) -> Layer:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".installing-", dir=directory) as scratch:
        packages = Path(scratch, "packages")
        install(program.lock, python, platform, packages, say)
        return layers.write(contents.environment(packages, None, python), file)
