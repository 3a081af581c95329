"""The zygote of the pod, from which the workers are forked. It has imported their libraries once.

The first zygote imports what loading the model is known to need, or what every compiled release needs. If there are to
be several workers, the first worker's report tells what else it has imported, and a second zygote with these modules
replaces the first. If no zygote can be started, the workers are interpreters of their own. Only memory and the time to
start depend on that.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any, Mapping, Sequence

from serinus_runtime.pod.children import Child
from serinus_runtime.pod.launch import Launcher
from serinus_runtime.pod.output import Printed
from serinus_runtime.pod.restarts import HEALTHY, pause_after
from serinus_runtime.process import kernel
from serinus_runtime.process.wire import send
from serinus_runtime.process.zygote_protocol import COMPILED, LONGEST_ANSWER, Unfit, check_first, understood

_IMPORT_SECONDS = 60.0
_FORK_SECONDS = 30.0
"""The time limit of one fork in seconds. A fork takes milliseconds, also on a busy machine."""


class Zygote:
    """A process that forks one worker at a time."""

    def __init__(self, launcher: Launcher, child: Child, control: socket.socket, printed: Printed) -> None:
        self.child = child
        self._children = launcher.children
        self._control = control
        child.exited.add_done_callback(lambda _: printed.close())

    @classmethod
    async def start(cls, launcher: Launcher, modules: Sequence[str]) -> Zygote:
        """Returns when its imports are done. Raises Unfit if they leave threads, and OSError if it does not start."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        printed = Printed(launcher.output)
        try:
            config = launcher.zygote_config(modules, theirs.fileno())
            child = launcher.start("process.zygote", config, printed, (theirs.fileno(),))
        except BaseException:
            ours.close()
            printed.close()
            raise
        finally:
            theirs.close()
            os.close(printed.end)
        zygote = cls(launcher, child, ours, printed)
        try:
            check_first(await zygote._answer(_IMPORT_SECONDS))
        except BaseException:
            await zygote.close()
            raise
        return zygote

    async def fork(self, descriptors: Sequence[int]) -> Child:
        """Returns a new worker, which has become a child of this process. Raises OSError if there is none, or if the
        named process is not the zygote's."""
        try:
            with self._children.adopting():
                return await self._forked(descriptors)
        except BaseException:
            self._children.end_orphans()  # a worker that is not adopted must not begin to serve
            raise

    async def _forked(self, descriptors: Sequence[int]) -> Child:
        held, ours = os.pipe()
        try:
            send(self._control, b"fork", [*descriptors, held])
            answer = await self._answer(_FORK_SECONDS)
            pid = answer.get("pid")
            if type(pid) is not int:
                raise ConnectionError(str(answer.get("error", "the zygote gave no pid"))[:200])
            between = kernel.parent(pid)
            if between is None or kernel.parent(between) != self.child.pid:
                raise ConnectionError("the zygote named a process that is not its own")
        finally:
            os.close(held)
            os.close(ours)
        await self._answer(_FORK_SECONDS)
        return self._children.adopt(pid)

    async def close(self) -> None:
        """Ends the zygote. Its workers go on."""
        await self.child.kill()  # it holds nothing that could be lost
        self._control.close()

    async def _answer(self, seconds: float) -> Mapping[str, Any]:
        loop = asyncio.get_running_loop()
        try:
            said = await asyncio.wait_for(loop.sock_recv(self._control, LONGEST_ANSWER), seconds)
        except asyncio.TimeoutError:
            raise TimeoutError(f"the zygote did not answer within {seconds:g} s") from None
        if not said:
            raise ConnectionResetError("the zygote is gone")
        return understood(said)


class Zygotes:
    """Keeps one zygote at a time. `generation` counts them. A worker of an earlier generation shares less memory."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self._modules: tuple[str, ...] = COMPILED if launcher.release.compiled else ()
        self._refused = False
        """The learnt modules are not imported, because their import leaves threads."""
        self._zygote: Zygote | None = None
        self._since = 0.0
        """The time when the present zygote was started."""
        self._failures = 0
        """The number of zygotes in a row that did not start, or ended soon."""
        self._not_before = 0.0
        self.unfit = ""
        """The reason why this pod has no zygote at all, or an empty string."""
        self.generation = 0

    @property
    def child(self) -> Child | None:
        return None if self._zygote is None else self._zygote.child

    @property
    def wanted(self) -> bool:
        """Whether a zygote is to be started now."""
        alive = self._zygote is not None and self._zygote.child.alive
        return not alive and not self.unfit and asyncio.get_running_loop().time() >= self._not_before

    @property
    def not_before(self) -> float:
        """The time of the next try, by the clock of the event loop."""
        return self._not_before

    async def fork(self, descriptors: Sequence[int]) -> Child | None:
        """Returns a new worker, or None if none can be forked."""
        if self.wanted:
            await self.renew()
        if self._zygote is None:
            return None
        try:
            return await self._zygote.fork(descriptors)
        except OSError as error:
            self._launcher.output.say(f"the zygote forks no more: {error}")
            await self.close()
            self._failed()
            return None

    async def learn(self, modules: Sequence[str]) -> None:
        """Notes the modules that a worker has imported. A zygote without them is ended, and then replaced. Two at a
        time would need the memory of both. The workers go on."""
        new = [name for name in modules if name not in self._modules]
        if new and not self._refused and not self.unfit:
            self._modules = (*self._modules, *new)
            await self.close()
            await self.renew()

    async def renew(self) -> None:
        """Starts a zygote in the place of one that has ended. If zygotes end soon, the next one is delayed."""
        before, modules = self._zygote, self._modules
        now = asyncio.get_running_loop().time()
        if before is not None:
            self._failures = 0 if now - self._since >= HEALTHY else self._failures + 1
            await before.close()
        self._zygote = None
        try:
            self._zygote = await Zygote.start(self._launcher, modules)
        except Unfit as reason:
            self._refuse(str(reason))
        except OSError as error:
            self._launcher.output.say(f"the zygote does not come up: {error or type(error).__name__}")
            self._failed()
        else:
            self.generation += 1
            self._since = asyncio.get_running_loop().time()
            self._not_before = self._since + self._pause()

    async def close(self) -> None:
        zygote, self._zygote = self._zygote, None
        if zygote is not None:
            await zygote.close()

    def _refuse(self, reason: str) -> None:
        """Goes back to the modules of the first zygote, if that one was fit. Otherwise there is no zygote."""
        self._launcher.output.say(reason)
        if self.generation and not self._refused:
            self._refused = True
            self._modules = COMPILED if self._launcher.release.compiled else ()
        else:
            self.unfit = reason

    def _failed(self) -> None:
        self._failures += 1
        self._not_before = asyncio.get_running_loop().time() + self._pause()

    def _pause(self) -> float:
        return pause_after(self._failures)
