"""A lab that is killed with pods in it leaves no process, and `down` removes the rest."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from clusters import eventually

from clusterlab import ROOT, building, machine, place
from clusterlab.modules import program

Run = Callable[..., subprocess.CompletedProcess[str]]
GROUP = "serinus-lab-test"


@pytest.fixture
def apart() -> Iterator[Run]:
    """Runs commands where no lab is seen: in another network, with another /run. One may run meanwhile."""
    if os.geteuid() != 0 or os.environ.get("SERINUS_KUBECONFIG"):
        pytest.skip("only root can start the lab, and it is not what is tested on another cluster")
    machine.check()
    building.build(print)
    settle = "mount -t tmpfs tmpfs /run && ip link set lo up && echo here && exec sleep 600"
    holder = subprocess.Popen(
        ["unshare", "--net", "--mount", "sh", "-c", settle], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "here\n"

    def run(*command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        inside = ["nsenter", "--net", "--mount", f"--target={holder.pid}", f"--wd={ROOT}", *command]
        told = subprocess.run(inside, capture_output=True, text=True, timeout=400)
        assert not check or told.returncode == 0, told.stderr
        return told

    try:
        yield run
    finally:
        holder.kill()
        holder.communicate()


def lab(run: Run, *arguments: str, check: bool = True) -> str:
    return run(sys.executable, "-m", "tests.cluster.second_lab", *arguments, check=check).stdout


def push(run: Run) -> str:
    """The image of the tests, in the registry of that lab."""
    code = (
        "from clusterlab import image, place\n"
        "from clusterlab.modules import program\n"
        "print(image.push(place.REGISTRY, 'answer', program('answer'), plain=[place.REGISTRY]))\n"
    )
    return run(sys.executable, "-c", code).stdout.strip()


def groups() -> list[Path]:
    return [path for path in Path("/sys/fs/cgroup").glob(f"**/{GROUP}") if path.is_dir()]


def members() -> set[int]:
    """The processes of its pods."""
    return {int(pid) for top in groups() for file in top.rglob("cgroup.procs") for pid in file.read_text().split()}


def test_a_lab_that_is_killed_leaves_no_process_and_down_removes_the_rest(apart: Run) -> None:
    directory = Path(tempfile.gettempdir()) / "serinus-lab-killed"
    mounts = Path("/proc/mounts").read_text()
    try:
        lab(apart, "up", "--dir", str(directory))
        kubectl = (str(program("kubectl")), f"--kubeconfig={place.KUBECONFIG}")
        apart(*kubectl, "create", "deployment", "answer", f"--image={push(apart)}", "--replicas=2")
        apart(*kubectl, "wait", "--for=condition=Available", "deployment/answer", "--timeout=100s")
        running = members()
        assert len(running) >= 4, "two pods, each with the process that holds its namespaces"
        told: dict[str, Any] = json.loads(lab(apart, "status", "--json"))
        os.kill(told["pid"], signal.SIGKILL)
        eventually("all processes of pods are gone", lambda: not members(), seconds=30)
        assert json.loads(lab(apart, "status", "--json", check=False))["state"] == "ended"
    finally:
        lab(apart, "down")
    assert not groups()
    assert not directory.exists()
    assert not apart("ls", str(place.RUN), check=False).stdout
    assert place.INTERFACE not in apart("ip", "link").stdout
    assert Path("/proc/mounts").read_text() == mounts
