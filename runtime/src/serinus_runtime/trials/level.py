"""Confines itself as a model's process is, and prints by what: what holds on this machine, tried and not guessed."""

from __future__ import annotations

import sys

from serinus_runtime.base.errors import StartFailure
from serinus_runtime.isolation import confine


def main() -> None:
    try:
        confine.confine(confine.own_directories(), None, ())
    except (StartFailure, OSError) as error:
        sys.exit(str(error))
    print(confine.level())
