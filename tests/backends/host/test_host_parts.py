"""Small parts of the host, by themselves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from serinus.backends.host import launch
from serinus.backends.host.keeper import BackOff
from serinus.backends.host.limits import Limits
from serinus.backends.host.processes import ending, identity, memory_bytes
from serinus.backends.host.records import file_name
from serinus.core.errors import InvalidInput
from serinus.core.home import Home


def test_the_delay_doubles_up_to_its_limit():
    back_off = BackOff(Limits())
    delays = [back_off.after(ready_for=1.0) for _ in range(11)]
    assert delays == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30])


def test_after_a_minute_of_health_there_is_no_delay_and_the_next_one_is_short_again():
    back_off = BackOff(Limits())
    assert [back_off.after(ready) for ready in (0, 0, 59, 60, 0, 0)] == pytest.approx([0.1, 0.2, 0.4, 0.0, 0.1, 0.2])


def test_an_ending_is_told_in_words():
    assert [ending(code) for code in (None, 0, 3, -9, -64, -99)] == [
        "is gone",
        "exited with 0",
        "exited with 3",
        "killed by SIGKILL",
        "killed by SIGRTMAX",
        "killed by signal 99",
    ]


def test_a_process_has_one_identity_while_it_lives_and_none_as_a_zombie():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert identity(child.pid) == identity(child.pid) != identity(os.getpid())
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert identity(child.pid) is None
    child.communicate()
    assert memory_bytes(child.pid) is None


def test_memory_is_measured_also_where_a_process_does_not_let_itself_be_looked_into():
    """As an ordinary user where the tests run as root, who may look into everything."""
    program = """
import ctypes, os
from serinus.backends.host.processes import memory_bytes
if os.getuid() == 0:
    os.setuid(65534)
child = os.fork()
if child == 0:
    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
    os.write({write}, b"x")
    os.read({hold}, 1)
    os._exit(0)
"""
    ready, say = os.pipe()
    hold, release = os.pipe()
    program = (
        program.format(write=say, hold=hold)
        + f"os.read({ready}, 1); print(memory_bytes(child), memory_bytes(child, 1_000_000)); os.write({release}, b'x')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        pass_fds=(ready, say, hold, release),
    )
    size, less = map(int, done.stdout.split())
    assert size > 1_000_000
    assert less == size - 1_000_000


def test_a_release_id_cannot_name_a_file_elsewhere():
    assert file_name("card fraud/2-1-abcdef") == "card%20fraud%2F2-1-abcdef"
    for hostile in ("", ".", "..", ".hidden", "x" * 201):
        with pytest.raises(InvalidInput):
            file_name(hostile)


def test_the_staged_runtime_holds_one_package_and_nothing_that_lies_beside_it(tmp_path):
    for name in ("serinus_runtime", "numpy"):
        (tmp_path / "site-packages" / name).mkdir(parents=True)
    for _ in range(2):
        staged = launch.stage(Home(tmp_path / "h"), tmp_path / "site-packages")
    assert [entry.name for entry in staged.iterdir()] == ["serinus_runtime"]
    assert launch.code(staged)[1] == tmp_path / "site-packages/serinus_runtime"


def test_the_installed_runtime_is_found():
    assert (launch.runtime_source() / "serinus_runtime/__init__.py").is_file()


@pytest.mark.parametrize(("settings", "confined"), [(None, True), ("{}", True), ('{"confined": false}', False)])
def test_models_are_confined_unless_the_settings_say_otherwise(tmp_path: Path, settings, confined):
    home = Home(tmp_path)
    if settings is not None:
        home.settings.write_text(settings)
    assert launch.confined(home) is confined
