"""What decides: the engine's loop, and what works beside it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from serinus.engine import Delivery, Desk, Engine, News, OutcomeReader, RegistryTags, Told, World

Loop = Callable[[threading.Event], None]
"""Runs until the event is set."""

END_SECONDS = 10.0
"""How long a tick of the engine may take to end."""


class Deciders:
    """Threads that decide for one world. `link` is the address of the API that is written into the registry. `others`
    are further loops, by their names. `news` is told by the desk of people as well."""

    def __init__(self, world: World, news: News, link: str, others: Mapping[str, Loop]) -> None:
        self._news = news
        desk = Desk(world, news)
        self._engine = Engine(
            world,
            deploy_by_alias=desk.deploy_by_alias,
            news=news,
            roll_back=desk.roll_back,
            take_merged=desk.take_merged,
        )
        # This comes before the engine's loop, so that no event is missed.
        self._deliveries = [Delivery(world, RegistryTags(world, link))]
        loops: dict[str, Loop] = {"engine": self._engine.run, "outcomes": OutcomeReader(world).run, **others}
        loops |= {f"subscriber-{number}": one.run for number, one in enumerate(self._deliveries)}
        self._loops = loops
        self._threads: list[threading.Thread] = []

    def start(self, stop: threading.Event) -> None:
        """Starts the threads, which end once `stop` is set."""
        for name, loop in self._loops.items():
            self._threads.append(threading.Thread(target=loop, args=(stop,), name=name, daemon=True))
            self._threads[-1].start()

    def join(self, seconds: float) -> None:
        """Waits for the engine's loop to end, after `stop` was set."""
        self._news.tell()
        for thread in self._threads:
            if thread.name == "engine":
                thread.join(seconds)

    def told(self) -> Told:
        """Returns what is wrong, for people."""
        return Told(
            trouble=dict(self._engine.trouble),
            warnings=tuple(line for delivery in self._deliveries for line in delivery.warnings()),
            registry_answers=self._engine.registry_answers,
        )


class Alone:
    """Decides from the start of the process to its end, because there is no other control plane."""

    def __init__(self, deciders: Deciders) -> None:
        self._deciders = deciders
        self.told = deciders.told

    def run(self, stop: threading.Event) -> None:
        """Decides until `stop` is set."""
        self._deciders.start(stop)
        stop.wait()
        self._deciders.join(END_SECONDS)
