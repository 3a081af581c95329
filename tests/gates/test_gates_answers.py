"""Gates that compare a release's answers: with the training path, with itself, and what all of them mean together."""

from __future__ import annotations

import json

import pytest

from serinus.core.examination import GateResult, Outcome
from serinus.gates import (
    UNASKED,
    AskedEvidence,
    GoldenEvidence,
    MetamorphicEvidence,
    ProtocolCheck,
    Transformation,
    TransformationCheck,
    asked,
    compare,
    decide,
    differing,
    golden,
    metamorphic,
)


def test_golden_rows_pass_within_rounding() -> None:
    result = golden(GoldenEvidence((0.1, 0.5, 1e6), (0.1 + 5e-7, 0.5, 1e6 + 0.5), threshold=0.3))
    assert (result.outcome, result.evidence["rows"]) == (Outcome.PASS, 3)


def test_rows_without_a_recorded_score_are_not_called_golden() -> None:
    alike = golden(GoldenEvidence((0.1, 0.5), (0.1, 0.5), recorded=False))
    assert alike.summary == "2 rows are served the score that the model's own predict gives them."
    other = golden(GoldenEvidence((0.1, 0.5), (0.1, 0.9), recorded=False))
    assert "1 of 2 rows gets a different score than the model's own predict gives them" in other.summary
    assert golden(GoldenEvidence((0.1,), (0.1,))).summary == "1 golden rows are served as at training time."


def test_golden_rows_that_differ_are_named_by_index_and_never_by_value() -> None:
    result = golden(GoldenEvidence((0.1234, 0.5678, 0.9), (0.1234, 0.4321, 0.9)))
    assert (result.outcome, result.evidence["differ"]) == (Outcome.FAIL, [1])
    assert "0.5678" not in json.dumps([result.summary, dict(result.evidence)])
    assert result.evidence["max_difference"] == pytest.approx(0.1357)


def test_a_decision_that_flips_at_the_threshold_fails_however_small_the_difference() -> None:
    result = golden(GoldenEvidence((0.5,), (0.5 - 1e-9,), threshold=0.5))
    assert (result.outcome, result.evidence["flipped"]) == (Outcome.FAIL, [0])


def test_a_missing_score_never_equals_one_that_is_there() -> None:
    assert golden(GoldenEvidence((0.5,), (None,))).outcome is Outcome.FAIL
    assert golden(GoldenEvidence((None,), (0.5,))).outcome is Outcome.FAIL
    both = golden(GoldenEvidence((None, 0.1), (None, 0.1), threshold=0.3))
    assert (both.outcome, both.evidence["without_score"]) == (Outcome.PASS, 1)


def test_golden_rows_without_answers_fail_and_without_reference_decide_nothing() -> None:
    assert golden(GoldenEvidence((0.1, 0.2), (0.1,))).outcome is Outcome.FAIL
    assert golden(GoldenEvidence((0.1,), error="no answer within 250 ms")).outcome is Outcome.FAIL
    unknown = golden(GoldenEvidence(None, error="frame refused", unavailable=True))
    assert (unknown.outcome, unknown.evidence["blocking"]) == (Outcome.INCONCLUSIVE, True)
    for none in (None, ()):
        assert golden(GoldenEvidence(none)).evidence["blocking"] is False


GOOD = tuple(TransformationCheck(kind, 50) for kind in Transformation)


def with_bad(kind: Transformation, **changes: object) -> tuple[TransformationCheck, ...]:
    bad = {"max_difference": 0.2, "failures": (3, 7), **changes}
    return tuple(TransformationCheck(kind, 50, **bad) if c.transformation is kind else c for c in GOOD)


def test_one_answer_a_row_passes() -> None:
    result = metamorphic(MetamorphicEvidence(GOOD))
    assert (result.outcome, result.evidence["one_at_a_time"]) == (Outcome.PASS, False)
    assert result.summary.startswith("Each row gets the same answer in every request (")


