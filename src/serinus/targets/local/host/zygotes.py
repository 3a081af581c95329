"""The zygotes of one host: one for each environment whose libraries are known and can be forked.

The modules that an environment's zygote imports are learnt from the reports of its workers and kept in
`host/zygotes/<key>.json`. So the first worker of a new environment is a fresh interpreter. Where there can be no
zygote, all workers are fresh interpreters. Only the time that a start takes depends on the zygote.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import Any

from serinus_runtime.process.zygote_protocol import COMPILED, Unfit

from serinus.core.home import Home
from serinus.lib import files
from serinus.lib.backoff import Backoff
from serinus.targets.local.host.logs import zygote_log
from serinus.targets.local.host.processes import Process
from serinus.targets.local.host.turns import Turns
from serinus.targets.local.host.zygote import Nest, Zygote

log = logging.getLogger(__name__)

_MOST_MODULES = 20_000
_IMPORT_SECONDS = 60.0
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 300.0
"""The seconds before a zygote that did not come up is tried again. They double with every failure."""


def key(python: Path) -> str:
    """The key of an environment, which is short enough for any path."""
    return sha256(str(python).encode()).hexdigest()[:12]


@dataclass(slots=True)
class _Environment:
    modules: tuple[str, ...]
    roots: frozenset[Path] = frozenset()
    zygote: Zygote | None = None
    unfit: str = ""
    """Why there will be no zygote as long as this host lives."""
    refused: set[str] = field(default_factory=set)
    """Modules whose import would have made it unfit."""
    backoff: Backoff = field(default_factory=lambda: Backoff(_FIRST_PAUSE, _LONGEST_PAUSE))
    not_before: float = 0.0
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)
    wanted: int = 0
    """The number of workers that wait for the zygote."""

    @property
    def up_to_date(self) -> bool:
        zygote = self.ready_for(self.roots)
        return zygote is not None and set(zygote.nest.modules) >= set(self.modules) - self.refused

    def ready_for(self, root: frozenset[Path]) -> Zygote | None:
        zygote = self.zygote
        if zygote is None or zygote.process.exited.done():
            return None
        return zygote if root <= zygote.nest.roots else None


class Zygotes:
    """It belongs to one event loop."""

    def __init__(self, home: Home, runtime: Path, confined: bool, at_once: int) -> None:
        """`at_once` is the number of zygotes that import at a time. Each of them uses a processor for seconds."""
        self._turns = Turns(at_once, at_once)
        self._home = home
        self._runtime = runtime
        self._confined = confined
        self._known = home.host / "zygotes"
        self._environments: dict[Path, _Environment] = {}
        self._background: set[asyncio.Task[None]] = set()

    async def fork(self, python: Path, roots: Iterable[Path], descriptors: Sequence[int]) -> Process | None:
        """A new worker, or None if none can be forked, now or ever. Waits for a zygote that is being started."""
        environment = self._of(python)
        wanted = frozenset(roots)
        if not environment.modules or environment.unfit:
            environment.roots |= wanted
            return None
        zygote = environment.ready_for(wanted)
        if zygote is None:
            environment.wanted += 1
            try:
                async with environment.changing:
                    zygote = environment.ready_for(wanted) or await self._replaced(python, environment, wanted)
            finally:
                environment.wanted -= 1
        if zygote is None:
            return None
        try:
            return await zygote.fork(descriptors)
        except OSError as error:
            log.warning("the zygote of %s forks no more: %s", python, error)
            await zygote.close()
            return None

    def learn(self, python: Path, modules: Sequence[str]) -> None:
        """Takes note of what a worker of the environment has imported. The zygote is replaced by one that imports this
        as well, in the background."""
        environment = self._of(python)
        new = [name for name in modules if name not in environment.modules and name not in environment.refused]
        if not new or environment.unfit or len(environment.modules) + len(new) > _MOST_MODULES:
            return
        environment.modules = (*environment.modules, *new)
        _save(self._known / f"{key(python)}.json", environment.modules)
        self._spawn_renewal(python, environment)

    def expect(self, python: Path, roots: Iterable[Path], *, compiled: bool, soon: bool = True) -> None:
        """A release is placed in the environment: if its modules are known, the zygote is made before it is needed. If
        not `soon`, it is made when it is needed."""
        environment = self._of(python)
        environment.roots |= frozenset(roots)
        if compiled:
            known = {*environment.modules, *environment.refused}
            environment.modules = (*environment.modules, *(name for name in COMPILED if name not in known))
        if soon and environment.modules and not environment.unfit and environment.ready_for(environment.roots) is None:
            self._spawn_renewal(python, environment)

    def ready(self, python: Path, roots: Iterable[Path]) -> bool:
        """Whether there is a zygote that can fork a worker for models in `roots` and that has imported all that was
        learnt."""
        environment = self._of(python)
        return environment.up_to_date and environment.ready_for(frozenset(roots)) is not None

    def why_not(self, python: Path) -> str:
        """Why its workers are fresh interpreters; empty where they are, or will be, forked."""
        return self._of(python).unfit

    def pids(self) -> Mapping[Path, int]:
        """The pids of the zygotes that live."""
        return {
            python: environment.zygote.process.pid
            for python, environment in self._environments.items()
            if environment.zygote is not None and not environment.zygote.process.exited.done()
        }

    async def end(self, python: Path, why: str) -> None:
        """Ends the zygote for something that it did. Another one takes its place."""
        environment = self._environments.get(python)
        if environment is not None and environment.zygote is not None:
            log.warning("the zygote of %s is ended: %s", python, why)
            await environment.zygote.close()

    async def leave(self, python: Path) -> None:
        """No release is placed in the environment any more."""
        environment = self._environments.pop(python, None)
        if environment is not None and environment.zygote is not None:
            await environment.zygote.close()

    def keep_only(self, pythons: set[Path]) -> None:
        """Stops the zygotes of all other environments."""
        for python in self._environments.keys() - pythons:
            environment = self._environments.pop(python)
            if environment.zygote is not None:
                self._spawn(environment.zygote.close())

    async def close(self) -> None:
        """Ends all zygotes."""
        self.keep_only(set())
        for task in self._background:
            if task.get_name() == "renewal":
                task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    # ------------------------------------------------------------------------------------------------------

    def _of(self, python: Path) -> _Environment:
        if python not in self._environments:
            self._environments[python] = _Environment(_load(self._known / f"{key(python)}.json"))
        return self._environments[python]

    async def _replaced(self, python: Path, environment: _Environment, roots: frozenset[Path]) -> Zygote | None:
        """A new zygote in place of the present one, which ends only when the new one is there."""
        if monotonic() < environment.not_before:
            return environment.ready_for(roots)
        environment.roots |= roots
        path = zygote_log(self._home, key(python))
        try:
            async with self._turns.one(lambda: environment.wanted > 0):
                modules = tuple(name for name in environment.modules if name not in environment.refused)
                nest = Nest(python, modules, environment.roots, self._home.scratch / key(python))
                new = await Zygote.start(nest, self._home, self._runtime, self._confined, path, _IMPORT_SECONDS)
        except Unfit as reason:
            self._refuse(python, environment, nest, str(reason))
        except OSError as error:
            log.warning("a zygote of %s does not come up: %s", python, error or type(error).__name__)
            environment.not_before = monotonic() + environment.backoff.pause()
        else:
            if self._environments.get(python) is not environment:  # None of its releases is placed any more.
                await new.close()
                return None
            environment.backoff.reset()
            old, environment.zygote = environment.zygote, new
            new.process.exited.add_done_callback(lambda _: self._lost(python, environment, new))
            if old is not None:
                self._spawn(old.close())
        return environment.ready_for(roots)

    def _refuse(self, python: Path, environment: _Environment, nest: Nest, reason: str) -> None:
        """Leaves out the modules that were added since the last zygote, if that one was fit. Otherwise there is no
        zygote."""
        last = environment.zygote
        log.warning("%s: %s", python, reason)
        if last is not None and (new := set(nest.modules) - set(last.nest.modules)):
            environment.refused |= new
        else:
            environment.unfit = reason

    def _lost(self, python: Path, environment: _Environment, zygote: Zygote) -> None:
        if environment.zygote is zygote and self._environments.get(python) is environment:
            log.warning("the zygote of %s is gone; its workers stay, and it is started again", python)
            environment.not_before = monotonic() + environment.backoff.pause()
            self._spawn_renewal(python, environment)

    def _spawn_renewal(self, python: Path, environment: _Environment) -> None:
        self._spawn(self._renew(python, environment), "renewal")

    async def _renew(self, python: Path, environment: _Environment) -> None:
        """Continues until the zygote has imported all that is known, or it is certain that it never will."""
        while not (environment.unfit or environment.up_to_date) and self._environments.get(python) is environment:
            async with environment.changing:
                if not environment.up_to_date:
                    await self._replaced(python, environment, environment.roots)
            await asyncio.sleep(max(0.0, environment.not_before - monotonic()))

    def _spawn(self, work: Coroutine[Any, Any, None], name: str = "stopping") -> None:
        task = asyncio.create_task(work, name=name)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _load(path: Path) -> tuple[str, ...]:
    """Returns the modules that were learnt. It is empty where the file cannot be read, and is then learnt again.
    Modules of the runtime are left out, since another version may have had them under other names."""
    try:
        names = [str(name) for name in json.loads(path.read_text())]
        return tuple(name for name in names if not name.startswith("serinus_runtime."))
    except (OSError, ValueError):
        return ()


def _save(path: Path, modules: Sequence[str]) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.write(path, json.dumps(modules), durable=False)
    except OSError as error:
        log.warning("what the zygotes import could not be kept: %s", error)
