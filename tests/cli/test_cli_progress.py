"""Progress in words, and drawn on a terminal."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import timedelta

from pydantic import TypeAdapter
from rich.console import Console
from scenes import in_canary, rollout, stopped_by_the_judge
from small_fleet import NOW

from serinus.cli import words
from serinus.cli.terminal import Terminal
from serinus.cli.watch import looks, panel, watch
from serinus.core.errors import NotFound, Unavailable
from serinus.core.events import Event
from serinus.core.rollout import Phase, Rollout
from serinus.resources import MetricProgress, Progress, ShownRollout

_rollout = TypeAdapter(Rollout)
_event = TypeAdapter(Event)


def document(value: Rollout) -> words.Document:
    made: words.Document = _rollout.dump_python(value, mode="json")
    return made


def shown(value: Rollout, progress: Progress | None = None) -> ShownRollout:
    return ShownRollout.of(value, progress=progress)


def how_far(text: str = "", **metrics: MetricProgress) -> Progress:
    return Progress(
        answered=3612, minimum_requests=5000, seconds=120.0, minimum_seconds=60.0, per_second=2.0, requests_left=None,
        seconds_left=None, ready_at=None, set_aside={}, not_counted="", metrics=metrics, text=text,
    )  # fmt: skip


class Answers:
    """A server that gives these answers, one a look."""

    def __init__(self, *answers: Rollout | Exception) -> None:
        self._answers = list(answers)
        self.events: list[words.Document] = []

    def get(self, path: str, after: int = 0, **_: object) -> words.Document | list[words.Document]:
        if path == "/v1/events":
            return [event for event in self.events if event["number"] > after]
        assert path.startswith("/v1/rollouts/card-fraud-r")
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return document(answer)


def test_news_are_told_once() -> None:
    gates, canary = rollout(1, Phase.GATES, gates=()), in_canary(1)
    assert list(words.news(None, gates)) == ["gates: checking the version before it gets traffic"]
    told = list(words.news(gates, canary))
    assert told[0] == "gate scan: pass: 3 pickles import only numpy and scikit-learn"
    assert told[-2:] == [
        "canary 5%: promote: every metric is cleared",
        "canary 25%: at least 5,000 requests and 60 s",
    ]
    assert list(words.news(canary, canary)) == []
    held = in_canary(1)
    held = replace(held, status=replace(held.status, hold="the prediction log gives no counts"))
    assert list(words.news(canary, held)) == ["held: the prediction log gives no counts"]


def test_what_the_builder_says_is_told_once_while_it_builds(capfd) -> None:
    """The note that repeats its last line is not told again."""
    said = ["resolving numpy", "building environment 1f: Python 3.11.7", "compiled: all are answered alike"]
    build = rollout(1, Phase.BUILD)
    placed = replace(rollout(1, Phase.PLACE), notes=("compiled: all are answered alike",))
    server = Answers(build, build, placed, rollout(1, Phase.PROMOTED))
    server.events = [
        _event.dump_python(Event(NOW, "card-fraud", "card-fraud-r1", "progress", text, {}, number), mode="json")
        for number, text in enumerate(said, start=1)
    ]
    other = Event(NOW, "card-fraud", "card-fraud-r0", "progress", "of another rollout", {}, 9)
    server.events.append(_event.dump_python(other, mode="json"))
    watch(server, "card-fraud-r1", Terminal(as_json=False))  # type: ignore[arg-type]
    lines = capfd.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith(("build: ", "note: "))] == [
        "build: preparing the environment",
        *(f"build: {text}" for text in said),
    ]


def test_a_canarys_line_tells_how_far_it_is_and_what_it_needs() -> None:
    line = words.progress_line(shown(in_canary(1)), NOW)
    assert line.startswith("canary 25%: 3,612 of at least 5,000 requests, 120 of at least 60 s; needs about 1,400")


def test_times_are_told_roughly() -> None:
    told = [words.ago(NOW - timedelta(seconds=s), NOW) for s in (5, 120, 7200, 200_000)]
    assert told == ["5 s ago", "2 min ago", "2 h ago", "2 days ago"]
    assert words.ago(NOW.timestamp() - 300, NOW) == "5 min ago"


def test_a_terminal_is_drawn_with_the_canarys_bar_and_metrics() -> None:
    terminal = Terminal(as_json=False)
    screen = io.StringIO()
    terminal.console = Console(file=screen, force_terminal=True, width=140, markup=False, highlight=False)
    stopped = replace(stopped_by_the_judge(1), id="card-fraud-r1")
    ended = watch(Answers(in_canary(1), stopped), "card-fraud-r1", terminal)  # type: ignore[arg-type]
    drawn = screen.getvalue()
    assert ended["status"]["phase"] == "aborted"
    assert "3,612 of at least 5,000 requests" in drawn
    assert "━" in drawn
    assert "41 of 3,612" in drawn
    assert "aborted, because the judge found it worse than the champion: errors: 37 of 2,104" in drawn.replace(
        "\n", " "
    )


def test_before_the_canary_the_phase_is_drawn() -> None:
    screen = io.StringIO()
    Console(file=screen, width=80).print(panel(shown(rollout(1, Phase.BUILD)), NOW))
    assert "build since 2 min ago" in screen.getvalue()


def test_a_restart_of_the_server_and_a_rollout_that_is_still_to_come_are_waited_for() -> None:
    server = Answers(NotFound("not yet"), in_canary(1), Unavailable("restarting"), rollout(1, Phase.PROMOTED))
    seen = list(looks(server, "card-fraud-r1"))  # type: ignore[arg-type]
    assert [one and one["status"]["phase"] for one in seen] == [None, "canary", None, "promoted"]


def test_a_metric_is_told_with_what_it_still_takes_and_its_evidence() -> None:
    cleared, open_, *_ = words.metrics_of(in_canary(1).steps[-1].assessment)
    left = MetricProgress(requests_left=1400, clear_at=NOW + timedelta(minutes=35))
    first, evidence, second, _ = words.metric_lines([open_, cleared], how_far(slow=left), evidence=True)
    assert first.startswith("open: slow: 41 of 3,612 canary requests")
    assert first.endswith("; about 1,400 more canary requests to clear, until 2026-03-02 10:05 UTC")
    assert evidence == "  evidence: against it 0.4 of 1,000, for it 3.2 of 20"
    assert second.startswith("cleared: errors: ")
    unknown = MetricProgress(requests_left=None, clear_at=None)
    (line,) = words.metric_lines([open_], how_far(slow=unknown), evidence=False)
    assert line.endswith("; how many more requests it takes cannot be estimated yet")
    told = open_.model_copy(update={"state": "bad", "evidence": "ratio 2"})
    assert list(words.metric_lines([told], None, evidence=True)) == [
        f"aborted: {open_.summary}",
        "  evidence: ratio 2",
    ]


def test_the_time_that_is_left_is_told_before_what_is_needed() -> None:
    told = shown(in_canary(1), how_far("about 4 minutes left"))
    assert words.progress_line(told, NOW).endswith("120 of at least 60 s; about 4 minutes left")
