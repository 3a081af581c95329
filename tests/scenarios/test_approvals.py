"""Ways around an approval, as somebody with the role deploy, or one person with two tokens, would try them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from lab import ADA, GRACE, MODEL, SPEC, Lab

from serinus.core.errors import Refused, Unavailable
from serinus.core.people import Access, Actor
from serinus.core.rollout import Cause, Phase
from serinus.core.routing import WHOLE
from serinus.engine.policies import ModelPolicy

ASKING = SPEC.replace("rollout:", "rollout:\n  approval: required")
ANNA = Actor("anna-ci", Access.DEPLOY, "test", "anna@bank")
ANNA_APPROVES = Actor("anna-laptop", Access.APPROVE, "test", " Anna@BANK ")
BERT = Actor("bert", Access.APPROVE, "test", "bert@bank")
ROOT = Actor("root", Access.ADMIN, "test", "root")


@pytest.fixture
def held(lab: Lab) -> Lab:
    """fraud@6 is live, and every version needs an approval."""
    lab.live("6")
    lab.per_second = 500
    lab.desk.set_approval(MODEL, True, actor=ADA)
    return lab


def ask(lab: Lab, version: str, actor: Actor = ANNA, spec: str | None = None, **options: object) -> None:
    """Deploys it, and goes on until it waits for an approval or has ended."""
    begun = lab.desk.deploy(ref=f"{MODEL}@{version}", spec=spec, actor=actor, **options).rollout
    stands = lambda: lab.rollout.id == begun and (lab.phase is Phase.APPROVAL or lab.phase.ended)  # noqa: E731
    lab.run(300, until=stands)
    assert stands(), lab.rollout


def waits(lab: Lab, seconds: float = 60) -> bool:
    """Whether it still waits after so long, with nothing but version 6 live."""
    lab.run(seconds, until=lambda: lab.phase is not Phase.APPROVAL)
    return lab.phase is Phase.APPROVAL and lab.champion == "6" and lab.weights() == {"6": WHOLE}


# --- who approves -----------------------------------------------------------------------------------------


def test_two_tokens_of_one_owner_are_not_four_eyes(held: Lab) -> None:
    held.register("7")
    ask(held, "7")
    with pytest.raises(Refused, match=r"requested by anna-ci \(anna@bank\): it must be approved by another person"):
        held.desk.order(MODEL, "approve", actor=ANNA_APPROVES)
    assert waits(held)
    held.desk.order(MODEL, "approve", actor=BERT, why="seen with risk")
    held.run(10)
    assert held.phase is Phase.CANARY
    (note,) = [note for note in held.rollout.notes if "approved" in note]
    assert note.startswith(f"{held.rollout.candidate.id} was approved by bert (bert@bank) at 2026-03-01 ")
    assert "(seen with risk)" in note
    assert "on the request of anna-ci (anna@bank)" in note
    assert "load pass" in note
    assert held.rollout.approver == BERT
    texts = [e.text for e in held.store.events(model=MODEL) if e.rollout == held.rollout.id]
    assert any("approved by bert (bert@bank)" in text for text in texts)
    (entry,) = [e for e in held.store.audit_trail() if e.what == "begin-canary"]
    assert (entry.details["asked_by"], entry.details["approved_by"]) == ("anna-ci (anna@bank)", "bert (bert@bank)")


def test_an_order_of_the_same_owner_that_is_stored_all_the_same_approves_nothing(held: Lab) -> None:
    """The engine does not rely on the desk for it."""
    from serinus.core.rollout import Order

    held.register("7")
    ask(held, "7")
    held.store.order(held.rollout.id, Order("approve", ANNA_APPROVES, "", held.clock.now()))
    assert waits(held)


def test_a_token_that_was_issued_again_to_another_owner_does_not_approve_what_it_asked_for(held: Lab) -> None:
    held.register("7")
    ask(held, "7")
    again = Actor(ANNA.name, Access.APPROVE, "test", "carl@bank")
    with pytest.raises(Refused, match="another person"):
        held.desk.order(MODEL, "approve", actor=again)
    assert waits(held)


def test_a_rollout_that_waits_is_not_promoted_by_an_order_nor_by_asking_again(held: Lab) -> None:
    held.register("7")
    ask(held, "7")
    with pytest.raises(Refused, match="only a rollout in the phase canary"):
        held.desk.order(MODEL, "promote", actor=ANNA)
    ask(held, "7", supersede=True)
    assert waits(held)
    held.desk.order(MODEL, "abort", actor=ANNA)
    held.run(30, until=lambda: held.phase.ended)
    ask(held, "7", why="again")
    assert waits(held)


# --- specs and policies -----------------------------------------------------------------------------------


def test_what_an_unapproved_deployments_spec_changes_holds_only_once_it_is_approved(held: Lab) -> None:
    before = held.fleet.read(MODEL)
    loose = SPEC.replace("rollout:", "retention: {predictions: 1d}\nrollout:")
    held.register("7")
    ask(held, "7", spec=loose)
    assert held.fleet.read(MODEL) == before
    assert held.log.kept[MODEL] == 90
    assert any("its spec, which changes: retention.predictions" in note for note in held.rollout.notes)
    held.desk.order(MODEL, "abort", actor=ANNA)
    held.run(30, until=lambda: held.phase.ended)
    assert held.fleet.read(MODEL) == before, "nobody has approved it"
    ask(held, "7", spec=loose, why="again")
    held.desk.order(MODEL, "approve", actor=BERT)
    held.run(10)
    assert held.fleet.read(MODEL) == loose
    assert held.log.kept[MODEL] == 1


def test_the_spec_of_an_approved_deployment_is_kept_although_git_was_away(held: Lab, monkeypatch) -> None:
    loose = SPEC.replace("rollout:", "retention: {predictions: 1d}\nrollout:")
    held.register("7")
    ask(held, "7", spec=loose)
    write, away = held.fleet.write, True

    def sometimes(*arguments: object, **options: object) -> object:
        if away:
            raise Unavailable("Git does not answer")
        return write(*arguments, **options)

    monkeypatch.setattr(held.fleet, "write", sometimes)
    held.desk.order(MODEL, "approve", actor=BERT)
    held.run(20)
    assert held.phase is Phase.APPROVAL
    away = False
    held.run(10)
    assert held.phase is Phase.CANARY
    assert held.fleet.read(MODEL) == loose


def test_a_spec_that_git_brought_counts_for_the_deployment_that_drops_it(lab: Lab) -> None:
    """Also after the policy was loosened once, which was about another spec."""
    lab.live("6")
    lab.per_second = 500
    lab.desk.set_approval(MODEL, True, actor=ADA)
    lab.desk.set_approval(MODEL, False, actor=ROOT)
    lab.fleet.specs[MODEL] = ASKING  # pushed
    lab.register("7")
    ask(lab, "7", spec=SPEC)
    assert waits(lab)
    assert lab.desk.policy(MODEL).approval_required


def test_a_push_that_drops_the_approval_does_not_loosen_the_policy(held: Lab) -> None:
    held.register("7")
    ask(held, "7", spec=ASKING)
    held.desk.order(MODEL, "approve", actor=BERT)
    held.run(4 * 3600, until=lambda: held.phase.ended)
    held.fleet.specs[MODEL] = SPEC  # pushed
    held.register("8")
    ask(held, "8")
    assert held.phase is Phase.APPROVAL


def test_a_spec_in_git_that_cannot_be_read_is_not_taken_to_ask_for_nothing(lab: Lab) -> None:
    lab.live("6")
    lab.per_second = 500
    lab.fleet.specs[MODEL] = "model: fraud\nrollout: {approval: requird}\n"
    lab.register("7")
    ask(lab, "7", spec=SPEC)
    assert waits(lab)


def test_what_a_home_before_policies_was_deployed_by_holds_also_after_a_push(lab: Lab) -> None:
    lab.live("6")
    lab.per_second = 500
    lab.store.save(replace(lab.rollout, spec=ASKING))
    lab.fleet.specs[MODEL] = SPEC  # pushed
    lab.register("7")
    ask(lab, "7")
    assert waits(lab)


def test_who_loosens_the_policy_does_not_deploy_by_it(held: Lab) -> None:
    said = held.desk.set_approval(MODEL, False, actor=ANNA_APPROVES)
    assert "except what anna-laptop or an alias deploys" in said
    held.register("7")
    ask(held, "7")
    assert waits(held), "it is the same owner's"
    held.desk.order(MODEL, "abort", actor=ANNA)
    held.run(30, until=lambda: held.phase.ended)
    held.registry.alias[MODEL]["challenger"] = "7"
    held.register("8")
    held.registry.alias[MODEL]["challenger"] = "8"
    held.run(300, until=lambda: held.rollout.version == "8" and held.phase is Phase.APPROVAL)
    assert waits(held), "an alias may be the same owner's"
    held.desk.order(MODEL, "abort", actor=ANNA)
    held.run(30, until=lambda: held.phase.ended)
    held.register("9")
    held.desk.deploy(ref=f"{MODEL}@9", spec=None, actor=ADA)
    held.run(4 * 3600, until=lambda: held.phase.ended)
    held.everything_agrees_on("9")


def test_an_admin_loosens_the_policy_for_everybody(held: Lab) -> None:
    held.desk.set_approval(MODEL, False, actor=ANNA_APPROVES)
    assert held.desk.set_approval(MODEL, False, actor=ROOT).endswith("needs no approval")
    assert "already" in held.desk.set_approval(MODEL, False, actor=ROOT)
    held.register("7")
    held.desk.deploy(ref=f"{MODEL}@7", spec=None, actor=ANNA)
    held.run(4 * 3600, until=lambda: held.phase.ended)
    held.everything_agrees_on("7")


def test_to_say_again_that_no_approval_is_needed_changes_nothing(lab: Lab) -> None:
    lab.live("6")
    for actor in (ADA, ANNA_APPROVES, ROOT):
        assert lab.desk.set_approval(MODEL, False, actor=actor).endswith("needs no approval already")
    assert lab.desk.policy(MODEL) == ModelPolicy()
    assert not [e for e in lab.store.events(model=MODEL) if e.kind == "policy-changed"]


# --- rollbacks --------------------------------------------------------------------------------------------


def test_no_rollback_reaches_a_version_that_nobody_has_approved(held: Lab) -> None:
    """Waiting, superseded, and stopped: by release, by version, and without a name."""
    held.register("7")
    ask(held, "7")
    candidate = held.rollout.candidate.id
    held.register("8")
    held.desk.deploy(ref=f"{MODEL}@8", spec=None, actor=ANNA, supersede=True)
    held.run(300, until=lambda: held.rollout.version == "8" and held.phase is Phase.APPROVAL)
    assert next(r for r in held.store.rollouts(MODEL) if r.version == "7").status.cause is Cause.SUPERSEDED
    for wanted in (candidate, "7", held.rollout.candidate.id, "8"):
        with pytest.raises(Refused, match="was never the champion"):
            held.desk.rollback(MODEL, to=wanted, actor=ANNA)
    with pytest.raises(Refused, match="no former champion"):
        held.desk.rollback(MODEL, to=None, actor=ANNA)
    held.desk.order(MODEL, "abort", actor=ANNA)
    held.run(30, until=lambda: held.phase.ended)
    for wanted in (candidate, "7", "8"):
        with pytest.raises(Refused, match="was never the champion"):
            held.desk.rollback(MODEL, to=wanted, actor=ANNA)
    assert held.champion == "6"


def test_a_former_champion_is_deployed_again_only_with_an_approval(held: Lab) -> None:
    held.register("7")
    ask(held, "7")
    held.desk.order(MODEL, "approve", actor=BERT)
    held.run(4 * 3600, until=lambda: held.phase.ended)
    held.everything_agrees_on("7")
    ask(held, "6")
    assert held.phase is Phase.APPROVAL
    assert held.champion == "7"


# --- aliases ----------------------------------------------------------------------------------------------


def test_an_alias_is_nobodys_proposal_and_anybody_with_the_role_approves_it(held: Lab) -> None:
    held.register("7")
    held.registry.alias[MODEL]["challenger"] = "7"
    held.run(300, until=lambda: held.phase is Phase.APPROVAL)
    assert held.rollout.actor.name == "nobody"
    assert waits(held)
    with pytest.raises(Refused, match="role approve"):
        held.desk.order(MODEL, "approve", actor=ANNA)
    held.desk.order(MODEL, "approve", actor=ANNA_APPROVES)
    held.run(10)
    assert held.phase is Phase.CANARY


def test_who_asked_for_a_version_before_does_not_approve_it_as_nobodys(held: Lab) -> None:
    held.register("7")
    ask(held, "7")
    held.desk.order(MODEL, "abort", actor=ANNA)
    held.run(30, until=lambda: held.phase.ended)
    ask(held, "7", actor=Actor("nobody", Access.DEPLOY, "alias"), why="the alias challenger was set")
    with pytest.raises(Refused, match=r"by anna-ci \(anna@bank\): it must be approved by another person"):
        held.desk.order(MODEL, "approve", actor=ANNA_APPROVES)
    held.desk.order(MODEL, "approve", actor=BERT)


def test_an_alias_of_somebody_whom_the_registry_names_is_not_theirs_to_approve(held: Lab) -> None:
    held.register("7")
    held.registry.setters["challenger", "7"] = "anna@bank"
    held.registry.alias[MODEL]["challenger"] = "7"
    held.run(300, until=lambda: held.phase is Phase.APPROVAL)
    assert held.rollout.actor.shown == "anna@bank"
    with pytest.raises(Refused, match="another person"):
        held.desk.order(MODEL, "approve", actor=ANNA_APPROVES)
    held.desk.order(MODEL, "approve", actor=BERT)


@pytest.mark.parametrize("alias", ["champion", "Champion", "production"])
def test_the_alias_champion_moved_by_hand_changes_nothing_that_runs(held: Lab, alias: str) -> None:
    held.register("7")
    held.registry.alias[MODEL][alias] = "7"
    held.run(120)
    assert held.champion == "6"
    assert held.weights() == {"6": WHOLE}
    assert held.registry.alias[MODEL]["champion"] == "6"
    assert held.rollout.version == "6", "nothing was begun"


def test_an_alias_while_a_version_waits_does_not_take_its_place(held: Lab) -> None:
    held.register("7")
    held.register("8")
    ask(held, "7")
    held.registry.alias[MODEL]["challenger"] = "8"
    held.registry.alias[MODEL]["champion"] = "7"
    assert waits(held)
    assert held.rollout.version == "7"


def test_grace_approves_what_ada_asked_for(held: Lab) -> None:
    """The usual way, beside all that is refused."""
    held.register("7")
    ask(held, "7", actor=ADA)
    held.desk.order(MODEL, "approve", actor=GRACE)
    held.run(4 * 3600, until=lambda: held.phase.ended)
    held.everything_agrees_on("7")
