"""What confines models is tried, and asked of the kernel."""

from __future__ import annotations

import subprocess
import sys

import pytest
from serinus_runtime.isolation import landlock, observed, seccomp

from serinus.core.home import Home
from serinus.targets.local.host import confinement, launch

CONFINED = """
import sys
sys.path.insert(0, sys.argv[1])
from serinus_runtime.isolation import confine
{code}
print("there", flush=True)
input()
"""


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


def test_the_level_is_what_a_process_of_this_user_comes_to(home):
    said = confinement.level(home)
    calls = "system-call allow-list" if seccomp.known() else "no system-call filter on this architecture"
    assert said.startswith(f"Landlock ABI {landlock.abi()}, {calls}, ")
    assert said.endswith(("user, network and IPC namespaces", "no user namespaces"))


def test_without_confinement_there_is_none(home):
    home.settings.write_text('{"confined": false}')
    assert confinement.level(home) == "none"


def test_a_level_that_cannot_be_tried_is_unknown(home, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(home.path / "nothing"))
    assert confinement.level(home) == "unknown, as it could not be tried (FileNotFoundError)"


@pytest.mark.parametrize(
    ("code", "held"),
    [
        ("confine.confine(confine.own_directories(), None, ())", True),
        ("confine._give_up_rights(1)", not seccomp.known()),  # before the filter of system calls
        ("", False),
    ],
)
def test_the_kernel_is_asked_whether_a_process_is_confined(code, held):
    command = [sys.executable, "-I", "-c", CONFINED.format(code=code), str(launch.runtime_source())]
    started = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with started as process:
        assert process.stdout.readline() == b"there\n"
        assert observed.holds(process.pid) is held
        process.stdin.close()
    assert observed.holds(process.pid)  # it has ended; somebody else says so
