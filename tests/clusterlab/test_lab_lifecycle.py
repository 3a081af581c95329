"""Start and end of the lab in real namespaces, with the programs that need no building; and what it leaves: nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clusterlab import ROOT, LabError, building, lifecycle, machine, place
from serinus.lib import files

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can start the lab"),
    pytest.mark.skipif(bool(machine.missing_packages()), reason="packages of the lab are missing: make lab-packages"),
    pytest.mark.skipif(place.RUN.exists(), reason="a lab runs on this machine, which these tests did not start"),
]
SMALL = "tests.clusterlab.small_lab"
KERNEL = [
    Path("/proc/sys/vm/overcommit_memory"),
    Path("/proc/sys/kernel/panic"),
    Path("/proc/sys/kernel/panic_on_oops"),
]


@pytest.fixture
def directory(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Of a lab with a few programs. What is left at the end is compared with what was there before."""
    monkeypatch.setattr(lifecycle, "INIT", SMALL)
    monkeypatch.setattr(building, "build", lambda say: None)
    before = left(Path("/tmp/serinus-lab-test"))
    yield Path("/tmp/serinus-lab-test")
    lifecycle.down(lambda _: None)
    assert left(Path("/tmp/serinus-lab-test")) == before


def left(directory: Path) -> dict[str, Any]:
    """All that a lab could leave."""
    return {
        "files": [str(path) for path in (place.RUN, directory) if path.exists()],
        "groups": [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/{place.CGROUP}")],
        "interface": Path(f"/sys/class/net/{place.INTERFACE}").exists(),
        "mounts": [line for line in Path("/proc/mounts").read_text().splitlines() if "serinus-lab" in line],
        "processes": [pid for pid in processes() if "serinus-lab-test" in command_of(pid)],
        "kernel": [path.read_text() for path in KERNEL],
        "beside": [path.exists() for path in (Path("/var/lib/cni"), Path("/run/containerd"), Path("/opt/containerd"))],
    }


def processes() -> list[str]:
    return [entry.name for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def command_of(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def started(directory: Path, **environment: str) -> subprocess.Popen[str]:
    """`up` as a process of its own."""
    code = (
        "import sys\n"
        "from clusterlab import __main__, building, lifecycle\n"
        f"lifecycle.INIT = {SMALL!r}\n"
        "building.build = lambda say: None\n"
        f"sys.exit(__main__.main(['up', '--dir', {str(directory)!r}]))\n"
    )
    command = [sys.executable, "-c", code]
    return subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def read_until(stream: Any, text: str) -> None:
    for line in stream:
        if text in line:
            return
    raise AssertionError(f"{text!r} was not said")


def test_it_is_reached_from_the_machine_and_a_second_start_says_that_it_runs(directory: Path) -> None:
    said: list[str] = []
    lifecycle.up(directory, None, said.append)
    assert {line.partition(" is ready")[0] for line in said} == {"registry", "containerd", "redis", "git", "slow"}
    told = lifecycle.status()
    assert told["state"] == "up"
    with urllib.request.urlopen(f"http://{told['registry']}/v2/", timeout=5) as answer:
        assert answer.status == 200
    repository = Path(told["repositories"]) / "one.git"
    subprocess.run(["git", "init", "--quiet", "--bare", repository], check=True)
    subprocess.run(["git", "ls-remote", f"{told['git']}/one.git"], check=True, timeout=20)
    again: list[str] = []
    lifecycle.up(None, None, again.append)
    assert again == [f"The lab runs already, in {directory}"]
    assert lifecycle.status()["pid"] == told["pid"]
    with pytest.raises(LabError, match="a machine can have one"):
        lifecycle.up(Path("/tmp/serinus-lab-other"), None, print)
    assert lifecycle.status()["state"] == "up"


def test_any_user_may_ask_where_it_is_and_the_owner_alone_reads_the_kubeconfig(directory: Path) -> None:
    with files.umask(0o077):  # as many machines have it for root
        lifecycle.up(directory, "nobody", lambda _: None)
    kubeconfig = Path(lifecycle.status()["kubeconfig"])
    assert kubeconfig.owner() == "nobody"
    assert kubeconfig.stat().st_mode & 0o777 == 0o600
    assert json.loads((place.RUN / "state.json").read_text())["state"] == "up"
    other: dict[str, Any] = {"user": "daemon", "group": "daemon", "extra_groups": []}
    for name, readable in (("kubeconfig", False), ("lab.json", True), ("state.json", True)):
        read = subprocess.run(["cat", place.RUN / name], capture_output=True, check=False, **other)
        assert (read.returncode == 0) == readable, name


def test_a_start_that_is_killed_leaves_nothing_once_it_is_down(directory: Path) -> None:
    up = started(directory, SLOW="yes")
    assert up.stdout is not None
    read_until(up.stdout, "registry is ready")
    up.kill()
    up.communicate()
    assert lifecycle.status()["state"] == "starting"
    pid = lifecycle.status()["pid"]
    again = started(directory)
    assert again.stdout is not None
    read_until(again.stdout, "The lab runs already")
    read_until(again.stdout, "registry is ready")
    again.kill()
    again.communicate()
    assert lifecycle.status()["pid"] == pid


def test_a_start_that_is_interrupted_ends_what_it_began(directory: Path) -> None:
    up = started(directory, SLOW="yes")
    assert up.stdout is not None
    read_until(up.stdout, "registry is ready")
    up.send_signal(signal.SIGINT)
    assert up.wait(30) == 130
    up.communicate()
    assert lifecycle.status()["state"] == "ended"
    assert not left(directory)["groups"]


def test_a_lab_that_is_killed_is_said_to_have_ended_and_another_takes_its_place(directory: Path) -> None:
    lifecycle.up(directory, None, lambda _: None)
    pid = lifecycle.status()["pid"]
    [inside] = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    os.kill(int(inside), signal.SIGKILL)
    until_ended()
    assert not left(directory)["processes"]
    lifecycle.up(directory, None, lambda _: None)
    assert lifecycle.status()["state"] == "up"
    assert lifecycle.status()["pid"] != pid


def until_ended() -> None:
    from clusters import eventually

    eventually("the lab has ended", lambda: lifecycle.status()["state"] == "ended", seconds=20)


def test_two_starts_at_once_are_refused(directory: Path) -> None:
    up = started(directory, SLOW="yes")
    assert up.stdout is not None
    read_until(up.stdout, "registry is ready")
    for what in (lambda: lifecycle.up(directory, None, print), lambda: lifecycle.down(print)):
        call: Callable[[], None] = what
        with pytest.raises(LabError, match="Another process starts or ends the lab at this moment"):
            call()
    up.terminate()
    assert up.wait(30) == 143
    up.communicate()
