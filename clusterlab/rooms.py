"""Mounts of the lab's own mount namespace: what Kubernetes writes outside of its directory stays in the lab's."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from clusterlab import LabError
from clusterlab.place import RUN, Place

COVERED = (Path("/var/lib"), Path("/var/log"))
"""What is written there lies in the lab's directory; what the machine has there is seen."""
HIDDEN = (Path("/run"), *COVERED)
"""Where the lab's own directory cannot be."""
# What the kubelet sets for the whole machine. It finds these values, and the machine keeps its own.
_TUNABLES: Mapping[str, str] = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


def settle(place: Place) -> None:
    """In a mount namespace of the lab's own. Raises LabError."""
    made = place.directory / "mounts"
    run = made / "run"
    run.mkdir(parents=True)
    _mount("-t", "tmpfs", "tmpfs", str(run))
    inside = run / RUN.relative_to("/run")
    inside.mkdir()
    _mount("--bind", str(RUN), str(inside))
    _mount("--rbind", str(run), "/run")
    for number, covered in enumerate(COVERED):
        upper, work = made / f"{number}-upper", made / f"{number}-work"
        upper.mkdir()
        work.mkdir()
        _mount("-t", "overlay", "overlay", "-o", f"lowerdir={covered},upperdir={upper},workdir={work}", str(covered))
    for name, value in _TUNABLES.items():
        own = made / name.replace("/", "-")
        own.write_text(f"{value}\n")
        if Path("/proc/sys", name).exists():
            _mount("--bind", str(own), f"/proc/sys/{name}")


def _mount(*arguments: str) -> None:
    told = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    if told.returncode:
        raise LabError(
            f"`mount {' '.join(arguments)}` failed: {told.stderr.strip()}. The lab's directory must lie on a file "
            "system that can be the upper layer of an overlay, as ext4, xfs and tmpfs can: choose it with --dir."
        )
