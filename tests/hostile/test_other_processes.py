"""Files and processes that are not the worker's own: it changes and ends none, and what it has started ends with it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hostile_serinus import Shell, fresh
from whole_load import wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]

Bystander = subprocess.Popen[bytes]

TRIED = """
import ctypes, os, resource, signal
libc = ctypes.CDLL(None, use_errno=True)
def tried(attempt):
    try:
        attempt()
    except OSError as error:
        return type(error).__name__
    return "done"
def called(name, *arguments):
    if getattr(libc, name)(*arguments) == -1:
        raise OSError(ctypes.get_errno(), name)
"""

ON_A_FILE = {
    "chmod": "os.chmod(PATH, 0o777)",
    "chmod through a link": "(os.path.lexists('l') or os.symlink(PATH, 'l'), os.chmod('l', 0o777))",
    "fchmodat": "os.chmod(os.path.basename(PATH), 0o777, dir_fd=os.open(os.path.dirname(PATH), os.O_PATH))",
    "chown": "os.chown(PATH, os.getuid(), os.getgid())",
    "utime": "os.utime(PATH, (1, 1))",
    "setxattr": "os.setxattr(PATH, 'user.x', b'x')",
    "truncate": "os.truncate(PATH, 0)",
    "link": "os.link(PATH, 'stolen')",
    "rename": "os.rename(PATH, 'stolen')",
    "unlink": "os.unlink(PATH)",
    "open": "os.open(PATH, os.O_RDONLY)",
    "open by O_PATH, then /proc": "os.open(f'/proc/self/fd/{os.open(PATH, os.O_PATH)}', os.O_RDONLY)",
}


@pytest.mark.parametrize("way", ON_A_FILE)
def test_a_worker_changes_no_file_that_it_may_not_open(shell: Shell, way: str) -> None:
    for path in (shell.serinus.home.token, shell.serinus.home.path / "settings.json"):
        before = _facts(path)
        assert shell.run(f"{TRIED}\nprint(tried(lambda: {ON_A_FILE[way]}))", PATH=str(path)).strip() != "done"
        assert _facts(path) == before


@pytest.mark.parametrize("what", ["the home", "the directory of its artifact", "its interpreter", "a library"])
def test_a_worker_changes_no_mode_of_what_it_may_read(shell: Shell, what: str) -> None:
    """A descriptor for reading is enough for fchmod. The mode that is tried is the one that they have."""
    paths = {
        "the home": repr(str(shell.serinus.home.path)),
        "the directory of its artifact": "os.path.dirname(os.path.dirname(__import__('by_hand').__file__))",
        "its interpreter": "os.path.realpath(__import__('sys').executable)",
        "a library": "__import__('numpy').__file__",
    }
    code = f"{TRIED}\npath = {paths[what]}\nmode = os.stat(path).st_mode & 0o7777"
    code += "\nprint(path, tried(lambda: os.chmod(path, mode)))"
    code += "\nprint(path, tried(lambda: os.fchmod(os.open(path, os.O_RDONLY), mode)))"
    for line in shell.run(code).splitlines():
        _, became = line.rsplit(" ", 1)
        assert became in ("PermissionError", "OSError")


ON_A_PROCESS = {
    "the limit of processor time": "resource.prlimit(PID, resource.RLIMIT_CPU, (1, 1))",
    "the limit of files": "resource.prlimit(PID, resource.RLIMIT_NOFILE, (0, 0))",
    "a signal": "os.kill(PID, signal.SIGTERM)",
    "a signal to its group": "os.killpg(PID, signal.SIGTERM)",
    "a signal to its thread": "called('tgkill', PID, PID, 15)",
    "a signal by descriptor": "signal.pidfd_send_signal(os.pidfd_open(PID), signal.SIGTERM)",
    "a signal with a value": "called('sigqueue', PID, 15, 0)",
    "its priority": "os.setpriority(os.PRIO_PROCESS, PID, 19)",
    "its processors": "os.sched_setaffinity(PID, {0})",
    "its policy": "os.sched_setscheduler(PID, os.SCHED_IDLE, os.sched_param(0))",
    "its disk priority": "called('syscall', 251 if os.uname().machine == 'x86_64' else 30, 1, PID, 3 << 13)",
    "tracing": "called('ptrace', 16, PID, 0, 0)",
    "its memory": "open(f'/proc/{PID}/mem', 'r+b')",
    "its variables": "open(f'/proc/{PID}/environ').read()",
    "its files": "os.listdir(f'/proc/{PID}/fd')",
    "its chance of being killed": "open(f'/proc/{PID}/oom_score_adj', 'w').write('1000')",
}


@pytest.mark.parametrize("way", ON_A_PROCESS)
def test_a_worker_does_nothing_to_another_process(shell: Shell, bystander: Bystander, way: str) -> None:
    host = int((shell.serinus.home.host / "lock").read_text())
    for pid in (bystander.pid, host):
        before = _state(pid)
        told = shell.run(f"{TRIED}\nprint(tried(lambda: {ON_A_PROCESS[way]}))", PID=pid).strip()
        assert told in ("PermissionError", "OSError", "FileNotFoundError"), told
        assert _state(pid) == before
    assert bystander.poll() is None


@pytest.mark.parametrize("way", ["setsid", "a double fork", "a new group", "a thousand"])
def test_what_a_worker_has_started_is_gone_with_it(another_shell: Callable[[], Shell], way: str) -> None:
    shell = _once(another_shell)
    mark = fresh("left")
    leaves = {
        "setsid": "os.setsid()",
        "a double fork": "os.setsid()\n    if os.fork():\n        os._exit(0)",
        "a new group": "os.setpgid(0, 0)",
        "a thousand": "os.setsid()\n    for n in range(10):\n        if os.fork():\n            os._exit(0)",
    }
    code = f"""
import os, sys, time
read, write = os.pipe()
if os.fork() == 0:
    {leaves[way]}
    os.write(write, str(os.getpid()).encode())
    os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)", {mark!r}])
print(os.read(read, 20).decode())
"""
    pid = int(shell.run(code))
    assert mark in Path(f"/proc/{pid}/cmdline").read_text() or _alive(pid)
    shell.run("import os; os._exit(0)", fails=True)
    wait_until(lambda: not _alive(pid), 20, "the end of what the worker has started")
    wait_until(lambda: shell.serinus.infer(shell.model, [{"code": "1"}]).status_code == 200, 30, "the next worker")


_SHELLS: list[Shell] = []


def _once(deploy: Callable[[], Shell]) -> Shell:
    if not _SHELLS:
        _SHELLS.append(deploy())
    return _SHELLS[0]


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _facts(path: Path) -> tuple[object, ...]:
    found = path.stat()
    return found.st_mode, found.st_uid, found.st_size, found.st_mtime_ns, found.st_nlink


def _state(pid: int) -> tuple[object, ...]:
    limits = Path(f"/proc/{pid}/limits").read_text()
    return limits, os.getpriority(os.PRIO_PROCESS, pid), os.sched_getaffinity(pid), os.sched_getscheduler(pid)
