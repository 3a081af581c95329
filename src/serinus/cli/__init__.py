"""The command line. It speaks HTTP to the API. Only `up` and `down` speak to the supervisor.

Exit codes: 0 done; 1 refused or failed, with the reason on stderr; 2 wrong usage; 130 interrupted by Ctrl-C.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command line and exits."""
    from serinus.cli.app import run

    sys.exit(run(sys.argv[1:]))
