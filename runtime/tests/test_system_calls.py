"""Every system call that a model may not use, tried from inside a confined process, and those that libraries need."""

from __future__ import annotations

import errno
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from refused_calls import REFUSED

from serinus_runtime.isolation import landlock, permitted, seccomp, syscalls

SOURCE = Path(__file__).resolve().parent.parent / "src"
MACHINE = platform.machine()
KINDS = (permitted.WORKER, permitted.TRIAL, permitted.ZYGOTE, permitted.BUILD)
OF_A_ZYGOTE = {"landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"}
OF_A_WORKER = {"setsid", "setpgid"}
HERE = {name: numbers[syscalls.MACHINES.index(MACHINE)] for name, numbers in REFUSED.items()}
ERRORS = {
    **dict.fromkeys(("clone3", "openat2", "execveat"), errno.ENOSYS),
    **dict.fromkeys(filter(re.compile("[lf]?(get|list)xattr(at)?$").match, REFUSED), errno.EOPNOTSUPP),
}

pytestmark = pytest.mark.skipif(not seccomp.known(MACHINE), reason="no filter for this architecture")

# Numbers and -1 as every argument: whatever was permitted by mistake would fail with another error, and do nothing.
TRY = """
import ctypes, errno, json, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from serinus_runtime.isolation import confine
told = json.loads(sys.stdin.read())
scratch = Path(sys.argv[2])
confine.prepare(scratch)
confine.confine(confine.own_directories(), scratch, (), kind=told["kind"])
libc = ctypes.CDLL(None, use_errno=True)
found = {}
for name, number, arguments in told["calls"]:
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments))
    found[name] = ctypes.get_errno() if result == -1 else 0
print(json.dumps(found))
"""

Call = tuple[str, int, Sequence[int]]


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Mapping[str, int]]:
    """Error numbers of calls from inside a process of a kind, by their names; 0 where the call did something."""

    def ask(kind: str, calls: Sequence[Call]) -> Mapping[str, int]:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", TRY, str(SOURCE), str(tmp_path_factory.mktemp("scratch"))],
            input=json.dumps({"kind": kind, "calls": calls}), capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    return ask


@pytest.fixture(scope="module")
def refusals(tried: Callable[..., Mapping[str, int]]) -> Mapping[str, Mapping[str, int]]:
    calls = [(name, number, [-1] * 6) for name, number in HERE.items() if number is not None]
    assert len(calls) > 130
    return {kind: tried(kind, [one for one in calls if one[0] not in _permitted_after_all(kind)]) for kind in KINDS}


def error(kind: str, name: str) -> int:
    """0: the call seems to succeed, and does nothing, where the kernel would have complained of its arguments."""
    if kind == permitted.BUILD and re.fullmatch("[lf]?ch(mod|own)(at2?)?|f?utime(s|ns)?(at)?", name):
        return 0
    return ERRORS.get(name, errno.EPERM)


def _permitted_after_all(kind: str) -> set[str]:
    of_a_worker = OF_A_WORKER if kind in (permitted.WORKER, permitted.ZYGOTE) else set()
    return of_a_worker | (OF_A_ZYGOTE if kind == permitted.ZYGOTE else set())


@pytest.mark.parametrize("name", [name for name, number in HERE.items() if number is not None])
def test_a_model_cannot_use(name: str, refusals: Mapping[str, Mapping[str, int]]) -> None:
    for kind in KINDS:
        if name not in _permitted_after_all(kind):
            assert refusals[kind][name] == error(kind, name), kind


# --- by arguments -------------------------------------------------------------------------------------------

