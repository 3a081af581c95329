"""Before a release gets more traffic it is made large enough for it; what it replaces stays as large for a while."""

from __future__ import annotations

import pytest
from lab import ADA, GRACE, MODEL, SPEC, Lab

from serinus.core.errors import Unavailable
from serinus.core.people import Access, Actor
from serinus.core.rollout import Cause, Kind, Phase
from serinus.core.routing import Routing

pytestmark = pytest.mark.long

PROMOTER = Actor("hopper", Access.ADMIN, "test")


@pytest.fixture
def busy(lab: Lab) -> Lab:
    """fraud@6 carries 500 requests a second with four workers. fraud@7 has one."""
    lab.live("6")
    lab.per_second = 500
    lab.target.workers |= {"6": 4, "7": 1}
    lab.run(120)
    lab.register("7")
    return lab


def deploy(lab: Lab, spec: str | None = None) -> None:
    lab.desk.deploy(ref=f"{MODEL}@7", spec=spec, actor=ADA)


def expected(lab: Lab) -> dict[str, int]:
    """Version -> workers."""
    return {name.rsplit("-", 2)[1]: workers for name, workers in lab.target.expected.items()}


def to_step(lab: Lab, weight: int) -> None:
    lab.run(4000, lambda: lab.weights().get("7") == weight)
    assert lab.weights()["7"] == weight, lab.rollout.status


def to_hold(lab: Lab) -> str:
    lab.run(4000, lambda: "workers that carry" in lab.rollout.status.hold)
    return lab.rollout.status.hold.partition(" has ")[2]


