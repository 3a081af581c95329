"""What the lab refuses before it starts anything, in words."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clusterlab import ROOT, LabError, lifecycle, machine, network, place
from clusterlab.place import Place, Registered


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "clusterlab", *arguments], cwd=ROOT, capture_output=True, text=True, **options
    )


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No lab is known on this machine."""
    monkeypatch.setattr(place, "RUN", tmp_path / "run")
    monkeypatch.setattr(place, "_LAB", tmp_path / "run" / "lab.json")
    monkeypatch.setattr(place, "_STATE", tmp_path / "run" / "state.json")


def test_an_ordinary_user_is_told_why_it_needs_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match=r"needs root: it makes namespaces.*sudo make lab-up"):
        lifecycle.up(None, None, print)
    with pytest.raises(LabError, match="sudo make lab-down"):
        lifecycle.down(print)


def test_what_is_missing_is_named_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(machine, "PACKAGES", {"no-such-runc": "runc", "no-such-ctr": "containerd", "sh": "dash"})
    with pytest.raises(LabError, match=r"apt-get install --no-install-recommends containerd runc$"):
        machine.check()


@pytest.mark.usefixtures("nowhere")
def test_where_no_lab_runs_that_is_said() -> None:
    assert lifecycle.status() == {"state": "none"}
    assert "make lab-up" in lifecycle.as_text(lifecycle.status())


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ("/var/lib/lab", "cannot be in /var/lib/lab"),
        ("/run/lab", "cannot be in /run/lab"),
        ("/srv/a,b", "without blanks, quotes"),
        ("/srv/" + "a" * 60, "at most 60 characters"),
    ],
)
def test_a_directory_in_which_it_cannot_be_is_refused(wanted: str, why: str) -> None:
    with pytest.raises(LabError, match=why):
        lifecycle._directory(Path(wanted))


def test_a_directory_that_holds_something_else_is_not_taken() -> None:
    with pytest.raises(LabError, match="holds something else"):
        lifecycle._directory(Path("/usr"))


def test_a_second_lab_is_refused() -> None:
    running = Registered(Place(Path("/srv/one")), os.getpid(), "")
    lifecycle._check_same(running, None)
    lifecycle._check_same(running, Path("/srv/one"))
    with pytest.raises(LabError, match=r"A lab runs already, in /srv/one, and a machine can have one"):
        lifecycle._check_same(running, Path("/srv/two"))


def test_a_network_of_the_machine_that_has_addresses_of_the_lab_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    routes = [{"dst": "default", "dev": "eth0"}, {"dst": "10.99.0.0/24", "dev": place.INTERFACE}, {"dst": "fe80::/64"}]
    monkeypatch.setattr(network, "_json", lambda *_: routes)
    network.check_free()
    routes.append({"dst": "10.244.0.0/16", "dev": "cni0"})
    with pytest.raises(LabError, match=r"routes 10\.244\.0\.0/16 to cni0, and the lab uses 10\.244\.0\.0/24"):
        network.check_free()


def test_wrong_usage_is_status_2() -> None:
    assert run("sideways").returncode == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root is not refused")
def test_a_refusal_is_status_1_and_on_standard_error() -> None:
    refused = run("up", "--dir", "/tmp/none")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("The lab needs root")
