"""The host's side of one zygote, which is a process that has imported an environment's libraries and forks workers."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from serinus_runtime.process import starting
from serinus_runtime.process.in_memory import in_memory
from serinus_runtime.process.zygote_protocol import LONGEST_ANSWER, Unfit, check_first, understood

from serinus.core.home import Home
from serinus.lib.processes import parent
from serinus.targets.local.host import launch
from serinus.targets.local.host.processes import Process, descriptor_of
from serinus.targets.local.host.reach import readable

_FORK_SECONDS = 30.0
"""The time limit for one fork, which takes milliseconds and, even on a busy machine, less than this limit."""


@dataclass(frozen=True, slots=True)
class Nest:
    """The parts from which a zygote is made. `roots` are the directories that hold the models which its workers
    load."""

    python: Path
    modules: tuple[str, ...]
    roots: frozenset[Path]
    scratch: Path
    """Holds the scratch directories of all of its workers."""


class Zygote:
    """Forks one worker at a time."""

    def __init__(self, nest: Nest, process: Process, control: socket.socket) -> None:
        self.nest = nest
        self.process = process
        self._control = control
        self._one_at_a_time = asyncio.Lock()

    @classmethod
    async def start(cls, nest: Nest, home: Home, runtime: Path, confined: bool, log: Path, seconds: float) -> Zygote:
        """Returns when its imports are done. Raises Unfit where they leave threads, and OSError (TimeoutError) where
        the zygote does not come up within `seconds`."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            process = _spawn(nest, _config(nest, home, runtime, confined, theirs.fileno()), runtime, log)
        zygote = cls(nest, process, ours)
        try:
            check_first(await zygote._answer(seconds))
        except (OSError, Unfit):
            await zygote.close()
            raise
        return zygote

    async def fork(self, descriptors: Sequence[int]) -> Process:
        """A new worker, which has become a child of this process. Raises OSError if there is none, or if it is not a
        descendant of the zygote."""
        async with self._one_at_a_time:
            held, ours = os.pipe()
            try:
                socket.send_fds(self._control, [b"fork"], [*descriptors, held])
                answer = await self._answer(_FORK_SECONDS)
                pid = answer.get("pid")
                if type(pid) is not int:
                    raise OSError(str(answer.get("error", "the zygote gave no pid"))[:200])
                worker = self._descendant(pid)
            finally:
                os.close(held)
                os.close(ours)
            try:
                await self._answer(_FORK_SECONDS)
                if not worker.exited.done() and parent(pid) != os.getpid():
                    raise ConnectionError("the zygote did not leave its worker to the host")
            except BaseException:
                worker.send(signal.SIGKILL)
                raise
            return worker

    def _descendant(self, pid: int) -> Process:
        """The process that the zygote names. The zygote's statement is only a claim: the process must be its
        grandchild, whose parent waits for us. Raises OSError otherwise."""
        pidfd = descriptor_of(pid)
        # This is read after the descriptor was opened. The parent lives as long as we hold the pipe.
        between = parent(pid)
        if between is None or parent(between) != self.process.pid:
            os.close(pidfd)
            raise ConnectionError("the zygote named a process that is not its own")
        return Process.reparented(pid, pidfd)

    async def close(self) -> None:
        """Its workers remain."""
        await self.process.kill()  # It holds nothing that could be lost.
        async with self._one_at_a_time:
            self._control.close()

    async def _answer(self, seconds: float) -> Mapping[str, Any]:
        async with asyncio.timeout(seconds):
            said = await asyncio.get_running_loop().sock_recv(self._control, LONGEST_ANSWER)
        if not said:
            raise ConnectionResetError("the zygote is gone")
        return understood(said)


def _config(nest: Nest, home: Home, runtime: Path, confined: bool, control: int) -> Mapping[str, Any]:
    return {
        "control_fd": control,
        "modules": nest.modules,
        "readable": readable(home.path, nest.python, *sorted(nest.roots), *launch.code(runtime)),
        "scratch": str(nest.scratch),
        "confine": confined,
    }


def _spawn(nest: Nest, config: Mapping[str, Any], runtime: Path, log: Path) -> Process:
    with log.open("ab") as output:
        child = spawn("process.zygote", nest.python, runtime, config, output, starting.outliving)
    starting.limit(child.pid)
    return Process.of(child)


_Started = TypeVar("_Started")


def spawn(
    module: str,
    python: Path,
    runtime: Path,
    config: Mapping[str, Any],
    output: IO[bytes] | int,
    start: Callable[..., _Started],
) -> _Started:
    """Starts `serinus_runtime.<module>` in `config["scratch"]`; it inherits the descriptor `config["control_fd"]`.
    `start` is called with the command and options of `subprocess.Popen`."""
    told, scratch = in_memory(config), Path(config["scratch"])
    try:
        command = launch.command(python, runtime, module, f"/proc/self/fd/{told}")
        with starting.options(python, scratch, output, output, (told, config["control_fd"])) as options:
            return start(command, **options)
    finally:
        os.close(told)