NEW_NAMESPACES = {
    "mount": 0x20000, "cgroup": 0x02000000, "uts": 0x04000000, "ipc": 0x08000000, "user": 0x10000000,
    "pid": 0x20000000, "network": 0x40000000,
}  # fmt: skip
FS_IOC_SETFLAGS, FS_IOC_ENABLE_VERITY, TIOCSTI, FIOSETOWN = 0x40086602, 0x40806685, 0x5412, 0x8901
F_SETOWN, F_SETSIG, F_SETOWN_EX, F_SETLEASE, F_NOTIFY = 8, 10, 15, 1024, 1026
PR_SET_DUMPABLE, PR_SET_MM, PR_SET_CHILD_SUBREAPER, PR_SET_PTRACER, PR_SCHED_CORE = 4, 35, 36, 0x59616D61, 62
ONE = 1  # the pid of another process
BY_ARGUMENTS: Mapping[str, tuple[str, Sequence[int]]] = {
    **{f"clone into a new {name} namespace": ("clone", (flag, 0)) for name, flag in NEW_NAMESPACES.items()},
    "a child of its parent's": ("clone", (0x8000, 0)),
    "another's limits": ("prlimit64", (ONE, 0, 0, 0)),
    "another's processors": ("sched_setaffinity", (ONE, 0, 0)),
    "another personality": ("personality", (0x0040000,)),
    "a pair of datagram sockets": ("socketpair", (1, 2, 0, 0)),
    "a pair of datagram sockets that do not block": ("socketpair", (1, 2 | 0o4000, 0, 0)),
    "a pair of TIPC sockets": ("socketpair", (30, 1, 0, 0)),
    "attributes of a file that is open for reading": ("ioctl", (0, FS_IOC_SETFLAGS, 0)),
    "a file that stays as it is": ("ioctl", (0, FS_IOC_ENABLE_VERITY, 0)),
    "typing at a terminal": ("ioctl", (0, TIOCSTI, 0)),
    "another's signals by ioctl": ("ioctl", (0, FIOSETOWN, 0)),
    "another's signals by fcntl": ("fcntl", (0, F_SETOWN, ONE)),
    "which signal that is": ("fcntl", (0, F_SETSIG, 9)),
    "another thread's signals by fcntl": ("fcntl", (0, F_SETOWN_EX, 0)),
    "a lease on a file": ("fcntl", (0, F_SETLEASE, 0)),
    "what happens in a directory": ("fcntl", (0, F_NOTIFY, 0)),
    "to be dumped": ("prctl", (PR_SET_DUMPABLE, 1, 0, 0, 0)),
    "another map of memory": ("prctl", (PR_SET_MM, 1, 0, 0, 0)),
    "the orphans of its children": ("prctl", (PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)),
    "to be traced": ("prctl", (PR_SET_PTRACER, -1, 0, 0, 0)),
    "another's core scheduling": ("prctl", (PR_SCHED_CORE, 2, ONE, 0, 0)),
}
NEWER = {"the next call of the kernel": 470, "a call of another table": 0x40000000, "no call at all": 0x7FFFFFFF}


@pytest.mark.parametrize("kind", [permitted.WORKER, permitted.TRIAL])
def test_a_model_cannot_ask_for(kind: str, tried: Callable[..., Mapping[str, int]]) -> None:
    calls = [(what, syscalls.number(name, MACHINE), given) for what, (name, given) in BY_ARGUMENTS.items()]
    found = tried(kind, [(what, number, given) for what, number, given in calls if number is not None])
    assert {what: errno.errorcode[code] for what, code in found.items() if code != errno.EPERM} == {}
    assert set(found) == set(BY_ARGUMENTS)


def test_what_is_newer_than_the_table_is_not_there(tried: Callable[..., Mapping[str, int]]) -> None:
    found = tried(permitted.WORKER, [(what, number, (-1,) * 6) for what, number in NEWER.items()])
    assert found == dict.fromkeys(NEWER, errno.ENOSYS)


# --- the program, for the architecture and the kernels that this machine does not have ------------------------


