"""Small parts of the host, by themselves."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest
from serinus_runtime.process import starting
from serinus_runtime.process.last_words import ending
from serinus_runtime.process.process_memory import Known, Memory, known, resident
from serinus_runtime.process.zygote_protocol import COMPILED

from serinus.core.errors import InvalidInput
from serinus.core.home import Home
from serinus.lib.processes import identity
from serinus.targets.local.host import launch
from serinus.targets.local.host.processes import Process
from serinus.targets.local.host.state_files import WorkerRecord, file_name
from serinus.targets.local.host.surveyor import size_of
from serinus.targets.local.host.worker import Worker
from serinus.targets.local.host.zygotes import Zygotes, key


def test_an_ending_is_told_in_words():
    assert [ending(code) for code in (None, 0, 3, -9, -64, -99)] == [
        "is gone",
        "exited with 0",
        "exited with 3",
        "killed by SIGKILL",
        "killed by SIGRTMAX",
        "killed by signal 99",
    ]


def test_a_process_that_is_gone_uses_no_memory():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    child.kill()
    child.communicate()
    assert known(child.pid) is resident(child.pid) is None


FIRST_THREAD_ENDS = """
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(60,)).start()
ctypes.CDLL(None).pthread_exit(None)
"""


def test_a_worker_whose_first_thread_alone_has_ended_is_adopted_and_can_be_stopped():
    async def adopted() -> None:
        with subprocess.Popen([sys.executable, "-c", FIRST_THREAD_ENDS], start_new_session=True) as child:
            before = identity(child.pid)
            assert before is not None
            while ") Z " not in Path(f"/proc/{child.pid}/stat").read_text():
                await asyncio.sleep(0.01)
            process = Process.adopt(child.pid, before)
            assert process is not None, "another one would be started beside it"
            assert not process.exited.done()
            await process.kill()
            assert child.wait() == -signal.SIGKILL

    asyncio.run(asyncio.wait_for(adopted(), 30))


def test_a_process_that_does_not_let_itself_be_looked_into_is_known_by_what_it_has_told_and_how_it_grew():
    """As an ordinary user where the tests run as root, who may look into everything."""
    program = """
import ctypes, os
from serinus_runtime.process.process_memory import known, resident
if os.getuid() == 0:
    os.setuid(65534)
ready, say = os.pipe()
hold, release = os.pipe()
child = os.fork()
if child == 0:
    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
    os.write(say, b"x")
    os.read(hold, 1)
    os._exit(0)
os.read(ready, 1)
print(known(child), resident(child))
os.write(release, b"x")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    unknown, there = done.stdout.split()
    assert (unknown, int(there) > 1_000_000) == ("None", True)
    said = Known(Memory(share=7_000_000, own=3_000_000), resident=20_000_000)
    assert said.at(21_000_000) == Memory(8_000_000, 4_000_000)
    assert said.at(10_000_000) == Memory(0, 0)


