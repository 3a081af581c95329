"""Linux processes: who they are, what they use, how they ended. A pid alone names nobody: it is used again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from functools import cache
from pathlib import Path


@cache
def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def identity(pid: int) -> str | None:
    """What no other process has had or will have: boot and start time (clock ticks). None: no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name stands in parentheses and may hold blanks and parentheses itself. See proc_pid_stat(5): state is
    # field 3, start time is field 22.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else f"{_boot()}/{fields[19]}"


def memory_bytes(pid: int) -> int | None:
    """Proportional set size: shared pages are divided among those that share them. A confined process does not let
    others of its user ask for that; then the resident set size, which is more. None: no such process."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), None)
    except PermissionError:
        return _resident_bytes(pid)
    except (FileNotFoundError, ProcessLookupError):
        return None


def _resident_bytes(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (FileNotFoundError, ProcessLookupError):
        return None


def ending(code: int | None) -> str:
    """An exit status as `subprocess` gives it, in words. None: it was not our child, so nobody knows."""
    if code is None:
        return "is gone"
    if code >= 0:
        return f"exited with {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


class Process:
    """A process to wait for and to signal, our child or not. Needs a running event loop."""

    def __init__(self, pid: int, pidfd: int, child: subprocess.Popen[bytes] | None = None) -> None:
        self.pid = pid
        self._pidfd = pidfd
        self._child = child
        loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[int | None] = loop.create_future()
        loop.add_reader(pidfd, self._on_exit)

    @classmethod
    def of(cls, child: subprocess.Popen[bytes]) -> Process:
        """Of our child, which leads a session of its own."""
        return cls(child.pid, os.pidfd_open(child.pid), child)

    @classmethod
    def adopt(cls, pid: int, expected: str) -> Process | None:
        """A process that another one started; None where it is gone, whoever has its pid now."""
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return None
        # Asked after the descriptor is held: from here on the pid cannot become another's unseen.
        if identity(pid) != expected:
            os.close(pidfd)
            return None
        return cls(pid, pidfd)

    def _on_exit(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        code = None
        if self._child is not None:
            # Not yet reaped, so the group is still its own: what the model has started ends with it.
            self._kill_group()
            code = self._child.wait()
        self.exited.set_result(code)

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    async def stop(self, grace: float) -> None:
        """Asks it to go (SIGTERM); returns when it is gone."""
        if not self.exited.done():
            self._send(signal.SIGTERM)
        await self.gone(grace)

    async def gone(self, grace: float) -> int | None:
        """Waits for its end and kills it, with its whole group, after `grace` seconds. Its exit status if known."""
        await asyncio.wait({self.exited}, timeout=grace)
        return await self.kill()

    async def kill(self) -> int | None:
        if not self.exited.done():
            self._kill_group()
            await asyncio.wait({self.exited})
        return self.exited.result()
