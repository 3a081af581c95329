"""Describes in words what confines models on this machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from serinus_runtime.process import starting

from serinus.core.home import Home
from serinus.lib import tied
from serinus.targets.local.host import launch

_SECONDS = 30.0


def level(home: Home) -> str:
    """Returns the confinement of models, as a process of this user finds it by confining itself: "Landlock ABI 7,
    system-call allow-list, user, network and IPC namespaces"."""
    if not launch.confined(home):
        return "none"
    python, runtime = Path(sys.executable), launch.stage(home, launch.runtime_source())
    try:
        tried = tied.run(
            launch.command(python, runtime, "trials.level"),
            timeout=_SECONDS,
            env=starting.environment(python, home.scratch),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"unknown, as it could not be tried ({type(error).__name__})"
    said = tried.stdout if tried.returncode == 0 else tried.stderr
    words = said.decode(errors="replace").strip()
    return words if tried.returncode == 0 else f"none ({words[-200:]})"