@pytest.mark.parametrize("kind", [Transformation.TWICE, Transformation.BATCH, Transformation.ORDER])
def test_an_answer_that_depends_on_its_neighbours_fails_unless_one_at_a_time_is_accepted(kind: Transformation) -> None:
    refused = metamorphic(MetamorphicEvidence(with_bad(kind)))
    assert refused.outcome is Outcome.FAIL
    assert f"{kind.value}: 2 of 50 rows got a different score (by up to 0.2)" in refused.summary
    assert "one-at-a-time" in refused.summary
    marked = metamorphic(MetamorphicEvidence(with_bad(kind), accepted=True))
    assert (marked.outcome, marked.evidence["one_at_a_time"]) == (Outcome.PASS, True)


@pytest.mark.parametrize("kind", [Transformation.INTEGERS, Transformation.ALONE])
def test_serving_one_at_a_time_excuses_no_row_that_gets_no_answer_by_itself(kind: Transformation) -> None:
    refused = metamorphic(MetamorphicEvidence(with_bad(kind, error="refused", failures=()), accepted=True))
    assert (refused.outcome, refused.evidence["curable"]) == (Outcome.FAIL, False)
    assert "one-at-a-time" not in refused.summary


def test_a_release_that_is_served_one_at_a_time_keeps_the_mark() -> None:
    for checks in (GOOD, with_bad(Transformation.TWICE)):
        result = metamorphic(MetamorphicEvidence(checks, accepted=True, one_at_a_time=True))
        assert (result.outcome, result.evidence["one_at_a_time"]) == (Outcome.PASS, True)


def test_a_batch_that_gets_no_answer_is_cured_by_serving_one_at_a_time() -> None:
    checks = with_bad(Transformation.BATCH, error="one row only", failures=())
    assert metamorphic(MetamorphicEvidence(checks, accepted=True)).outcome is Outcome.PASS


def test_a_check_is_made_from_expected_and_given_scores() -> None:
    check = compare(Transformation.ORDER, (0.1, 0.2, None), (0.1, 0.3, None))
    assert (check.failures, check.rows) == ((1,), 3)
    assert check.max_difference == pytest.approx(0.1)
    assert compare(Transformation.BATCH, (0.1, 0.2), (0.1,)).error == "1 scores for 2 rows"


def test_nothing_to_transform_decides_nothing() -> None:
    assert metamorphic(MetamorphicEvidence(())).outcome is Outcome.INCONCLUSIVE


def of(gate: str, outcome: Outcome, **evidence: object) -> GateResult:
    return GateResult(gate, outcome, f"{gate} says", evidence)


def test_a_failed_gate_is_never_accepted() -> None:
    ok, reason = decide([of("load", Outcome.PASS), of("golden", Outcome.FAIL)], {"inconclusive-golden"})
    assert (ok, reason) == (False, "gate golden failed: golden says")


def test_an_undecided_gate_stops_the_rollout_unless_it_is_accepted_or_had_nothing_to_judge() -> None:
    undecided = of("quality", Outcome.INCONCLUSIVE, blocking=True)
    ok, reason = decide([undecided])
    assert not ok
    assert "gates.accept: [inconclusive-quality]" in reason
    assert decide([undecided], {"inconclusive-quality"})[0]
    assert not decide([of("quality", Outcome.INCONCLUSIVE)])[0]
    ok, reason = decide([of("load", Outcome.PASS), of("quality", Outcome.INCONCLUSIVE, blocking=False)])
    assert (ok, reason) == (True, "1 gates passed; not judged: quality")


def test_a_failure_is_told_before_what_is_undecided() -> None:
    results = [of("golden", Outcome.INCONCLUSIVE, blocking=True), of("latency", Outcome.FAIL)]
    assert decide(results)[1].startswith("gate latency failed")


# --- asked through the router -----------------------------------------------------------------------------


def through(**changes: object) -> GateResult:
    checks = (ProtocolCheck("open-inference"), ProtocolCheck("invocations"), ProtocolCheck("grpc"))
    return asked(AskedEvidence(**{"source": "the input example", "rows": 5, "answers": 5, "checks": checks, **changes}))


def test_a_release_that_answers_by_every_protocol_as_its_model_does_passes() -> None:
    result = through()
    assert result.outcome is Outcome.PASS
    assert result.summary == (
        "Asked through the router with the input example (5 rows), it answers as the model itself does by "
        "open-inference, invocations, grpc."
    )


