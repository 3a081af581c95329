"""The command line. Speaks only HTTP to the API; `up` and `down` speak to the supervisor.

Exit codes: 0 done; 1 refused or failed, the reason on stderr; 2 wrong usage; 130 interrupted by Ctrl-C.
"""

from __future__ import annotations

import sys


def main() -> None:
    from serinus.cli.app import run

    sys.exit(run(sys.argv[1:]))
