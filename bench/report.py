"""What was measured, as tables on a terminal, as docs/performance.md and as a chart: all from the results alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

from bench import HERE, ROOT
from bench.bounds import BOUNDS
from bench.chart import Bar, bars
from bench.goals import Goal, NotRun, fleet_facts, judge
from bench.results import Results, Row

PAGE = ROOT / "docs" / "performance.md"
CHART = ROOT / "docs" / "performance.svg"
FLAME = ROOT / "docs" / "hot-path.svg"
_WORDS = HERE / "performance.md"
"""What the figures mean, in the words of people; the tables take the places that are marked there."""
_TITLES = {
    "xgboost": "XGBoost, 300 trees of depth 6, 34 numbers, one row a request",
    "xgboost@half": "The same at half of each server's own capacity, open loop",
    "pipeline": "scikit-learn pipeline of strings and numbers, as MLflow saved it",
    "pyfunc": "Custom Python that nothing compiles",
    "cache": "The pipeline, compiled, with and without the response cache",
    "cache-uncompiled": "The pipeline, uncompiled, with and without the response cache",
    "batching": "Models in their own libraries, alone and gathered for at most 2 ms (`serving.batch`)",
}


def write(results: Results) -> None:
    """Both documents anew."""
    PAGE.write_text(page(results, _WORDS.read_text()))
    if svg := chart(results):
        CHART.write_text(svg)


def page(results: Results, words: str) -> str:
    """`words` with its places filled: machine, chart, goals, tables, memory, not_run, flame."""
    places = {
        "machine": _machine(results),
        "chart": f"![Requests a second of each server]({CHART.name})" if _measured(results, "xgboost") else "",
        "goals": goals_table(judge(results)),
        "tables": tables_markdown(results),
        "memory": _memory(results),
        "not_run": _not_run(results),
        "flame": f"[![Flame graph of a worker]({FLAME.name})]({FLAME.name})" if FLAME.exists() else "Not recorded yet.",
    }
    for name, text in places.items():
        words = words.replace(f"<!-- {name} -->", text)
    return words.rstrip() + "\n"


def tables(results: Results) -> str:
    """For a terminal."""
    found = []
    for case in _cases(results):
        found += ["", _TITLES.get(case, case), *_aligned([_HEAD, *map(_cells, _measured(results, case))])]
    found += ["", "Goals", *_aligned([[_mark(goal), goal.what, goal.goal, goal.measured] for goal in judge(results)])]
    found += [f"not run: {key}: {' '.join(why.split())[:200]}" for key, why in results.not_run.items()]
    return "\n".join(found)


def tables_markdown(results: Results) -> str:
    found = []
    for case in _cases(results):
        rows = [_cells(row) for row in _measured(results, case)]
        found += [f"### {_TITLES.get(case, case)}", "", *_markdown([_HEAD, *rows]), ""]
    return "\n".join(found).rstrip()


def goals_table(goals: Sequence[Goal]) -> str:
    head = ["", "what", "goal", "measured"]
    return "\n".join(_markdown([head, *([_mark(goal), goal.what, goal.goal, goal.measured] for goal in goals)]))


def chart(results: Results) -> str | None:
    """Requests a second at 8 connections; None where nothing was measured."""
    rows = sorted((row for row in _measured(results, "xgboost") if row.connections == 8), key=lambda row: row.rps)
    if not rows:
        return None
    found = [Bar(row.title, row.rps, *row.spread, kind=_kind(row.server)) for row in rows]
    subtitle = "requests/s, logarithmic; 8 connections, one worker; green: Serinus, blue: bounds; line: spread"
    return bars(_TITLES["xgboost"], subtitle, found)


def _kind(server: str) -> str:
    return "ours" if server.startswith("serinus") else "bound" if server in BOUNDS else "peer"


def _cases(results: Results) -> list[str]:
    return [case for case in _TITLES if _measured(results, case)]


def _measured(results: Results, case: str) -> list[Row]:
    return [row for row in results.rows if row.case == case]


_HEAD = ["server", "connections", "requests/s", "spread", "p50 ms", "p99 ms", "p99.9 ms", "CPU us", "PSS MB", "failed"]


def _cells(row: Row) -> list[str]:
    times = [f"{value:.2f}" for value in (row.p50_ms, row.p99_ms, row.p999_ms)]
    spread = f"{row.spread[0]:,.0f}-{row.spread[1]:,.0f}" if row.repeats > 1 else "-"
    last = [f"{row.cpu_us:,.0f}", f"{row.pss_mb:,.0f}", str(row.failed)]
    return [row.title, str(row.connections), f"{row.rps:,.0f}", spread, *times, *last]


def _mark(goal: Goal) -> str:
    return {True: "met", False: "not met", None: "not run"}[goal.met]


def _machine(results: Results) -> str:
    found = results.machine
    if not found:
        return "Nothing has been measured yet."
    return (
        f"{found['processors']} processors ({found['processor']}), {found['memory_gib']} GiB, {found['system']}, "
        f"Python {found['python']}; taken {found['taken']}, load before: {found['load_before']}."
    )


def _memory(results: Results) -> str:
    """Of what the memory of many models is made, when it is most."""
    with suppress(NotRun):
        if rows := [[kind, f"{mb:,.0f}"] for kind, mb in fleet_facts(results).get("at_most_mb", {}).items()]:
            return "\n".join(_markdown([["processes", "MB PSS"], *rows]))
    return "Not part of this run."


def _not_run(results: Results) -> str:
    lines = [f"- {key}: {' '.join(why.split())[:300]}" for key, why in results.not_run.items()]
    return "\n".join(lines) or "Everything ran."


def _markdown(table: Sequence[Sequence[str]]) -> Iterable[str]:
    head, *rows = ([cell.replace("|", "\\|") for cell in row] for row in table)
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[index]) for row in table) for index in range(len(table[0]))]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
    ]
