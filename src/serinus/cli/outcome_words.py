"""What the outcomes say of a champion, in words. Pure but for the table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from serinus.cli.terminal import Terminal

Document = Mapping[str, Any]


def show_outcomes(out: Terminal, outcomes: Document) -> None:
    """Of `serinus status MODEL`."""
    for line in outcome_lines(outcomes):
        out.line(line)
    columns = ["week of", "release", "outcomes", "frauds", "recall", "precision", ""]
    out.table(columns, [_row(week) for week in outcomes["weeks"]])


def outcome_lines(outcomes: Document) -> Iterator[str]:
    """Of the champion: matured predictions, and younger ones."""
    days = f"{outcomes['matures_days']:g} days"
    for name, of in (("matured", f"more than {days} ago"), ("young", f"in the last {days}, which are not final")):
        if found := outcomes[name]:
            yield f"{outcomes['release']}, predictions {of}: {_recall(found)}; {_precision(found)}."


def _recall(found: Document) -> str:
    if found["recall"] is None:
        return f"no frauds among {found['labelled']:,} outcomes"
    return f"recall {_interval(found['recall'])}, {found['caught']:,} of {_counted(found['frauds'], 'fraud')}"


def _precision(found: Document) -> str:
    if found["precision"] is None:
        return "no alert has an outcome"
    return f"precision {_interval(found['precision'])}, {found['caught']:,} of {_counted(found['alerts'], 'alert')}"


def _interval(share: Document) -> str:
    return f"{share['share']:.1%} (95% interval {share['low']:.1%} to {share['high']:.1%})"


def _counted(count: int, what: str) -> str:
    return f"1 {what}" if count == 1 else f"{count:,} {what}s"


def _row(week: Document) -> list[str]:
    shares = [f"{week[name]['share']:.1%}" if week[name] else "" for name in ("recall", "precision")]
    return [
        week["week"],
        week["release"],
        f"{week['labelled']:,}",
        f"{week['frauds']:,}",
        *shares,
        "" if week["matured"] else "not final",
    ]
