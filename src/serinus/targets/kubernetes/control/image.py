"""What the image of the control plane has in it.

uv comes with the packages. git has no wheel: the base has it.
"""

from __future__ import annotations

from pathlib import Path

from serinus.targets.kubernetes.images.programs import Program

MODULE = "serinus.targets.kubernetes.control"
PROGRAMS = ("uv",)
"""Programs of the packages that are kept."""
IMAGE = Program("control", "the control plane", Path(__file__).with_name("control.lock"), MODULE)