def outcome(program: Sequence[seccomp.Row], machine: str, number: int, arguments: Sequence[int] = ()) -> int | None:
    """What the kernel would do: an error number, or None where it permits the call."""
    given = [value & 0xFFFFFFFFFFFFFFFF for value in (*arguments, *[0] * 6)]
    memory = {0: number, 4: {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}.get(machine, 0)}
    memory.update({16 + 8 * place: given[place] & 0xFFFFFFFF for place in range(6)})
    value, at = 0, 0
    while True:
        code, yes, no, operand = program[at]
        at += 1
        if code == 0x20:
            value = memory[operand]
        elif code == 0x54:
            value &= operand
        elif code == 0x05:
            at += operand
        elif code == 0x06:
            return None if operand == 0x7FFF0000 else operand & 0xFFFF
        else:
            at += yes if {0x15: value == operand, 0x35: value >= operand}[code] else no


def program_of(kind: str, machine: str, abi: int = 7, own: int = 0) -> Sequence[seccomp.Row]:
    return seccomp.program(permitted.calls(kind, abi, own), permitted.refused_with(kind), machine)


@pytest.mark.parametrize("machine", syscalls.MACHINES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_filter_decides_as_the_table_says(kind: str, machine: str) -> None:
    filtering, place = program_of(kind, machine), syscalls.MACHINES.index(machine)
    refused = {numbers[place]: name for name, numbers in REFUSED.items() if name not in _permitted_after_all(kind)}
    permitted_ones = {number for numbers in syscalls.USED.values() if (number := numbers[place]) is not None}
    assert not permitted_ones & set(refused)
    for number in range(syscalls.NEWEST + 1):
        name = refused.get(number)
        if name is not None:
            expected: int | None = error(kind, name)
            assert outcome(filtering, machine, number, [-1] * 6) == expected, name
    conditional = {syscalls.number(name, machine) for name, where in permitted.calls(kind, 7).items() if where}
    for number in permitted_ones - conditional:
        assert outcome(filtering, machine, number, [-1] * 6) is None, number
    for name, arguments in BY_ARGUMENTS.values():
        known = syscalls.number(name, machine)
        assert known is not None
        assert outcome(filtering, machine, known, arguments) == errno.EPERM, (name, arguments)
    assert outcome(filtering, machine, 470) == errno.ENOSYS
    assert outcome(filtering, "i386", 1) == errno.EPERM


@pytest.mark.parametrize("machine", syscalls.MACHINES)
def test_what_an_older_kernel_does_not_cover_is_refused_by_the_filter(machine: str) -> None:
    def decided(abi: int, kind: str, name: str, *arguments: int, own: int = 77) -> int | None:
        number = syscalls.number(name, machine)
        assert number is not None
        return outcome(program_of(kind, machine, abi, own), machine, number, arguments)

    trunc = os.O_TRUNC
    for abi, error in ((2, errno.EPERM), (3, None)):
        assert decided(abi, permitted.WORKER, "truncate") == error
        assert decided(abi, permitted.WORKER, "openat", -100, 0, os.O_RDONLY | os.O_CLOEXEC | trunc) == error
    for flags in (os.O_RDONLY, os.O_WRONLY | trunc | os.O_CREAT, os.O_RDWR | trunc, os.O_RDWR):
        assert decided(2, permitted.WORKER, "openat", -100, 0, flags) is None
    for name in ("kill", "tkill", "tgkill"):
        assert decided(6, permitted.WORKER, name, 1) is None  # Landlock asks whose process it is
        assert decided(5, permitted.WORKER, name, 1) == errno.EPERM
        assert decided(5, permitted.WORKER, name, 0) == errno.EPERM
        assert decided(5, permitted.WORKER, name, 77) is None
        assert decided(5, permitted.ZYGOTE, name, 77) == errno.EPERM


def test_a_name_has_one_number() -> None:
    for machine in range(len(syscalls.MACHINES)):
        numbers = [n[machine] for n in (*syscalls.USED.values(), *syscalls.SPECIAL.values()) if n[machine] is not None]
        assert len(numbers) == len(set(numbers))
    assert {name: REFUSED[name] for name in syscalls.SPECIAL} == dict(syscalls.SPECIAL)


def test_this_kernel_has_landlock() -> None:
    """Without it nothing above would have been tried."""
    assert landlock.abi() >= 1
