"""What confines models on this machine, in words, and whether the kernel says so of one process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from serinus_runtime.isolation import seccomp

from serinus.core.home import Home
from serinus.targets.local.host import launch

_SECONDS = 30.0


def level(home: Home) -> str:
    """By what models are confined, as a process of this user finds by confining itself: "Landlock ABI 7, system-call
    allow-list, user, network and IPC namespaces"."""
    if not launch.confined(home):
        return "none"
    python, runtime = Path(sys.executable), launch.stage(home, launch.runtime_source())
    try:
        tried = subprocess.run(
            launch.command(python, runtime, "trials.level"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            env=launch.environment(python, home.scratch),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"unknown, as it could not be tried ({type(error).__name__})"
    return tried.stdout.strip() if tried.returncode == 0 else f"none ({tried.stderr.strip()[-200:]})"


def holds(pid: int) -> bool:
    """Whether the kernel knows that process as confined: it has no rights and can get none, and its system calls are
    filtered. What Landlock allows a process is told to nobody else. True as well where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return True
    said = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    filtered = said.get("Seccomp") == "2" or not seccomp.known()
    return filtered and said.get("NoNewPrivs") == "1" and _rights(said) == 0


def _rights(said: Mapping[str, str]) -> int:
    return int(said.get("CapEff", "0"), 16) | int(said.get("CapPrm", "0"), 16)
