"""`clusterlab.init` with the programs that come from Debian alone, and a slow one where $SLOW asks for it."""

from __future__ import annotations

import os

from clusterlab import init, programs
from clusterlab.place import Place
from clusterlab.programs import Program

_base = programs._base


def small(place: Place) -> tuple[Program, ...]:
    slow = Program("slow", ("sleep", "1000"), ready=lambda: "SLOW" not in os.environ, after=("registry",))
    return (*(program for program in _base(place) if program.name != "etcd"), slow)


if __name__ == "__main__":
    programs.all_of = small
    init.main()
