"""The quality of a champion by outcomes, in words. Pure except for the table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from serinus.cli.terminal import Terminal

if TYPE_CHECKING:
    from serinus.resources import OutcomeCounts, OutcomeFigures, OutcomeWeek, Share


def show_outcomes(out: Terminal, outcomes: OutcomeFigures) -> None:
    """Prints the figures in `serinus status MODEL`."""
    for line in outcome_lines(outcomes):
        out.line(line)
    columns = ["week of", "release", "outcomes", "frauds", "recall", "precision", ""]
    out.table(columns, [_row(week) for week in outcomes.weeks])


def outcome_lines(outcomes: OutcomeFigures) -> Iterator[str]:
    """Yields a line for the champion's matured predictions and one for younger ones."""
    days = f"{outcomes.matures_days:g} days"
    matured, young = f"more than {days} ago", f"in the last {days}, which are not final"
    for found, of in ((outcomes.matured, matured), (outcomes.young, young)):
        if found:
            yield f"{outcomes.release}, predictions {of}: {_recall(found)}; {_precision(found)}."


def _recall(found: OutcomeCounts) -> str:
    if found.recall is None:
        return f"no frauds among {found.labelled:,} outcomes"
    return f"recall {_interval(found.recall)}, {found.caught:,} of {_counted(found.frauds, 'fraud')}"


def _precision(found: OutcomeCounts) -> str:
    if found.precision is None:
        return "no alert has an outcome"
    return f"precision {_interval(found.precision)}, {found.caught:,} of {_counted(found.alerts, 'alert')}"


def _interval(share: Share) -> str:
    return f"{share.share:.1%} (95% interval {share.low:.1%} to {share.high:.1%})"


def _counted(count: int, what: str) -> str:
    return f"1 {what}" if count == 1 else f"{count:,} {what}s"


def _row(week: OutcomeWeek) -> list[str]:
    shares = [f"{share.share:.1%}" if share else "" for share in (week.recall, week.precision)]
    return [
        week.week.isoformat(),
        week.release,
        f"{week.labelled:,}",
        f"{week.frauds:,}",
        *shares,
        "" if week.matured else "not final",
    ]
