"""Servers side by side: closed loops by `wrk`, repetitions interleaved, all but the one under test frozen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import SCRATCH, openloop, wrk
from bench.processes import DidNotStart, cpu_seconds, freeze, thaw, usage
from bench.requests import Row as Values
from bench.results import Results, Row, Sample, summary
from bench.servers import Server

Factories = Mapping[str, Callable[[str], Server]]
_CONNECTIONS_OPEN = 32


@dataclass(frozen=True)
class Effort:
    """How long and how often. Many short turns: neighbours on a shared machine come and go by the minute."""

    seconds: float = 1.5
    repeats: int = 9
    connections: Sequence[int] = (1, 8, 32)


def compare(
    case: str,
    factories: Factories,
    rows: Sequence[Values],
    effort: Effort,
    results: Results,
    half_load: Sequence[str] = (),
) -> None:
    """Adds a row for each server and number of connections; `case@half` for those in `half_load`."""
    if not wrk.there():
        results.not_run[case] = wrk.HOW_TO_GET
        return
    servers = _start(case, factories, results)
    try:
        samples: dict[tuple[str, int], list[Sample]] = {}
        for _ in range(effort.repeats):
            for key, server in list(servers.items()):
                try:
                    _round(case, key, server, rows, effort, samples)
                except wrk.LoadFailed as error:
                    results.not_run[f"{case}/{key}"] = str(error)
                    servers.pop(key).stop()
        for (key, connections), found in samples.items():
            if key in servers:
                results.rows.append(_row(case, key, servers[key], connections, found))
        _halves(case, {key: servers[key] for key in half_load if key in servers}, rows, effort, results)
    finally:
        for server in servers.values():
            server.stop()


def _start(case: str, factories: Factories, results: Results) -> dict[str, Server]:
    servers: dict[str, Server] = {}
    for key, make in factories.items():
        try:
            server = make(case)
            server.start()
        except DidNotStart as error:
            results.not_run[f"{case}/{key}"] = str(error)
            print(f"  {key}: did not start: {error}", flush=True)
            continue
        servers[key] = server
    for server in servers.values():  # not before: two may be models of one installation
        freeze(server.pids())
    return servers


def _round(
    case: str,
    key: str,
    server: Server,
    rows: Sequence[Values],
    effort: Effort,
    samples: dict[tuple[str, int], list[Sample]],
) -> None:
    lua = _script(case, key, server, rows)
    thaw(server.pids())
    try:
        wrk.run(server.port, lua, 8, 1)  # caches, connections, the workers that load calls for
        for connections in effort.connections:
            pids = server.pids()
            before = cpu_seconds(pids)
            found = wrk.run(server.port, lua, connections, effort.seconds)
            used = cpu_seconds(pids) - before
            sample = Sample(
                found.rps, found.p50_ms, found.p99_ms, found.p999_ms, used / found.requests * 1e6, found.failed
            )
            samples.setdefault((key, connections), []).append(sample)
            print(f"  {key:<18} {connections:>3} connections {sample.rps:>9.0f}/s {sample.cpu_us:>8.0f} us", flush=True)
    finally:
        freeze(server.pids())


def _script(case: str, key: str, server: Server, rows: Sequence[Values]) -> Path:
    lua = SCRATCH / "run" / f"{case}-{key}.lua"
    lua.parent.mkdir(parents=True, exist_ok=True)
    lua.write_text(wrk.script(server.protocol, rows))
    return lua


def _row(case: str, key: str, server: Server, connections: int, samples: Sequence[Sample]) -> Row:
    used = usage(server.pids())
    memory: dict[str, Any] = {"pss_mb": round(used.pss_mb, 1), "rss_mb": round(used.rss_mb, 1)}
    return Row(case, key, server.name, connections, **summary(samples), **memory)


def _halves(case: str, servers: Mapping[str, Server], rows: Sequence[Values], effort: Effort, results: Results) -> None:
    """Each at half of its own capacity, by an open loop, in turn."""
    samples: dict[str, list[Sample]] = {}
    for _ in range(effort.repeats):
        for key, server in servers.items():
            full = results.row(case, key)
            if full is not None:
                samples.setdefault(key, []).append(_half(key, server, rows, full.rps / 2, 2 * effort.seconds))
    for key, found in samples.items():
        results.rows.append(_row(f"{case}@half", key, servers[key], _CONNECTIONS_OPEN, found))


def _half(key: str, server: Server, rows: Sequence[Values], rate: float, seconds: float) -> Sample:
    asks = [openloop.Ask(request) for request in server.protocol.raw(rows)]
    thaw(server.pids())
    try:
        openloop.run(server.port, asks, rate, 1.0, connections=_CONNECTIONS_OPEN)
        pids = server.pids()
        before = cpu_seconds(pids)
        found = openloop.run(server.port, asks, rate, seconds, connections=_CONNECTIONS_OPEN)
        used = (cpu_seconds(pids) - before) / max(found.answered, 1) * 1e6
        print(f"  {key}: half load, {rate:,.0f}/s: {found.ms(0.5):.3f} ms, {found.ms(0.999):.3f} ms", flush=True)
    finally:
        freeze(server.pids())
    return Sample(found.rps, found.ms(0.5), found.ms(0.99), found.ms(0.999), used, found.failed)
