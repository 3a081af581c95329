"""Chooses the implementations that build and push images of releases."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from serinus.backends.uv import UvPackages
from serinus.core.home import Home
from serinus.targets.kubernetes.images import Images, Interpreters, Place
from serinus.targets.kubernetes.images.registry import DockerConfig, Registries


def build_images(
    home: Home,
    place: Place,
    *,
    interpreters: Sequence[Path] = (),
    indexes: Collection[str] = (),
    plain: Collection[str] = (),
    confined: bool = True,
) -> Images:
    """For the releases whose files are in `home`. `interpreters` are prefixes of installations of Python to put into
    images. `indexes` are package indexes as `UvPackages` takes them. `plain` are registries to which connections use no
    TLS, in addition to those on this machine. `confined`: whether bytecode is compiled in a confined process, as models
    are run. Nothing is built, and no registry is asked, here."""
    registries = Registries(DockerConfig(), plain=plain)
    return Images(
        home,
        home.images,
        UvPackages(home.environments, indexes=indexes, confined=confined),
        registries.of,
        place,
        Interpreters(interpreters),
    )
