"""What the image of gateways has in it."""

from __future__ import annotations

from pathlib import Path

from serinus.targets.kubernetes.images.programs import Program

IMAGE = Program("gateway", "gateways", Path(__file__).with_name("gateway.lock"))
