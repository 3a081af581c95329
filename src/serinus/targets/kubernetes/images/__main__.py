"""Makes a base image from Debian's packages and pushes it:

    python -m serinus.targets.kubernetes.images 127.0.0.1:5000/serinus/base

The reference that it prints, pinned by its digest, is a base for images of releases. `--root DIR` takes the files of a
directory in place of Debian's packages. With `--git` it is a base for the image of the control plane.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from serinus.core.errors import SerinusError
from serinus.targets.kubernetes.images import debian
from serinus.targets.kubernetes.images.references import Reference
from serinus.targets.kubernetes.images.registry import DockerConfig, Registries


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m serinus.targets.kubernetes.images", description="Makes a base image and pushes it."
    )
    parser.add_argument("reference", help="registry/name, without a tag")
    parser.add_argument("--root", type=Path, help="a directory with the files, in place of Debian's packages")
    parser.add_argument("--git", action="store_true", help="with git, for the control plane")
    parser.add_argument("--plain", action="store_true", help="the registry is asked without TLS")
    arguments = parser.parse_args()
    try:
        wanted = Reference.parse(arguments.reference)
        registries = Registries(DockerConfig(), plain=[wanted.registry] if arguments.plain else [])
        print(debian.push(registries.of(wanted.registry), wanted.repository, arguments.root, git=arguments.git))
    except SerinusError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
