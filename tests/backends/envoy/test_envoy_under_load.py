"""No request fails and no entity changes side, whatever is done to the routing."""

from __future__ import annotations

import asyncio
import resource
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from envoy_harness import Proxy, routing

from serinus.core.routing import Role

pytestmark = pytest.mark.slow

RATE = 1_200
SECONDS = 10.0
CONNECTIONS = 16
FILES = 5_000
"""Two for each of the callers that come at once, in this process, which is both callers and releases."""
BODY = b'{"inputs":[{"name":"amount","shape":[1],"datatype":"FP64","data":[12.5]}]}'


class Seen(NamedTuple):
    status: int
    entity: str
    split: str
    release: str


@pytest.fixture(autouse=True)
def many_files() -> Iterator[None]:
    """As the supervisor has it; many users are given 1,024 at first."""
    usual, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < FILES:
        pytest.skip(f"this user may open {most} files, and {FILES} are needed (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (usual, most))


class Load(threading.Thread):
    """Requests at a fixed rate, each with a body and one of 2,000 entities, until told to stop."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port, self.stopping, self.seen = port, threading.Event(), list[Seen]()

    def run(self) -> None:
        asyncio.run(self._all())

    async def _all(self) -> None:
        await asyncio.gather(*(self._caller(number) for number in range(CONNECTIONS)))

    async def _caller(self, number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        turn = 0
        start = time.monotonic()
        while not self.stopping.is_set():
            entity = f"card-{(number + turn * CONNECTIONS) % 2_000}"
            head = f"POST /v2/models/fraud/infer HTTP/1.1\r\nhost: x\r\nx-entity-id: {entity}\r\n"
            writer.write(f"{head}content-length: {len(BODY)}\r\n\r\n".encode() + BODY)
            answer = (await reader.readuntil(b"\r\n\r\n")).decode()
            fields = dict(line.split(": ", 1) for line in answer.strip().split("\r\n")[1:])
            body = await reader.readexactly(int(fields["content-length"]))
            split = body.partition(b'"x-serinus-split": "')[2].partition(b'"')[0].decode()
            status = int(answer.split()[1])
            self.seen.append(Seen(status, entity, split, fields.get("x-serinus-release", "")))
            turn += 1
            await asyncio.sleep(max(0.0, start + turn * CONNECTIONS / RATE - time.monotonic()))
        writer.close()


def test_a_hundred_changes_under_load_fail_no_request_and_move_no_entity_within_a_split(proxy: Proxy) -> None:
    """Canaries come, grow, are promoted or dropped, and their processes end as soon as they are not routed."""
    champion = "fraud-0-000000"
    proxy.releases.start(champion)
    proxy.router.apply(routing(proxy.arm(champion, 10_000), split="start"))
    load = Load(proxy.port)
    load.start()
    changes, generation, started = 0, 0, time.monotonic()
    try:
        while changes < 100 or time.monotonic() - started < SECONDS:
            generation += 1
            canary = f"fraud-{generation}-{generation:06d}"
            proxy.releases.start(canary)
            for weight in (500, 2_500, 5_000, 10_000 if generation % 2 else 0):
                arms = (proxy.arm(champion, 10_000 - weight), proxy.arm(canary, weight, Role.CANARY))
                proxy.router.apply(routing(*arms, split=f"g{generation}-{weight}", salt=f"g{generation}"))
                load.stopping.wait(0.06)
                changes += 1
            champion, gone = (canary, champion) if generation % 2 else (champion, canary)
            proxy.router.apply(routing(proxy.arm(champion, 10_000), split=f"g{generation}-end"))
            load.stopping.wait(0.02)
            proxy.releases.stop(gone)
            changes += 1
    finally:
        load.stopping.set()
        load.join(10)
    seconds = time.monotonic() - started

    assert {seen.status for seen in load.seen} == {200}
    assert len(load.seen) > RATE * seconds * 0.5, "the load was not there"
    sides: dict[tuple[str, str], set[str]] = defaultdict(set)
    for seen in load.seen:
        sides[seen.entity, seen.split].add(seen.release)
    assert len(sides) > 2_000
    assert {key: releases for key, releases in sides.items() if len(releases) > 1} == {}
    assert len({seen.split for seen in load.seen}) > 80
    assert proxy.local_answers() == []


def test_callers_who_wait_for_one_release_take_nothing_from_another(proxy: Proxy) -> None:
    """More callers than its circuit breakers let through wait for one release; the other answers each of its own."""
    for release, model in (("slow-1-aaaaaa", "slow"), ("calm-1-bbbbbb", "calm")):
        proxy.releases.start(release)
        proxy.router.apply(routing(proxy.arm(release, 10_000), model=model, timeout_ms=30_000))
    slow, calm = asyncio.run(_overload(proxy.port, callers=2_100))
    assert calm == [200] * 50
    assert set(slow) == {200, 503}
    assert slow.count(200) >= 1_024, "what the bounds have room for waits"


def test_a_proxy_that_gets_hardly_any_processor_fails_nobody(proxy: Proxy) -> None:
    """A burst of new callers, while Envoy runs for 5 ms in every 300."""
    proxy.releases.start("calm-1-bbbbbb")
    proxy.router.apply(routing(proxy.arm("calm-1-bbbbbb", 10_000), model="calm", timeout_ms=30_000))
    statuses = asyncio.run(_starved(proxy, callers=1_000))
    assert statuses == [200] * 1_000


async def _starved(proxy: Proxy, callers: int) -> list[int]:
    proxy.freeze()
    asking = [asyncio.create_task(_ask(proxy.port, "calm")) for _ in range(callers)]
    await asyncio.sleep(1)  # all of them are sent, and the kernel has them
    for _ in range(16):
        proxy.go_on()
        await asyncio.sleep(0.005)
        proxy.freeze()
        await asyncio.sleep(0.3)
    proxy.go_on()
    return list(await asyncio.gather(*asking))


async def _overload(port: int, callers: int) -> tuple[list[int], list[int]]:
    """Statuses of `callers` who ask a release that hangs, all at once, and of fifty of another meanwhile."""
    waiting = [asyncio.create_task(_ask(port, "slow", "x-do: hang\r\n")) for _ in range(callers)]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)  # one was refused: the bounds are reached
    calm = [await _ask(port, "calm") for _ in range(50)]
    return list(await asyncio.gather(*waiting)), calm


async def _ask(port: int, model: str, more: str = "") -> int:
    """The answer's status; 0 where the connection ended without one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST /v2/models/{model}/infer HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{more}"
    writer.write(f"{head}content-length: {len(BODY)}\r\n\r\n".encode() + BODY)
    answer = await reader.read(-1)
    writer.close()
    return int(answer.split(None, 2)[1]) if answer else 0
