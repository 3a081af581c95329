"""Looks at a rollout until it has ended: drawn live on a terminal, plain lines in a pipe."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from serinus.cli import words
from serinus.cli.session import part
from serinus.cli.terminal import STYLES, Terminal
from serinus.cli.words import Document
from serinus.core.errors import NotFound, Unavailable

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from serinus.cli.client import Client

EVERY = 0.5
PATIENCE = 120.0
"""Seconds without an answer, or without the rollout that was promised, before it is given up."""
LINE_EVERY = 10.0
"""Seconds between two lines about a canary in a pipe."""


def looks(client: Client, rollout_id: str) -> Iterator[Document | None]:
    """The rollout twice a second, the last time when it has ended. None: it is not there yet (the one before it is
    still ending), or the server is being restarted."""
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
        if rollout is not None and words.ended(rollout):
            return
        time.sleep(EVERY)


def watch(client: Client, rollout_id: str, out: Terminal) -> Document:
    """The rollout as it ended."""
    if out.as_json:
        return _last(looks(client, rollout_id))
    return _draw(client, rollout_id, out) if out.live else _tell(client, rollout_id, out)


def _last(documents: Iterator[Document | None]) -> Document:
    *_, last = documents
    assert last is not None  # it ends only with a rollout that has ended
    return last


class _News:
    """What has become true since the last look, a line each; while an environment is built, what the builder says."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._before: Document | None = None
        self._built: set[str] = set()
        self._after = 0

    def lines(self, rollout: Document) -> Iterator[str]:
        built = list(self._build(rollout))
        news = [n for n in words.news(self._before, rollout) if n.removeprefix("note: ") not in self._built]
        yield from (*news, *built) if rollout["status"]["phase"] == "build" else (*built, *news)
        self._before = rollout

    def _build(self, rollout: Document) -> Iterator[str]:
        """Once more after its end: the last lines come between two looks."""
        if all(seen is None or seen["status"]["phase"] != "build" for seen in (self._before, rollout)):
            return
        try:
            events = self._client.get("/v1/events", after=self._after, model=rollout["model"])
        except Unavailable:
            return  # it is being restarted: the next look asks for the same
        for event in events:
            self._after = event["number"]
            if event["rollout"] == rollout["id"] and event["kind"] == "progress":
                self._built.add(event["text"])
                yield f"build: {event['text']}"


def _tell(client: Client, rollout_id: str, out: Terminal) -> Document:
    last: Document | None = None
    news = _News(client)
    told = time.monotonic()
    for rollout in looks(client, rollout_id):
        if rollout is None:
            continue
        for line in news.lines(rollout):
            out.line(line)
            told = time.monotonic()
        if rollout["status"]["phase"] == "canary" and time.monotonic() - told >= LINE_EVERY:
            out.line(words.progress_line(rollout, datetime.now(UTC)))
            told = time.monotonic()
        last = rollout
    assert last is not None
    return last


def _draw(client: Client, rollout_id: str, out: Terminal) -> Document:
    """What has happened scrolls by above; the canary's figures are drawn over and over below."""
    from rich.live import Live

    last: Document | None = None
    news = _News(client)
    with Live(console=out.console, refresh_per_second=4, transient=True) as live:
        for rollout in looks(client, rollout_id):
            if rollout is None:
                live.update("waiting for an answer")
                continue
            for line in news.lines(rollout):
                out.line(line, style=style_of(line))
            live.update(panel(rollout, datetime.now(UTC)))
            last = rollout
    assert last is not None
    return last


def style_of(line: str) -> str:
    """Of a line of news, by the word that matters in it."""
    head = line.split(":", 2)
    if line.startswith("gate "):
        return STYLES.get(head[1].strip(), "")
    if line.startswith(("aborted", "aborting")):
        return "red"
    return {"promoted": "bold green", "held": "yellow", "note": "dim", "build": "dim"}.get(head[0], "")


def panel(rollout: Document, now: datetime) -> Group:
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.spinner import Spinner
    from rich.text import Text

    phase = rollout["status"]["phase"]
    if phase != "canary":
        return Group(Spinner("dots", Text(f"{phase} since {words.ago(rollout['status']['since'], now)}")))
    step = rollout["steps"][-1]
    minimum = rollout["plan"]["steps"][step["index"]]["minimum_requests"]
    bar = ProgressBar(total=max(minimum, 1), completed=min(words.answered(rollout), max(minimum, 1)), width=40)
    line = Text(words.progress_line(rollout, now), style="cyan")
    metrics = step["assessment"]["metrics"] if step["assessment"] else []
    return Group(line, bar, _metrics(metrics)) if metrics else Group(line, bar)


def _metrics(metrics: list[Document]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("metric", "state", "canary", "champion", "evidence"):
        table.add_column(column, no_wrap=column in ("metric", "state"))
    for metric in metrics:
        table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in words.metric_row(metric)))
    return table
