"""`clusterlab` with a control group of another name: a second lab, where the first one is not seen."""

from __future__ import annotations

import sys

from clusterlab import place

place.CGROUP = "serinus-lab-test"  # before it is imported elsewhere

from clusterlab import __main__, init, lifecycle  # noqa: E402

lifecycle.INIT = "tests.cluster.second_lab"

if __name__ == "__main__":
    if sys.argv[1] in ("up", "down", "status"):
        sys.exit(__main__.main())
    init.main()