def test_what_two_processes_share_is_the_own_of_neither():
    """A page that was written before a fork is in both, and half of it in the share of each. The two processes are
    small and have one thread: what a process writes after the fork, the other one owns alone."""
    program = """
import os, signal
from serinus_runtime.process.process_memory import known
ready, say = os.pipe()
held = bytearray(b"x") * (64 << 20)
child = os.fork()
if child == 0:
    os.write(say, b"x")
    signal.pause()
os.read(ready, 1)
found = known(child).memory
os.kill(child, signal.SIGKILL)
print(found.share, found.own)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    share, own = map(int, done.stdout.split())
    size = 64 << 20
    assert own < size / 4 < size / 3 < share


def test_a_process_that_has_put_itself_under_less_keeps_that_and_gets_the_other_limits():
    program = "import resource as r; r.setrlimit(r.RLIMIT_DATA, (1 << 30, 1 << 30)); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        starting.limit(child.pid, memory_bytes=1 << 40, file_bytes=1 << 20)
        found = Path(f"/proc/{child.pid}/limits").read_text()
        child.kill()
    limits = {line[:25].strip(): line[25:].split()[0] for line in found.splitlines()}
    assert limits["Max file size"] == str(1 << 20)
    assert limits["Max core file size"] == "0"
    raised = os.geteuid() == 0 and limits["Max data size"] == str(1 << 40)  # root may
    assert raised or limits["Max data size"] == str(1 << 30)


def test_a_release_id_cannot_name_a_file_elsewhere():
    assert file_name("card fraud/2-1-abcdef") == "card%20fraud%2F2-1-abcdef"
    for hostile in ("", ".", "..", ".hidden", "x" * 201):
        with pytest.raises(InvalidInput):
            file_name(hostile)


def package_with(directory: Path, code: str) -> Path:
    package = directory / "site-packages" / "serinus_runtime"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text(code)
    return package.parent


def test_the_staged_runtime_holds_one_package_and_nothing_that_lies_beside_it(tmp_path):
    source = package_with(tmp_path, "")
    (source / "numpy").mkdir()
    staged = {launch.stage(Home(tmp_path / "h"), source) for _ in range(2)}.pop()
    assert [entry.name for entry in staged.iterdir()] == ["serinus_runtime"]
    assert [entry.name for entry in staged.parent.iterdir()] == [staged.name]
    assert launch.code(staged)[1] == staged / "serinus_runtime"


def test_the_staged_runtime_stays_as_it_is_when_another_version_is_installed(tmp_path):
    home = Home(tmp_path / "h")
    before = launch.stage(home, package_with(tmp_path, "one"))
    after = launch.stage(home, package_with(tmp_path, "two"))
    assert [(path / "serinus_runtime/__init__.py").read_text() for path in (before, after)] == ["one", "two"]


def test_a_few_copies_of_the_runtime_are_kept(tmp_path):
    home = Home(tmp_path / "h")
    staged = [launch.stage(home, package_with(tmp_path, str(number))) for number in range(5)]
    for age, path in enumerate(reversed(staged)):
        if path.exists():
            os.utime(path, (1e9 - age, 1e9 - age))
    last = launch.stage(home, package_with(tmp_path, "last"))
    assert last.exists()
    assert len(list(last.parent.iterdir())) == 3


def test_the_installed_runtime_is_found():
    assert (launch.runtime_source() / "serinus_runtime/__init__.py").is_file()


@pytest.mark.parametrize(("settings", "confined"), [(None, True), ("{}", True), ('{"confined": false}', False)])
def test_models_are_confined_unless_the_settings_say_otherwise(tmp_path: Path, settings, confined):
    home = Home(tmp_path)
    if settings is not None:
        home.settings.write_text(settings)
    assert launch.confined(home) is confined


def test_a_worker_is_known_by_how_it_has_grown_until_its_turn_to_be_measured_comes():
    program = (
        "import os; print(flush=True); input(); held = bytearray(os.urandom(1) * (8 << 20)); print(flush=True); input()"
    )
    command = [sys.executable, "-u", "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        record = WorkerRecord("fraud-1-aaaaaa", child.pid, "", ready=True)
        child.stdout.readline()
        worker = Worker(cast("Process", None), record, known=Known(Memory(3, 1), resident(child.pid)))
        child.stdin.write(b"\n")
        child.stdin.flush()
        child.stdout.readline()
        grown = size_of(worker, None, 7.0, thorough=False)
        assert (8 << 20) <= grown.own == grown.share - 2 < (12 << 20)
        assert worker.weighed == 0.0
        found = size_of(worker, None, 7.0, thorough=True)
        assert found is not None
        assert worker.weighed == 7.0
        # Other processes change its share of what they map as well, and the kernel what it has in memory.
        assert abs(found.own - known(child.pid).memory.own) < 1 << 20
        assert abs(found.share - known(child.pid).memory.share) < 2 << 20
        again = size_of(worker, 1 << 20, 8.0, thorough=False)  # beyond its limit
        assert again is not None
        assert worker.weighed == 8.0
        assert abs(again.own - found.own) < 1 << 20
        child.kill()
    assert size_of(worker, None, 9.0, thorough=True) is None


def test_a_zygote_of_compiled_releases_imports_the_runtime_by_its_present_names(tmp_path: Path) -> None:
    """Whatever an earlier version has kept of what workers there import."""
    home, python = Home(tmp_path / "home"), tmp_path / "bin" / "python"
    kept = home.host / "zygotes" / f"{key(python)}.json"
    kept.parent.mkdir(parents=True)
    kept.write_text(json.dumps(["numpy", "scipy", "serinus_runtime.compiled"]))

    async def learnt() -> list[str]:
        zygotes = Zygotes(home, tmp_path, confined=False, at_once=1)
        zygotes.expect(python, [], compiled=True, soon=False)
        zygotes.learn(python, ["pandas"])
        await zygotes.close()
        return list(json.loads(kept.read_text()))

    modules = asyncio.run(learnt())
    assert modules == ["numpy", "scipy", *COMPILED[1:], "pandas"]
    assert all(importlib.util.find_spec(name) for name in COMPILED if name.startswith("serinus_runtime"))
