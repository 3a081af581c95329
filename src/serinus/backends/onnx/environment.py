"""The compiled environment, in which all compiled releases are served. It contains no package of a model."""

from __future__ import annotations

import sys

from serinus.core.release import Requirements

PACKAGES = ("onnxruntime==1.32.0", "numpy==2.4.6", "uvloop==0.23.0", "orjson==3.13.0")
"""The packages, pinned. They are locked with hashes when the environment is built."""


def requirements() -> Requirements:
    """Returns the requirements of compiled releases, for the Python version that runs Serinus."""
    return Requirements(PACKAGES, f"{sys.version_info.major}.{sys.version_info.minor}", source="Serinus itself")
