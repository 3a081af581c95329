"""A model is taken out of service, or out of the registry."""

from __future__ import annotations

import logging

import pytest
from lab import ADA, MODEL, Lab

from serinus.core.errors import InvalidInput, NotFound, Refused
from serinus.core.rollout import Cause, Phase


def retire(lab: Lab, *, abort: bool = False, why: str = "replaced") -> str:
    begun = lab.desk.retire(MODEL, abort=abort, actor=ADA, why=why)
    assert begun.rollout is not None
    return begun.rollout


def test_a_retired_model_is_not_served_and_its_record_stays(lab):
    lab.live("1")
    retire(lab)
    lab.run(20)
    assert lab.phase is Phase.RETIRED
    assert lab.router.routings == {}
    assert lab.router.retired == {MODEL}
    assert lab.target.placed == {}
    assert "champion" not in lab.registry.alias[MODEL]
    assert "retired" in lab.fleet.published[MODEL]
    assert lab.fleet.commits[-1] == (MODEL, "ada", "replaced")
    assert lab.kinds() == ["created", "retiring", "retired"]
    assert [r.status.phase for r in lab.store.rollouts(MODEL)] == [Phase.RETIRED, Phase.PROMOTED]
    assert "retire" in [entry.what for entry in lab.store.audit_trail()]


def test_its_workers_run_until_its_callers_are_told(lab):
    lab.live("1")
    lab.router.away = True
    retire(lab)
    lab.run(40)
    assert lab.phase is Phase.RETIRING
    assert len(lab.target.placed) == 1
    lab.router.away = False
    lab.run(20)
    assert lab.phase is Phase.RETIRED
    assert lab.target.placed == {}


def test_a_deployment_brings_it_back_through_the_gates(lab):
    lab.live("1")
    retire(lab)
    lab.run(20)
    lab.desk.deploy(ref=f"{MODEL}@1", spec=None, actor=ADA)
    lab.run(20)
    lab.everything_agrees_on("1")
    assert lab.router.retired == set()
    assert len(lab.rollout.gates) > 1
    assert lab.store.model(MODEL).retired is None


def test_an_alias_does_not_bring_it_back(lab):
    lab.live("1")
    lab.register("2")
    retire(lab)
    lab.run(20)
    lab.registry.set_alias(MODEL, "challenger", "2")
    lab.run(40)
    assert lab.champion is None
    assert [e.kind for e in lab.store.events(model=MODEL)].count("challenger-of-retired") == 1


def test_it_is_refused_without_a_reason_without_a_champion_and_twice(lab):
    with pytest.raises(NotFound):
        retire(lab)
    lab.live("1")
    with pytest.raises(InvalidInput):
        retire(lab, why=" ")
    retire(lab)
    lab.run(20)
    with pytest.raises(Refused, match="was retired on 2026-03-01 by ada: replaced"):
        retire(lab)
    with pytest.raises(Refused, match="was retired"):
        lab.desk.rollback(MODEL, to=None, actor=ADA)


def test_a_rollout_in_flight_is_ended_first_or_with_it(lab):
    lab.live("1")
    lab.register("2")
    lab.desk.deploy(ref=f"{MODEL}@2", spec=None, actor=ADA)
    lab.run(20)
    assert lab.phase is Phase.CANARY
    with pytest.raises(Refused, match="is in flight"):
        retire(lab)
    retire(lab, abort=True)
    lab.run(40)
    assert lab.phase is Phase.RETIRED
    assert lab.store.rollouts(MODEL)[1].status.cause is Cause.SUPERSEDED
    assert lab.target.placed == {}


def test_a_version_that_was_deleted_in_the_registry_is_told_once_and_served_on(lab, caplog):
    lab.live("1")
    lab.registry.delete("1")
    with caplog.at_level(logging.ERROR):
        lab.run(20)
        asked = lab.registry.finds
        lab.run(200)
    assert caplog.records == []
    assert lab.registry.finds == asked, "it is not looked for again and again"
    assert lab.engine.trouble == {}
    assert lab.routed_to("1")
    told = [e for e in lab.store.events(model=MODEL) if e.kind in ("not-in-registry", "champion-put-back")]
    assert [e.kind for e in told] == ["not-in-registry"]
    assert "serinus retire fraud" in told[0].text


def test_a_canary_whose_version_was_deleted_is_judged_on(lab):
    lab.live("1")
    lab.register("2")
    lab.per_second = 100
    lab.desk.deploy(ref=f"{MODEL}@2", spec=None, actor=ADA)
    lab.run(60, until=lambda: lab.phase is Phase.CANARY)
    lab.registry.delete("2")
    lab.run(3 * 3600, until=lambda: lab.phase.ended)
    assert lab.phase is Phase.PROMOTED
    assert lab.routed_to("2")
    assert lab.engine.trouble == {}


def test_a_version_that_is_back_under_its_alias_is_known_again(lab):
    lab.live("1")
    lab.registry.delete("1")
    lab.run(20)
    assert lab.store.model(MODEL).lost == {"champion": "1"}
    lab.registry.deleted.clear()
    lab.registry.set_alias(MODEL, "champion", "1")
    lab.run(20)
    assert lab.store.model(MODEL).lost == {}
