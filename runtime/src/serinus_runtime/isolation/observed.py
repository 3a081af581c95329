"""The confinement of another process according to the kernel, whatever that process says about itself."""

from __future__ import annotations

from pathlib import Path
from typing import Mapping

from serinus_runtime.isolation import seccomp


def holds(pid: int) -> bool:
    """Whether the kernel knows that process as confined: it has no rights and can get none, and its system calls are
    filtered, by more filters than those of this process, which it may have inherited. What Landlock allows a process is
    told to nobody else. True as well where it is gone."""
    try:
        said = _status(str(pid))
    except (FileNotFoundError, ProcessLookupError):
        return True
    return _filtered(said) and said.get("NoNewPrivs") == "1" and _rights(said) == 0


def _filtered(said: Mapping[str, str]) -> bool:
    if not seccomp.known():
        return True
    # Linux 5.9 and newer tell how many there are. Landlock came later, so no older kernel gets here with one.
    own = int(_status("self").get("Seccomp_filters", "0"))
    return said.get("Seccomp") == "2" and int(said.get("Seccomp_filters", own + 1)) > own


def _rights(said: Mapping[str, str]) -> int:
    return int(said.get("CapEff", "0"), 16) | int(said.get("CapPrm", "0"), 16)


def _status(process: str) -> Mapping[str, str]:
    lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8", errors="replace").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
