"""The host's side of one zygote: a process that has imported an environment's libraries and forks workers."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from serinus_runtime import written

from serinus.backends.host import launch
from serinus.backends.host.in_memory import in_memory
from serinus.backends.host.processes import Process
from serinus.backends.host.reach import readable
from serinus.core.home import Home

_LONGEST_ANSWER = 4096
_FORK_SECONDS = 30.0
"""For one fork, which takes milliseconds: longer than a busy machine makes of that."""


class Unfit(Exception):
    """This environment's libraries cannot be forked; the text says why."""


@dataclass(frozen=True, slots=True)
class Nest:
    """What a zygote is made of. `roots`: directories in which the models lie that its workers load."""

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
        """Returns when its imports are done. Unfit where they leave threads; OSError (TimeoutError) where it does not
        come up within `seconds`."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            process = _spawn(nest, _config(nest, home, runtime, confined, theirs.fileno()), runtime, log)
        zygote = cls(nest, process, ours)
        try:
            told = await zygote._answer(seconds)
        except OSError:
            await zygote.close()
            raise
        if told["threads"]:
            await zygote.close()
            raise Unfit(f"its libraries start threads when they are imported ({', '.join(told['threads'])})")
        return zygote

    async def fork(self, descriptors: Sequence[int]) -> int:
        """The pid of a new worker, which has become our child. OSError: there is none."""
        async with self._one_at_a_time:
            socket.send_fds(self._control, [b"fork"], descriptors)
            answer = await self._answer(_FORK_SECONDS)
        if "pid" not in answer:
            raise OSError(answer.get("error", "the zygote gave no pid"))
        return int(answer["pid"])

    async def close(self) -> None:
        """Its workers stay."""
        await self.process.kill()  # it holds nothing that could be lost
        async with self._one_at_a_time:
            self._control.close()

    async def _answer(self, seconds: float) -> Mapping[str, Any]:
        async with asyncio.timeout(seconds):
            said = await asyncio.get_running_loop().sock_recv(self._control, _LONGEST_ANSWER)
        if not said:
            raise ConnectionResetError("the zygote is gone")
        answer: Mapping[str, Any] = json.loads(said)
        return answer


def _config(nest: Nest, home: Home, runtime: Path, confined: bool, control: int) -> Mapping[str, Any]:
    return {
        "control_fd": control,
        "modules": nest.modules,
        "readable": readable(home.path, nest.python, *sorted(nest.roots), *launch.code(runtime)),
        "scratch": str(nest.scratch),
        "confine": confined,
    }


def _spawn(nest: Nest, config: Mapping[str, Any], runtime: Path, log: Path) -> Process:
    nest.scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
    with log.open("ab") as output:
        child = spawn("zygote", nest.python, runtime, config, output)
    launch.limit(child.pid)
    return Process.of(child)


def spawn(
    module: str, python: Path, runtime: Path, config: Mapping[str, Any], output: IO[bytes] | int
) -> subprocess.Popen[bytes]:
    """Starts `serinus_runtime.<module>`, which inherits the descriptor `config["control_fd"]`, in `config["scratch"]`,
    which is there."""
    told, scratch = in_memory(config), Path(config["scratch"])
    directory = None
    try:
        directory = written.opened(scratch)
        return subprocess.Popen(
            launch.command(python, runtime, module, f"/proc/self/fd/{told}"),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=f"/proc/self/fd/{directory}",
            env=launch.environment(python, scratch),
            pass_fds=(told, config["control_fd"]),
            start_new_session=True,
        )
    finally:
        os.close(told)
        if directory is not None:
            os.close(directory)
