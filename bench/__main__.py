"""`python -m bench`: see the package."""

import sys

from bench.main import main

sys.exit(main())