def test_one_protocol_without_an_answer_or_with_another_one_fails_and_is_named() -> None:
    silent = through(checks=(ProtocolCheck("open-inference"), ProtocolCheck("invocations", error="500: it failed")))
    assert silent.outcome is Outcome.FAIL
    assert "invocations gave no answer (500: it failed)" in silent.summary
    other = through(checks=(ProtocolCheck("grpc", differing=(1, 3)),))
    assert other.outcome is Outcome.FAIL
    assert "grpc answered 2 of 5 rows differently from the model's own predict" in other.summary


def test_a_protocol_that_has_no_form_for_the_rows_is_passed_over_and_told() -> None:
    result = through(checks=(ProtocolCheck("invocations"), ProtocolCheck("grpc", unasked="tensors carry no objects")))
    assert result.outcome is Outcome.PASS
    assert "It was not asked by grpc: tensors carry no objects." in result.summary


@pytest.mark.parametrize(
    "nothing",
    [
        {"source": "", "rows": 0, "checks": (), "reason": "it was logged without an example and a signature"},
        {"checks": (ProtocolCheck("grpc", unasked="tensors carry no objects"),)},
    ],
)
def test_what_was_never_asked_waits_for_unasked(nothing: dict) -> None:
    result = through(**nothing)
    assert (result.outcome, result.evidence["blocking"]) == (Outcome.INCONCLUSIVE, True)
    assert result.summary.startswith("The model could not be asked: ")
    ok, reason = decide([result], {"inconclusive-asked"})
    assert (ok, "gates.accept: [unasked]" in reason) == (False, True)
    assert decide([result], {UNASKED})[0]


def test_rows_that_the_model_must_answer_and_does_not_are_never_accepted() -> None:
    result = through(refused=True, reason="the model failed: ValueError", checks=())
    assert result.outcome is Outcome.FAIL
    assert not decide([result], {UNASKED})[0]


def test_a_model_that_does_not_answer_a_row_each_is_refused_unless_that_is_declared() -> None:
    window = through(answers=1)
    assert window.outcome is Outcome.FAIL
    assert "Asked with the input example, the model gives 1 answer to 5 rows" in window.summary
    assert "serving.rows: together" in window.summary
    assert through(answers=1, together=True).outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ([0.5], [0.5 + 1e-9], True),
        ([0.5], [0.6], False),
        ([1], [1.0], True),
        ([True], [1], True),
        ([9007199254740993], [9007199254740992], False),
        ([None], [None], True),
        ([None], [0.0], False),
        (["a", 1.0], ["a", 1.0], True),
        (["a"], ["b"], False),
        (["2024-01-02"], ["2024-01-02T00:00:00"], True),
        (["YQ=="], ["a"], True),
        (["1"], [1], False),
        (["YWJj\n"], ["YWJj"], True),
        (["/w==\n"], ["/w=="], True),
        (["YWJj\n"], ["YWJk"], False),
        (["NaT"], [None], True),
        (["x"], [None], False),
        ([1704153600000000001], ["2024-01-02T00:00:00.000000001"], True),
        ([1704153600000000001], ["2024-01-02T00:00:00"], False),
        ([-1_500_000_000], ["1969-12-31T23:59:58.500000"], True),
        ([86_400_000_000_000], ["P1DT0H0M0S"], True),
        ([-1], ["P-1DT23H59M59.999999999S"], True),
        ([True], ["P0DT0H0M0S"], False),
        ([0.1, 0.2], [0.1], False),
    ],
)
def test_two_answers_are_alike_whatever_the_protocols_write(one: list, other: list, alike: bool) -> None:
    assert differing([one], [other]) == (() if alike else (0,))
    assert differing([other], [one]) == (() if alike else (0,))


def test_with_another_number_of_answers_no_row_is_alike() -> None:
    assert differing([[1.0], [2.0]], [[1.0]]) == (0, 1)


def test_rows_that_belong_together_are_never_served_one_at_a_time() -> None:
    twice = (TransformationCheck(Transformation.TWICE, 5),)
    assert "rows: together" in metamorphic(MetamorphicEvidence(twice, together=True)).summary
    other = (TransformationCheck(Transformation.TWICE, 5, 0.2, (1,)),)
    result = metamorphic(MetamorphicEvidence(other, accepted=True, together=True))
    assert (result.outcome, result.evidence["curable"]) == (Outcome.FAIL, False)
