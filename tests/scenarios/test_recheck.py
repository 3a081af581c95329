"""The recheck in virtual time: what shorter ways have answered, compared with the model's own predict."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from lab import ADA, MODEL, SPEC, Counter, Killed, Lab, breaking, score_of

from serinus.core.kept_rows import MOST_ROWS
from serinus.core.predictions import AnsweredRequest
from serinus.core.release import Release
from serinus.engine import Report
from serinus.engine.distrust import distrusted, rechecked
from serinus.engine.news import RESYNC
from serinus.engine.steps.kept import keep_rows, kept_rows
from serinus.engine.steps.rows import Table
from serinus.resources import Model


def champion(lab: Lab) -> Release:
    found = lab.store.model(MODEL).champion
    assert found is not None
    return found


def compiled(lab: Lab, version: str = "1") -> Release:
    lab.compiler.differing[version] = 0
    lab.live(version)
    return champion(lab)


def asked(lab: Lab, release: Release, count: int = 10, wrong: float = 0.0, null: bool = False) -> None:
    """The release has answered so many requests, each by `wrong` too much."""
    how = lab.behaviours[release.version]
    for number in range(count):
        row = [float(number), None if null else 0.5]
        scores = [score_of(how, row) + wrong]
        lab.log.answered.append(AnsweredRequest(release.id, ("a", "b"), [row], scores))


def round_later(lab: Lab, seconds: float = 2.0) -> None:
    lab.clock.time += timedelta(seconds=seconds)
    lab.rechecker.round()


def until_the_next_look(lab: Lab) -> tuple[str, int]:
    """Its release and how many requests it was about."""
    looks = len(lab.rescorer.asked)
    for _ in range(1000):
        round_later(lab)
        if len(lab.rescorer.asked) > looks:
            return lab.rescorer.asked[-1]
    pytest.fail("no look")


def events(lab: Lab, kind: str) -> list[str]:
    return [event.text for event in lab.store.events(model=MODEL, limit=1000) if event.kind == kind]


def status(lab: Lab) -> Model:
    report = Report(lab.world, lambda: {}, lambda: [], {}, lambda: [])
    return report.status().models[0]


def test_right_answers_are_counted_and_change_nothing(lab: Lab) -> None:
    release = compiled(lab)
    asked(lab, release, 30)
    round_later(lab)
    counts = rechecked(lab.store)[release.id]
    assert (counts.compared, counts.differing) == (30, 0)
    assert distrusted(lab.store) == {}
    assert lab.rescorer.asked == [(release.id, 30)]
    assert status(lab).state == "serving"
    assert status(lab).rechecked.compared == 30


def test_a_release_without_a_score_is_not_rechecked(lab: Lab) -> None:
    lab.fleet.specs[MODEL] = SPEC + "serving: {score: none}\n"
    release = compiled(lab)
    assert not release.settings.scored
    lab.log.answered.append(AnsweredRequest(release.id, ("a", "b"), [[1.0, 0.5]], []))
    round_later(lab)
    assert (lab.rescorer.asked, distrusted(lab.store)) == ([], {})
    assert status(lab).state == "serving"


def test_a_wrong_graph_is_served_the_long_way_at_once_and_told_everywhere(lab: Lab) -> None:
    release = compiled(lab)
    lab.scorer.wrong = lambda _: 0.3
    asked(lab, release, 10, wrong=0.3)
    round_later(lab)
    assert lab.target.observe()[release.id].long
    assert champion(lab).id == release.id, "no rollout: the same release goes another way"
    assert "graph-1" in lab.compiler.condemned
    (told,) = events(lab, "distrusted")
    assert told.startswith(
        f"{release.id} is served by the model's own predict from now on: 10 of 10 answers differ from"
    )
    assert "the largest difference is 0.3" in told
    (entry,) = [one for one in lab.store.audit_trail() if one.what == "distrust"]
    assert (entry.who, entry.origin, entry.subject) == ("serinus", "engine", release.id)
    shown = status(lab)
    assert shown.state == "trouble"
    assert any("is served by the model's own predict instead of a shorter way" in note for note in shown.notes)
    document = Report(lab.world, lambda: {}, lambda: [], {}, lambda: []).explain(release.id)
    assert (document.rechecked.differing, document.distrust != "") == (10, True)
    lab.run(20)
    asked(lab, release, 10)
    round_later(lab, 600)
    assert len(lab.rescorer.asked) == 2, "what goes the long way has nothing to be compared with"


def test_a_rounding_is_no_difference_but_a_decision_is_whatever_its_size(lab: Lab) -> None:
    release = compiled(lab)
    asked(lab, release, 10, wrong=1e-8)
    round_later(lab)
    assert distrusted(lab.store) == {}
    row = [0.0, 0.5]
    score = score_of(lab.behaviours["1"], row)
    lab.store.save_model(replace(lab.store.model(MODEL), champion_threshold=score))
    lab.log.answered.append(AnsweredRequest(release.id, ("a", "b"), [row], [score - 1e-8]))
    lab.scorer.wrong = lambda _: -1e-8
    round_later(lab, 600)
    (entry,) = distrusted(lab.store).values()
    assert "1 row gets the opposite decision" in entry.reason


def test_a_model_that_contradicts_itself_is_told_once_and_keeps_its_graph(lab: Lab) -> None:
    release = compiled(lab)
    drawn = iter(range(1, 100))
    lab.rescorer.noise = lambda: next(drawn) / 100
    for _ in range(2):
        asked(lab, release, 5)
        round_later(lab, 600)
    assert distrusted(lab.store) == {}
    assert rechecked(lab.store)[release.id].nondeterministic == 10
    assert len(events(lab, "nondeterministic")) == 1


def test_an_answer_that_is_not_repeated_is_no_proof_where_the_record_may_lack_something(lab: Lab) -> None:
    release = compiled(lab)
    asked(lab, release, 3, wrong=0.3, null=True)
    round_later(lab)
    assert distrusted(lab.store) == {}
    assert rechecked(lab.store)[release.id].unrepeated == 3


def test_a_graph_is_held_to_what_it_said_once_as_from_a_cache(lab: Lab) -> None:
    """The release answers right now; the record holds all that it was asked."""
    release = compiled(lab)
    asked(lab, release, 3, wrong=0.3)
    round_later(lab)
    assert lab.target.observe()[release.id].long


def test_a_shortened_release_is_asked_again_since_python_may_look_at_the_clock(lab: Lab) -> None:
    lab.live("1", way="matrix")
    release = champion(lab)
    asked(lab, release, 3, wrong=0.3)
    round_later(lab)
    assert distrusted(lab.store) == {}
    lab.scorer.wrong = lambda _: 0.3
    asked(lab, release, 3, wrong=0.3)
    round_later(lab, 600)
    assert lab.target.observe()[release.id].long


def test_what_the_model_refuses_and_the_shorter_way_answers_is_a_difference(lab: Lab) -> None:
    release = compiled(lab)
    lab.rescorer.refuses = True
    asked(lab, release, 2)
    round_later(lab)
    (entry,) = distrusted(lab.store).values()
    assert "the model rejects 2" in entry.reason
    assert lab.target.observe()[release.id].long


def test_a_model_whose_own_predict_cannot_be_had_is_counted_and_stays_as_it_is(lab: Lab) -> None:
    release = compiled(lab)
    lab.rescorer.broken = True
    asked(lab, release, 2, wrong=0.3)
    round_later(lab)
    assert rechecked(lab.store)[release.id].failures == 1
    assert distrusted(lab.store) == {}


def test_it_stays_within_its_share_of_a_processor(lab: Lab) -> None:
    release = compiled(lab)
    hour = 3600
    for _ in range(hour // 2):
        asked(lab, release, 1)
        round_later(lab)
    used = len(lab.rescorer.asked) * lab.rescorer.seconds
    assert 0.04 * hour < used < 0.05 * hour + 10 + lab.rescorer.seconds


def test_what_waits_for_a_look_is_bounded_in_requests_and_in_values(lab: Lab) -> None:
    release = compiled(lab)
    lab.rescorer.seconds = 20.0  # so that there is none for a while
    asked(lab, release, 1)
    round_later(lab)
    for _ in range(20):
        asked(lab, release, 50)
        round_later(lab)
    rows = [[float(number), 0.5] for number in range(1000)]
    scores = [score_of(lab.behaviours["1"], row) for row in rows]
    assert until_the_next_look(lab) == (release.id, 200)
    for _ in range(50):
        lab.log.answered.append(AnsweredRequest(release.id, ("a", "b"), rows, scores))
    assert until_the_next_look(lab) == (release.id, 10)


def test_time_in_which_serinus_stood_still_does_not_count_for_the_share(lab: Lab) -> None:
    release = compiled(lab)
    lab.rescorer.seconds = 20.0
    asked(lab, release, 1)
    round_later(lab)
    asked(lab, release, 1)
    round_later(lab, 3600)
    assert len(lab.rescorer.asked) == 1
    until_the_next_look(lab)


def test_a_share_of_nothing_is_off(lab: Lab) -> None:
    from serinus.engine import Rechecker

    release = compiled(lab)
    lab.rechecker = Rechecker(lab.world, lab.rescorer, share=0.0)
    asked(lab, release, 5, wrong=0.3)
    round_later(lab, 600)
    assert lab.rescorer.asked == []


def test_releases_take_their_turns(lab: Lab) -> None:
    """The champion and the one before it, which is asked for past the router."""
    first = compiled(lab, "1")
    lab.compiler.differing["2"] = 0
    lab.register("2")
    lab.desk.deploy(ref=f"{MODEL}@2", spec=None, actor=ADA)
    lab.run(10)
    lab.desk.order(lab.rollout.id, "promote", actor=ADA)
    lab.run(20)
    second = champion(lab)
    assert second.id != first.id
    for _ in range(4):
        asked(lab, first, 5)
        asked(lab, second, 50)
        round_later(lab, 600)
    assert {name for name, _ in lab.rescorer.asked[:2]} == {first.id, second.id}
    assert [name for name, _ in lab.rescorer.asked[:2]] == [name for name, _ in lab.rescorer.asked[2:4]]


def test_every_release_with_the_same_graph_is_distrusted_and_the_graph_is_not_used_again(lab: Lab) -> None:
    release = compiled(lab)
    asked(lab, release, 3, wrong=0.3)
    round_later(lab)
    kin = replace(release, id=f"{MODEL}-1-ffffff", settings=replace(release.settings, timeout_ms=900))
    lab.store.save_model(replace(lab.store.model(MODEL), previous=kin))
    lab.clock.time += RESYNC  # nobody was told of it
    lab.engine.tick()
    assert lab.target.observe()[kin.id].long
    first = lab.target.history.index(f"distrust {kin.id}")
    assert first < lab.target.history.index(f"place {kin.id}"), "it never answers by a shorter way"
    lab.desk.deploy(ref=f"{MODEL}@1", spec=None, actor=ADA)
    lab.run(10)
    lab.desk.order(lab.rollout.id, "promote", actor=ADA)
    lab.run(20)
    assert champion(lab).compiled is None
    assert "not compiled: in production its graph answered differently" in "\n".join(lab.rollout.notes)
    assert status(lab).state == "serving"


def test_rows_that_were_answered_wrong_are_kept_for_proofs_and_gates(lab: Lab) -> None:
    release = compiled(lab)
    asked(lab, release, 3, wrong=0.3)
    round_later(lab)
    assert sorted(map(list, kept_rows(lab.store, MODEL, ["b", "a"]))) == [[0.5, 0.0], [0.5, 1.0], [0.5, 2.0]]
    assert kept_rows(lab.store, MODEL, ["a", "c"]) == []
    lab.register("2")
    lab.desk.deploy(ref=f"{MODEL}@2", spec=None, actor=ADA)
    lab.run(10)
    assert lab.compiler.asked[-1] == (["a", "b"], 423), "three more rows than the golden and the evaluation rows"


def test_a_row_that_no_utf8_holds_is_kept_as_well(lab: Lab) -> None:
    release = compiled(lab)
    lab.log.answered.append(AnsweredRequest(release.id, ("a", "b", "text"), [[1.0, 0.5, "\ud800"]], [0.9]))
    lab.scorer.wrong = lambda _: 0.3
    round_later(lab)
    assert lab.target.observe()[release.id].long
    assert kept_rows(lab.store, MODEL, ["text", "a"]) == [["\ud800", 1.0]]


def test_another_control_plane_does_not_use_a_graph_that_was_found_wrong(lab: Lab) -> None:
    release = compiled(lab)
    asked(lab, release, 3, wrong=0.3)
    round_later(lab)
    lab.compiler.condemned.clear()  # the compiler of another disk
    lab.restart()
    lab.desk.deploy(ref=f"{MODEL}@1", spec=None, actor=ADA)
    lab.run(10)
    assert lab.compiler.asked[-1] == (["a", "b"], 423), "it is proven on the rows of the first one"
    lab.desk.order(lab.rollout.id, "promote", actor=ADA)
    lab.run(20)
    assert champion(lab).compiled is None
    assert "not compiled: in production its graph answered differently" in "\n".join(lab.rollout.notes)


def test_a_later_version_is_asked_the_kept_rows_by_the_golden_gate(lab: Lab) -> None:
    release = compiled(lab)
    asked(lab, release, 3, wrong=0.3)
    round_later(lab)
    lab.scorer.wrong = lambda row: 0.3 if row[1] == 0.5 else 0.0  # which no golden or evaluation row has
    lab.register("2")
    lab.desk.deploy(ref=f"{MODEL}@2", spec=None, actor=ADA)
    lab.run(20)
    (golden,) = [gate for gate in lab.rollout.gates if gate.gate == "golden"]
    assert (golden.outcome.value, golden.evidence["rows"], golden.evidence["differ"]) == ("fail", 23, [20, 21, 22])


def test_rows_that_the_model_refuses_are_kept_for_proofs_and_not_for_the_golden_gate(lab: Lab) -> None:
    release = compiled(lab)
    lab.rescorer.refuses = True
    asked(lab, release, 2)
    round_later(lab)
    assert len(kept_rows(lab.store, MODEL, ["a"])) == 2
    assert kept_rows(lab.store, MODEL, ["a"], answered=True) == []


def test_golden_rows_keep_their_recorded_scores_beside_kept_ones(lab: Lab) -> None:
    release = compiled(lab)
    asked(lab, release, 1, wrong=0.3)
    round_later(lab)
    lab.register("2")
    file = lab.directory / "files" / "2" / "golden.json"
    said = json.loads(file.read_text())
    said["scores"][3] += 0.2
    file.write_text(json.dumps(said))
    lab.desk.deploy(ref=f"{MODEL}@2", spec=None, actor=ADA)
    lab.run(20)
    (golden,) = [gate for gate in lab.rollout.gates if gate.gate == "golden"]
    assert (golden.outcome.value, golden.evidence["rows"], golden.evidence["differ"]) == ("fail", 21, [3])


def test_kept_rows_go_when_the_models_predictions_go(lab: Lab) -> None:
    lab.fleet.specs[MODEL] += "retention: {predictions: 10d}\n"
    release = compiled(lab)
    for days in (0, 6):
        lab.clock.time += timedelta(days=days)
        keep_rows(lab.store, release, [Table(("a", "b"), [[float(days), 0.5]], scores=[0.1])], lab.clock.now())
    round_later(lab, 5 * 86_400)
    assert kept_rows(lab.store, MODEL, ["a"]) == [[6.0]]
    round_later(lab, 6 * 86_400)
    assert lab.store.models_with_kept_rows() == []


def test_a_spec_with_a_mistake_does_not_keep_the_rows_of_other_models(lab: Lab) -> None:
    release = compiled(lab)
    lab.fleet.specs["a-model"] = "retention: no\n"
    for one in (release, replace(release, model="a-model")):
        keep_rows(lab.store, one, [Table(("a",), [[1.0]], scores=[0.1])], lab.clock.now())
    round_later(lab, 400 * 86_400)
    assert lab.store.models_with_kept_rows() == ["a-model"]
    lab.fleet.specs["a-model"] = "model: a-model\n"
    round_later(lab, 86_400)
    assert lab.store.models_with_kept_rows() == []


def test_kept_rows_are_bounded_and_each_is_kept_once(lab: Lab) -> None:
    release = compiled(lab)
    for start in (0, 0, MOST_ROWS - 50):
        rows = [[float(number), 0.5] for number in range(start, start + 100)]
        keep_rows(lab.store, release, [Table(("a", "b"), rows, scores=[0.1] * 100)], lab.clock.now())
    there = kept_rows(lab.store, MODEL, ["a"])
    assert len(there) == MOST_ROWS
    assert there[-1] == [float(MOST_ROWS + 49)]


def test_files_that_the_target_found_damaged_are_told_like_a_wrong_answer(lab: Lab) -> None:
    release = compiled(lab)
    lab.target.long.add(release.id)
    round_later(lab)
    assert lab.compiler.condemned == {"graph-1"}
    (told,) = events(lab, "distrusted")
    assert told.endswith("the files of its compiled model are not those that were proven")
    assert status(lab).state == "trouble"
    round_later(lab)
    assert len(events(lab, "distrusted")) == 1


Story = Callable[[Lab], None]


def found(lab: Lab) -> None:
    release = champion(lab)
    asked(lab, release, 3, wrong=0.3)
    round_later(lab)
    lab.run(8)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_every_act_it_ends_the_same(directory: Path, after: bool) -> None:
    acts = 0
    at = 1
    while at == 1 or at <= acts:
        here = directory / str(at)
        here.mkdir()
        lab = Lab(here)
        compiled(lab)
        counter = Counter(at, after)
        lab.restart(breaking(lab.world, counter))
        try:
            found(lab)
            acts = max(acts, counter.seen)
        except Killed:
            acts = max(acts, at + 1)
            lab.restart()
            found(lab)
        when = f"killed {'after' if after else 'before'} act {at}, {counter.calls[-1:]}"
        release = champion(lab)
        assert lab.target.observe()[release.id].long, when
        assert lab.compiler.condemned == {"graph-1"}, when
        assert len(events(lab, "distrusted")) in (1, 2), when
        assert [one.told for one in distrusted(lab.store).values()] == [True], when
        assert len(kept_rows(lab.store, MODEL, ["a", "b"])) == 3, when
        lab.store.close()
        shutil.rmtree(here)
        at += 1
    assert at > 6