def test_the_candidate_grows_before_each_step_and_before_the_promotion(
    busy: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    before: dict[int, int] = {}
    apply = busy.router.apply

    def noted(routing: Routing) -> None:
        whole = {arm.release.rsplit("-", 2)[1]: arm.weight for arm in routing.arms}
        before[whole.get("7", 0)] = busy.target.workers["7"]
        apply(routing)

    monkeypatch.setattr(busy.router, "apply", noted)
    deploy(busy)
    busy.run(4000, lambda: busy.phase.ended)
    assert busy.phase is Phase.PROMOTED, busy.rollout.status
    # A worker of the champion carries 125 requests a second. A fifth more than needed is expected.
    assert before == {500: 1, 5000: 3, 10_000: 5}


def test_a_step_waits_for_its_workers_and_says_so(busy: Lab) -> None:
    busy.target.without_room = True
    deploy(busy)
    to_step(busy, 500)
    assert to_hold(busy) == "1 of the 2 workers that carry 50%"
    busy.run(600)
    assert (busy.phase, busy.weights()) == (Phase.CANARY, {"6": 9500, "7": 500})
    assert expected(busy) == {"6": 4, "7": 3}
    busy.target.without_room = False
    to_step(busy, 5000)


def test_a_step_that_never_gets_its_workers_ends_with_that_reason(busy: Lab) -> None:
    busy.target.without_room = True
    deploy(busy)
    busy.run(4 * 3600, lambda: busy.phase.ended)
    assert (busy.phase, busy.rollout.status.cause) == (Phase.ABORTED, Cause.PATIENCE)
    assert "1 of the 2 workers that carry 50%" in busy.rollout.status.reason
    busy.everything_agrees_on("6")


def test_a_promotion_of_a_candidate_that_can_never_be_large_enough_is_held_and_said(busy: Lab) -> None:
    busy.target.most["7"] = 3
    deploy(busy)
    to_step(busy, 5000)
    assert to_hold(busy) == "3 of the 4 workers that carry 100%, and may have 3 at most"
    busy.run(600)
    assert (busy.phase, busy.weights()) == (Phase.CANARY, {"6": 5000, "7": 5000})


def test_it_need_not_be_larger_than_the_champion_can_be(busy: Lab) -> None:
    busy.target.most |= {"6": 4, "7": 4}
    deploy(busy)
    to_step(busy, 500)
    busy.per_second = 2000  # The champion carries four times as much with the same workers.
    busy.run(4000, lambda: busy.phase.ended)
    assert busy.phase is Phase.PROMOTED, busy.rollout.status


def test_a_person_may_promote_what_is_too_small_after_a_short_wait(busy: Lab) -> None:
    busy.target.without_room = True
    deploy(busy)
    to_step(busy, 500)
    busy.desk.order(busy.rollout.id, "promote", actor=PROMOTER, why="now")
    busy.run(20)
    assert busy.phase is Phase.CANARY
    busy.run(20)
    assert busy.phase is Phase.PROMOTED
    assert busy.rollout.status.reason.endswith("1 of the 4 workers that carry 100%")


def test_the_champion_stays_large_enough_for_an_abort(busy: Lab) -> None:
    deploy(busy)
    to_step(busy, 5000)
    busy.run(300, lambda: busy.phase is not Phase.CANARY or busy.rollout.status.hold != "")
    assert expected(busy)["6"] == 4


def test_the_releases_stay_large_for_an_hour_and_then_follow_their_load(busy: Lab) -> None:
    deploy(busy)
    busy.run(4000, lambda: busy.phase.ended)
    busy.run(3000)
    assert expected(busy) == {"6": 4, "7": 5}
    busy.run(700)
    assert expected(busy) == {"6": 0, "7": 0}


def test_a_rollback_within_that_hour_finds_the_champion_before_large_enough(busy: Lab) -> None:
    deploy(busy)
    busy.run(4000, lambda: busy.phase.ended)
    busy.run(600)
    busy.target.without_room = True
    busy.desk.rollback(MODEL, to=None, actor=ADA)
    busy.run(8)
    assert (busy.rollout.kind, busy.champion, busy.weights()) == (Kind.ROLLBACK, "6", {"6": 10_000})


def test_a_rollback_waits_for_workers_but_not_for_long(busy: Lab) -> None:
    deploy(busy)
    busy.run(4000, lambda: busy.phase.ended)
    busy.run(4000)
    busy.target.workers["6"], busy.target.without_room = 1, True
    busy.desk.rollback(MODEL, to=None, actor=ADA)
    busy.run(20)
    assert busy.phase is Phase.PLACE
    assert "1 of the 4 workers that carry 100%" in busy.rollout.status.hold
    assert busy.kinds()[-1] == "waits-for-capacity"
    busy.run(20)
    assert (busy.phase, busy.champion) == (Phase.PROMOTED, "6")


@pytest.mark.parametrize("approval", [False, True])
def test_a_first_step_waits_as_well(busy: Lab, approval: bool) -> None:
    busy.target.without_room = True
    asked = "rollout:\n  approval: required" if approval else "rollout:"
    deploy(busy, SPEC.replace("traffic: 5%", "traffic: 40%").replace("rollout:", asked))
    if approval:
        busy.run(40)
        assert (busy.phase, busy.rollout.status.hold) == (Phase.APPROVAL, "")
        busy.desk.order(busy.rollout.id, "approve", actor=GRACE)
    assert to_hold(busy) == "1 of the 2 workers that carry 40%"
    assert busy.phase is (Phase.APPROVAL if approval else Phase.GATES)
    busy.target.without_room = False
    to_step(busy, 4000)


def test_a_target_that_takes_no_number_holds_the_step_and_nothing_else(
    busy: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(release_id: str, workers: int) -> None:
        raise Unavailable("The API server does not answer.")

    monkeypatch.setattr(busy.target, "expect", refuse)
    deploy(busy)
    to_step(busy, 500)
    assert to_hold(busy) == "1 of the 2 workers that carry 50%"
    busy.desk.order(busy.rollout.id, "abort", actor=ADA)
    busy.run(8)
    busy.everything_agrees_on("6")


def test_nothing_is_expected_and_nothing_waits_where_the_load_is_unknown(busy: Lab) -> None:
    busy.target.without_room = True
    busy.per_second = 0
    busy.run(300)
    deploy(busy)
    to_step(busy, 500)
    assert expected(busy) == {}


def test_a_load_that_goes_up_and_down_a_little_is_not_told_each_time(busy: Lab) -> None:
    busy.target.without_room = True
    deploy(busy)
    to_hold(busy)
    for rate in (500, 450, 520, 480) * 5:
        busy.per_second = rate
        busy.run(20)
    told = {one.split("-", 1)[1] for one in busy.target.history if one.startswith("expect")}
    assert sorted(int(one.split()[1]) for one in told) == [1, 3, 4], told


def test_a_candidate_that_the_target_doubts_gets_no_more_traffic_and_says_why(busy: Lab) -> None:
    deploy(busy)
    to_step(busy, 500)
    busy.target.unsettled["7"] = "Argo CD reports it as OutOfSync: Deployment fraud-7"
    busy.run(4000, lambda: "gets no more traffic" in busy.rollout.status.hold)
    assert busy.rollout.status.hold.endswith("for now: Argo CD reports it as OutOfSync: Deployment fraud-7")
    assert busy.weights()["7"] == 500
    busy.target.unsettled.clear()
    busy.run(4000, lambda: busy.phase.ended)
    assert busy.phase is Phase.PROMOTED


def test_a_candidate_that_is_doubted_for_too_long_is_aborted_in_the_words_of_the_target(busy: Lab) -> None:
    deploy(busy)
    to_step(busy, 500)
    busy.target.unsettled["7"] = "Argo CD cannot apply it: no such kind"
    busy.run(4 * 3600, lambda: busy.phase.ended)
    assert busy.phase is Phase.ABORTED
    assert "Argo CD cannot apply it: no such kind" in busy.rollout.status.reason
