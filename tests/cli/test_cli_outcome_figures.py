"""The champion over time, by the outcomes: in the status of a model, and in the metrics."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from cli_harness import Serinus
from scenes import V6, V7, rollout
from small_fleet import NOW, Installation

from serinus.cli.client import Client
from serinus.core.predictions import OutcomeDay
from serinus.core.rollout import ModelState, Phase
from serinus.engine import OutcomeReader

TODAY = NOW.date()


@pytest.fixture
def figures(installation: Installation) -> OutcomeReader:
    """Version 7 took the place of version 6 forty days ago; both have outcomes."""
    for release in (V6, V7):
        installation.store.add_release(release)
    for number, (release, threshold) in enumerate([(V6, 0.5), (V7, 0.72)], start=1):
        made = rollout(number, Phase.PROMOTED, candidate=release, version=release.version, threshold=threshold)
        installation.store.create(made)
    installation.store.create(rollout(3, Phase.ABORTED, candidate=replace(V7, id="card-fraud-8-cccccc")))
    installation.store.save_model(ModelState("card-fraud", champion=V7, champion_threshold=0.72, since=NOW))
    installation.log.days = [
        OutcomeDay(V6.id, TODAY - timedelta(days=50), 400, 40, 50, 30),
        OutcomeDay(V7.id, TODAY - timedelta(days=31), 200, 20, 25, 16),
        OutcomeDay(V7.id, TODAY - timedelta(days=30), 10, 3, 4, 1),
        OutcomeDay(V7.id, TODAY, 5, 1, 1, 1),
    ]
    return OutcomeReader(installation.world)


def test_without_outcomes_nothing_is_read_or_said(
    installation: Installation, figures: OutcomeReader, serinus: Serinus
) -> None:
    assert not figures.look()
    assert not figures.look(force=True)
    assert installation.log.asked == []
    assert "recall" not in serinus("status", "card-fraud").out
    assert serinus("status", "card-fraud", "--json").json["outcomes"] is None


def test_they_are_read_when_outcomes_have_come_and_not_again(
    installation: Installation, figures: OutcomeReader
) -> None:
    installation.log.mark = "1"
    assert figures.look()
    assert installation.log.asked == [{V6.id: 0.5, V7.id: 0.72}]
    assert not figures.look()
    assert figures.look(force=True)
    installation.log.mark = "2"
    assert figures.look()
    assert len(installation.log.asked) == 3


def test_the_status_tells_matured_ones_apart_from_young_ones_and_shows_the_weeks(
    installation: Installation, figures: OutcomeReader, serinus: Serinus
) -> None:
    installation.log.mark = "1"
    figures.look()
    out = serinus("status", "card-fraud").out
    old = f"{V7.id}, predictions more than 30 days ago: recall 80.0% (95% interval 58.4% to 91.9%), 16 of 20 frauds; "
    assert old + "precision 64.0% (95% interval 44.5% to 79.8%), 16 of 25 alerts." in out
    young = f"{V7.id}, predictions in the last 30 days, which are not final: recall 50.0% "
    assert young in out
    rows = [line.split() for line in out.splitlines() if line.startswith("20")]
    assert [(row[0], row[1], row[2]) for row in rows] == [
        ("2026-01-05", V6.id, "400"),
        ("2026-01-26", V7.id, "210"),
        ("2026-03-02", V7.id, "5"),
    ]
    assert rows[0][-1] == "60.0%"
    assert rows[1][-2:] == ["not", "final"]


def test_what_is_final_depends_on_the_spec_and_on_the_day_it_is_shown(
    installation: Installation, figures: OutcomeReader, serinus: Serinus
) -> None:
    installation.log.mark = "1"
    figures.look()

    def labelled() -> tuple[int | None, int | None]:
        found = serinus("status", "card-fraud", "--json").json["outcomes"]
        return tuple(found[name] and found[name]["labelled"] for name in ("matured", "young"))

    assert labelled() == (200, 15)
    installation.fleet.specs["card-fraud"] = "alerts: {matures: 10d}\n"
    assert labelled() == (210, 5)
    installation.fleet.specs["card-fraud"] = "alerts: {matures: 60d}\n"
    assert labelled() == (None, 215)
    installation.clock.time = NOW + timedelta(days=61)
    assert labelled() == (215, None)


def test_the_metrics_have_them_by_maturity(installation: Installation, figures: OutcomeReader) -> None:
    installation.log.mark = "1"
    figures.look()
    client = Client(installation.addresses["api"], installation.token("scraper"))
    text = client._http.get("/metrics").text
    where = f'maturity="matured",model="card-fraud",release="{V7.id}"'
    assert f"serinus_outcomes_recall{{{where}}} 0.8\n" in text
    assert f"serinus_outcomes_frauds{{{where}}} 20.0\n" in text
    assert f'serinus_outcomes_alerts{{maturity="young",model="card-fraud",release="{V7.id}"}} 5.0\n' in text
