"""Images of releases: which implementations build and push them."""

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
    """Of the releases whose files are in `home`. `interpreters`: prefixes of installations of Python to put into
    images. `indexes`: of packages, as `UvPackages` takes them. `plain`: registries that are asked without TLS, beside
    those on this machine. `confined`: whether the compiler of bytecode is, as models are. Nothing is asked or built
    here."""
    registries = Registries(DockerConfig(), plain=plain)
    return Images(
        home,
        home.images,
        UvPackages(home.environments, indexes=indexes, confined=confined),
        registries.of,
        place,
        Interpreters(interpreters),
    )
