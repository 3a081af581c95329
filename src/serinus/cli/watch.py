"""Watches a rollout until it has ended: redrawn on a terminal, in plain lines in a pipe."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from serinus.cli import words
from serinus.cli.session import part
from serinus.cli.terminal import STYLES, Terminal
from serinus.cli.words import Document
from serinus.core.errors import NotFound, Unavailable
from serinus.core.events import Event
from serinus.core.rollout import Phase, Rollout

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from serinus.cli.client import Client
    from serinus.resources import Metric, ShownRollout

EVERY = 0.5
PATIENCE = 120.0
"""Seconds without an answer, or without the expected rollout, after which watching is given up."""
LINE_EVERY = 10.0
"""Seconds between two lines about a canary in a pipe."""


def looks(client: Client, rollout_id: str) -> Iterator[Document | None]:
    """Yields the rollout twice a second, the last time when it has ended.

    None: it does not exist yet, because the one before it is still ending, or the server is being restarted.
    """
    silent_since: float | None = None
    while True:
        try:
            rollout: Document | None = client.get(f"/v1/rollouts/{part(rollout_id)}")
            silent_since = None
        except (NotFound, Unavailable):
            silent_since = silent_since or time.monotonic()
            if time.monotonic() - silent_since > PATIENCE:
                raise
            rollout = None
        yield rollout
        if rollout is not None and Phase(rollout["status"]["phase"]).ended:
            return
        time.sleep(EVERY)


def watch(client: Client, rollout_id: str, out: Terminal) -> Document:
    """Watches the rollout, and returns it as it ended."""
    *_, last = looks(client, rollout_id) if out.as_json else _followed(client, rollout_id, out)
    assert last is not None  # The loop ends only with a rollout that has ended.
    return last


def _followed(client: Client, rollout_id: str, out: Terminal) -> Iterator[Document | None]:
    """Yields the rollout, and prints its news."""
    from serinus.cli.answers import read
    from serinus.resources import ShownRollout

    with _Drawn(client, out) if out.live else _Told(client, out) as telling:
        for document in looks(client, rollout_id):
            telling.look(read(ShownRollout, document) if document is not None else None)
            yield document


class _News:
    """The news since the last look, a line each. While an environment is built, they include the lines of the
    builder."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._before: Rollout | None = None
        self._built: set[str] = set()
        self._after = 0

    def lines(self, rollout: Rollout) -> Iterator[str]:
        built = list(self._build(rollout))
        news = [n for n in words.news(self._before, rollout) if n.removeprefix("note: ") not in self._built]
        yield from (*news, *built) if rollout.status.phase is Phase.BUILD else (*built, *news)
        self._before = rollout

    def _build(self, rollout: Rollout) -> Iterator[str]:
        """Yields the lines of the builder, also once after its end, because the last lines come between two looks."""
        from serinus.cli.answers import read_all

        if all(seen is None or seen.status.phase is not Phase.BUILD for seen in (self._before, rollout)):
            return
        try:
            found = self._client.get("/v1/events", after=self._after, model=rollout.model)
        except Unavailable:
            return  # It is being restarted. The next look requests the same lines.
        for event in read_all(Event, found):
            self._after = event.number
            if event.rollout == rollout.id and event.kind == "progress":
                self._built.add(event.text)
                yield f"build: {event.text}"


class _Told(AbstractContextManager["_Told"]):
    """Output in plain lines."""

    def __init__(self, client: Client, out: Terminal) -> None:
        self._news = _News(client)
        self._out = out
        self._told = time.monotonic()

    def __exit__(self, *_: object) -> None:
        """Nothing needs to be restored."""

    def look(self, rollout: ShownRollout | None) -> None:
        if rollout is None:
            return
        for line in self._news.lines(rollout):
            self._out.line(line)
            self._told = time.monotonic()
        if rollout.status.phase is Phase.CANARY and time.monotonic() - self._told >= LINE_EVERY:
            self._out.line(words.progress_line(rollout, datetime.now(UTC)))
            self._told = time.monotonic()


class _Drawn(AbstractContextManager["_Drawn"]):
    """Output on a terminal: news scroll above, and the figures of the canary are redrawn below."""

    def __init__(self, client: Client, out: Terminal) -> None:
        from rich.live import Live

        self._news = _News(client)
        self._out = out
        self._live = Live(console=out.console, refresh_per_second=4, transient=True)

    def __enter__(self) -> _Drawn:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def look(self, rollout: ShownRollout | None) -> None:
        if rollout is None:
            self._live.update("waiting for an answer")
            return
        for line in self._news.lines(rollout):
            self._out.line(line, style=style_of(line))
        self._live.update(panel(rollout, datetime.now(UTC)))


def style_of(line: str) -> str:
    """Returns the style of a line, by its most important word."""
    head = line.split(":", 2)
    if line.startswith("gate "):
        return STYLES.get(head[1].strip(), "")
    if line.startswith(("aborted", "aborting")):
        return "red"
    return {"promoted": "bold green", "held": "yellow", "note": "dim", "build": "dim"}.get(head[0], "")


def panel(rollout: ShownRollout, now: datetime) -> Group:
    """Returns the figures of the canary."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.spinner import Spinner
    from rich.text import Text

    if rollout.status.phase is not Phase.CANARY or rollout.plan is None:
        since = words.ago(rollout.status.since, now)
        return Group(Spinner("dots", Text(f"{rollout.status.phase.value} since {since}")))
    step = rollout.steps[-1]
    minimum = rollout.plan.steps[step.index].minimum_requests
    bar = ProgressBar(total=max(minimum, 1), completed=min(words.answered(rollout), max(minimum, 1)), width=40)
    line = Text(words.progress_line(rollout, now), style="cyan")
    metrics = words.metrics_of(step.assessment)
    return Group(line, bar, _metrics(metrics)) if metrics else Group(line, bar)


def _metrics(metrics: Sequence[Metric]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("metric", "state", "canary", "champion", "evidence"):
        table.add_column(column, no_wrap=column in ("metric", "state"))
    for metric in metrics:
        table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in words.metric_row(metric)))
    return table
