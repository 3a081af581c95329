"""What is told of a canary before it begins."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pytest
from lab import ADA, SPEC, Lab

from serinus.core.evidence import ArmCounts, Totals, Traffic
from serinus.core.rollout import Phase

pytestmark = pytest.mark.long

PLAIN = "model: fraud\nalerts: {budget: 25%}\ngates: {evaluation: evaluation.csv}\n"


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    made = Lab(tmp_path)
    made.live("6")
    made.register("7")
    return made


def busy(lab: Lab, per_second: float) -> None:
    champion = lab.store.model("fraud").champion
    assert champion is not None
    traffic = Traffic(champion.id, round(3600 * per_second), 3600.0, 0, 1.0, 2.0)
    lab.log.traffic = lambda model, seconds: {champion.id: traffic}  # type: ignore[method-assign]


def deploy(lab: Lab, spec: str | None = None, source: str = "fraud.yaml"):
    return lab.desk.deploy(ref="fraud@7", spec=spec, actor=ADA, source=source)


def test_at_low_traffic_the_time_is_told_with_a_faster_choice(lab: Lab) -> None:
    busy(lab, 1)
    advice = deploy(lab, PLAIN).advice
    assert advice.estimate.startswith(
        "At 1 request/s the canary of a version as good as the champion takes about 2.1 days: about 1.2 "
        "days at 5%, about 11.1 hours at 25%, about 11.1 hours at 50%. At 5% the slowest metric, errors, clears in "
        "about "
    )
    assert (
        "To decide sooner, give the version a larger share in the spec: `rollout.steps: [{traffic: " in advice.estimate
    )
    assert "`rollout.steps: [{traffic: 50%, requests: 5000}]` takes about 1" in advice.estimate
    assert advice.warnings == ()
    assert advice.details is not None
    (first, *_) = advice.details["steps"]
    assert first["traffic"] == 0.05
    assert first["seconds"] == pytest.approx(first["requests"] / 0.05)
    assert first["metrics"]["errors"] <= first["requests"] == 5000


def test_a_rate_of_thousands_is_written_out(lab: Lab) -> None:
    busy(lab, 2_174.4)
    assert deploy(lab, PLAIN).advice.estimate.startswith("At 2,174 requests/s the canary ")


def test_an_estimate_is_what_the_canary_then_takes(lab: Lab) -> None:
    lab.per_second = 200
    lab.run(600)
    advice = deploy(lab).advice
    assert advice.details is not None
    assert advice.details["per_second"] == pytest.approx(200, rel=0.9)
    busy(lab, 200)
    lab.run(4000, until=lambda: lab.phase is Phase.CANARY)
    began = lab.clock.now()
    lab.run(20_000, until=lambda: lab.phase.ended)
    assert lab.phase is Phase.PROMOTED
    expected = sum(step["seconds"] for step in advice.details["steps"]) * advice.details["per_second"] / 200
    assert (lab.clock.now() - began).total_seconds() == pytest.approx(expected, rel=0.5)


def test_traffic_that_has_just_begun_is_told_at_its_rate_and_not_at_the_mean_of_the_hour(lab: Lab) -> None:
    lab.run(3600)
    lab.run(60 - lab.clock.now().second)
    lab.per_second = 200
    lab.run(30)
    advice = deploy(lab).advice
    assert advice.details is not None
    assert advice.details["per_second"] == pytest.approx(200, rel=0.1)


def test_a_model_that_is_seldom_asked_is_told_at_the_mean_of_the_hour(lab: Lab) -> None:
    champion = lab.store.model("fraud").champion
    assert champion is not None

    def traffic(model: str, seconds: float) -> dict[str, Traffic]:
        """One request in 100 seconds, and three within the minute that has begun."""
        return {champion.id: Traffic(champion.id, 3 + round(seconds / 100), seconds + 30.0, 0, 1.0, 2.0)}

    lab.log.traffic = traffic  # type: ignore[method-assign]
    advice = deploy(lab).advice
    assert advice.details is not None
    assert advice.details["per_second"] == pytest.approx(0.01, rel=0.1)


@pytest.mark.parametrize(("entities", "told"), [(1, "1 entity asked"), (20, "20 entities asked"), (90, ""), (None, "")])
def test_few_entities_are_warned_of_as_soon_as_a_canary_has_counted_them(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, entities: int | None, told: str
) -> None:
    busy(lab, 100)
    lab.per_second = 100
    deploy(lab, PLAIN)
    lab.run(600, until=lambda: lab.phase is Phase.CANARY)
    counts, champion = lab.log.counts_of_all, lab.store.model("fraud").champion
    assert champion is not None

    def of_few(splits: Collection[str]) -> dict[str, dict[str, ArmCounts]]:
        return {
            split: {
                release: replace(arm, first_in_step={"entities": (entities or 0) * (release == champion.id)})
                for release, arm in arms.items()
            }
            for split, arms in counts(splits).items()
        }

    monkeypatch.setattr(lab.log, "counts_of_all", of_few)
    lab.run(10)
    lab.desk.order("fraud", "abort", actor=ADA)
    lab.run(60, until=lambda: lab.phase.ended)
    lab.register("8")
    advice = lab.desk.deploy(ref="fraud@8", spec=PLAIN, actor=ADA, source="fraud.yaml").advice
    found = [warning for warning in advice.warnings if "asked" in warning]
    assert len(found) == bool(told)
    assert all(told in warning and "% of all rollouts" in warning for warning in found)


def test_much_traffic_needs_no_other_choice(lab: Lab) -> None:
    busy(lab, 500)
    advice = deploy(lab, PLAIN).advice
    assert "takes about" in advice.estimate
    assert "To decide sooner" not in advice.estimate


def test_a_minimum_that_the_traffic_cannot_reach_is_warned_of_with_its_line(lab: Lab) -> None:
    busy(lab, 1)
    spec = PLAIN + "rollout:\n  steps:\n    - {traffic: 50%, requests: 50000, for: 1m, at_most: 6h}\n"
    said = deploy(lab, spec)
    (warning,) = said.advice.warnings
    assert warning == (
        "fraud.yaml:6: rollout.steps[0].requests: at the present 30 requests/min to the canary the step takes about "
        "1.2 days (about 50,000 requests of the canary, for its minimum of 50,000 requests), but it ends without a "
        "verdict after 12 hours"
    )
    assert f"warning: {warning}" in lab.rollout.notes


def test_a_step_whose_metrics_cannot_be_cleared_in_time_is_warned_of(lab: Lab) -> None:
    busy(lab, 0.01)
    warnings = deploy(lab, PLAIN).advice.warnings
    assert len(warnings) == 3
    assert "for its minimum of 5,000 requests), but it ends without a verdict after 2 days" in warnings[0]
    assert "1.8 requests/h to the canary" in warnings[0]


def test_a_model_without_traffic_is_warned_of(lab: Lab) -> None:
    said = deploy(lab)
    assert said.advice.estimate == ""
    assert said.advice.warnings == (
        "models/fraud/model.yaml:7: rollout.steps: no request has reached fraud in the last hour: a canary cannot be "
        "judged without traffic, and would be aborted in the end",
    )


def test_a_budget_that_the_champion_itself_exceeds_is_warned_of(lab: Lab) -> None:
    busy(lab, 500)
    champion = lab.store.model("fraud").champion.id
    totals = Totals(champion, "fraud", requests=20_000, errors=60)
    lab.log.totals = lambda: {champion: totals}  # type: ignore[method-assign]
    spec = PLAIN + "watch:\n  errors: {budget: 0.2%}\n"
    (warning,) = deploy(lab, spec).advice.warnings
    assert warning == (
        "fraud.yaml:5: watch.errors.budget: 0.2% is less than the 0.3% that the champion itself fails of its 20,000 "
        "requests: a version as good as the champion does not pass the canary"
    )


@pytest.mark.parametrize(
    ("errors", "budget", "told"),
    [
        (20, "0.2%", ""),
        (12, "0.1%", ""),
        (9, "0.02%", ""),
        (20, "0.4%", "0.4% is more than 3 times the 0.1% that the champion itself fails"),
    ],
)
def test_a_budget_is_held_against_what_the_champion_fails(lab: Lab, errors: int, budget: str, told: str) -> None:
    busy(lab, 500)
    champion = lab.store.model("fraud").champion.id
    totals = Totals(champion, "fraud", requests=20_000, errors=errors)
    lab.log.totals = lambda: {champion: totals}  # type: ignore[method-assign]
    warnings = deploy(lab, f"{PLAIN}watch:\n  errors: {{budget: {budget}}}\n").advice.warnings
    assert [told in warning for warning in warnings] == ([True] if told else [])


def test_a_first_deployment_has_no_canary_to_tell_of(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.register("6")
    said = lab.desk.deploy(ref="fraud@6", spec=SPEC, actor=ADA)
    assert (said.advice.estimate, said.advice.warnings, said.advice.details) == ("", (), None)


def test_a_log_that_does_not_answer_keeps_no_deployment_from_beginning(lab: Lab) -> None:
    lab.log.away = True
    from serinus.core.errors import Unavailable

    def away(model: str, seconds: float) -> dict[str, Traffic]:
        raise Unavailable("away")

    lab.log.traffic = away  # type: ignore[method-assign]
    said = deploy(lab)
    assert said.rollout == "fraud-r2"
    assert said.advice.warnings == ()
