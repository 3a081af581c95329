"""Confines itself like a model's process, and prints how. That shows what actually works on this machine."""

from __future__ import annotations

import sys

from serinus_runtime.base.errors import StartFailure
from serinus_runtime.isolation import confine


def main() -> None:
    """Prints the confinement."""
    try:
        confine.confine(confine.own_directories(), None, ())
    except (StartFailure, OSError) as error:
        sys.exit(str(error))
    print(confine.level())
