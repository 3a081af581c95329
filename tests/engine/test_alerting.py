"""The champion's live alert rate, at the gates of the next version."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from lab import ADA, SPEC, Lab

from serinus.core.rollout import Phase
from serinus.engine import Report
from serinus.engine.alerting import live_alerts


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """A champion whose threshold lets 25% of the evaluation rows alert, and 0.5% of the live requests."""
    made = Lab(tmp_path)
    made.live("6", alerts=0.005)
    made.register("7")
    made.per_second = 200
    made.run(120)
    return made


def quality(lab: Lab, spec: str | None = None) -> str:
    lab.desk.deploy(ref="fraud@7", spec=spec, actor=ADA)
    lab.run(600, until=lambda: lab.phase is Phase.CANARY)
    return next(gate.summary for gate in lab.rollout.gates if gate.gate == "quality")


def test_a_threshold_that_does_not_hold_live_is_told_of_at_the_gates_of_the_next_version(lab: Lab) -> None:
    rate = live_alerts(lab.world, lab.store.model("fraud"))
    assert rate is not None
    assert rate.alerts / rate.requests == pytest.approx(0.005, rel=0.3)
    summary = quality(lab)
    assert re.search(r"0\.[45]\d% of its 2\d,\d00 live rows alert, not 25\.00%", summary), summary


def test_with_another_budget_than_the_champions_nothing_is_compared(lab: Lab) -> None:
    assert "live rows alert" not in quality(lab, SPEC.replace("25%", "20%"))


def test_the_status_of_the_model_has_the_rate(lab: Lab) -> None:
    report = Report(lab.world, lambda: {}, lambda: [], {}, lambda: [])
    shown = report.model("fraud").alerts
    assert shown is not None
    assert shown.rate_low < shown.rate < shown.rate_high
    assert (shown.requests, shown.rows) == (shown.rows, shown.requests) != (0, 0)
