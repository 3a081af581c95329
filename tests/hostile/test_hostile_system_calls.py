"""Each system call that no model may use, tried by a deployed model in its worker, and what is told of its walls."""

from __future__ import annotations

import errno
import json
import platform
from collections.abc import Mapping
from pathlib import Path

import pytest
from hostile_serinus import Attacked, Shell
from refused_calls import REFUSED
from serinus_runtime.isolation import landlock

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]

MACHINE = ("x86_64", "aarch64").index(platform.machine())
OF_A_WORKER = ("setsid", "setpgid")
"""It may start sessions and groups: the host ends what it leaves."""
HERE = {name: numbers[MACHINE] for name, numbers in REFUSED.items() if name not in OF_A_WORKER}
CALLS = {name: number for name, number in HERE.items() if number is not None}

TRY = """
import ctypes, json
libc = ctypes.CDLL(None, use_errno=True)
found = {}
for name, number in NUMBERS.items():
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(-1)] * 6)
    found[name] = ctypes.get_errno() if result == -1 else 0
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def tried(shell: Shell) -> Mapping[str, int]:
    """Error numbers by the names of the calls; 0 where one did something."""
    return dict(json.loads(shell.run(TRY, NUMBERS=CALLS)))


@pytest.mark.parametrize("name", CALLS)
def test_a_deployed_model_cannot_use(name: str, tried: Mapping[str, int]) -> None:
    assert tried[name] in (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP)


def test_its_worker_is_confined_by_what_the_kernel_says(shell: Shell) -> None:
    status = Path(f"/proc/{shell.pid}/status").read_text()
    for line in ("Seccomp:\t2", "NoNewPrivs:\t1", "CapEff:\t0000000000000000", "CapPrm:\t0000000000000000"):
        assert line in status


def test_status_says_which_level_holds(serinus: Attacked) -> None:
    level = serinus.api.get("/v1/status").raise_for_status().json()["confinement"]
    assert level.startswith(f"Landlock ABI {landlock.abi()}, system-call allow-list, ")
    assert f"Confinement: {level}." in " ".join(serinus.said("status").decode().split())
