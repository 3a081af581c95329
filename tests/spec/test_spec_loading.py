"""What a spec's text means, and what is said of a wrong one."""

from __future__ import annotations

from datetime import timedelta

import pytest

from serinus.core.errors import InvalidInput
from serinus.spec import load, loading
from serinus.spec.document import Document, read


def problems(text: str, *, model: str | None = None) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        load(text, source="fraud.yaml", model=model)
    return caught.value.message.splitlines()


def test_an_empty_spec_works_where_the_model_is_known() -> None:
    spec = load("", model="card-fraud")
    assert spec == load("model: card-fraud")
    assert spec.serving.timeout == timedelta(milliseconds=250)
    assert [step.traffic for step in spec.rollout.steps] == [0.05, 0.25, 0.5]


def test_a_heading_with_only_comments_below_it_means_the_defaults() -> None:
    assert load("model: m\nserving:\n  # timeout: 1s\nrollout:\n") == load("model: m")


def test_the_header_of_a_kubernetes_file_is_allowed() -> None:
    assert load("apiVersion: serinus/v1\nkind: ModelDeployment\nmodel: m") == load("model: m")
    assert problems("kind: Deployment\nmodel: m") == [
        "fraud.yaml:1: kind: expected one of ModelDeployment, got 'Deployment'; did you mean ModelDeployment?"
    ]


def test_the_spec_of_another_model_is_refused() -> None:
    assert problems("\nmodel: a", model="b") == ["fraud.yaml:2: model: expected 'b', got 'a'"]


def test_without_a_model_its_name_is_asked_for() -> None:
    assert problems("serving: {timeout: 1s}")[0].startswith("fraud.yaml:1: model: is missing; expected a name")


def test_every_problem_is_told_at_once_in_the_order_of_the_file() -> None:
    text = """\
model: card-fraud
serving:
  timout: 250ms
  max_body: 1M
alerts:
  budget: 5
rollout:
  approval: requird
  steps: [5%, {traffic: 25%, requests: 0}]
"""
    assert problems(text) == [
        "fraud.yaml:3: serving.timout: is not a field; did you mean 'timeout'?",
        "fraud.yaml:4: serving.max_body: expected a size such as 512KiB, 1MiB or 2GiB, got '1M'; did you mean 1MiB?",
        "fraud.yaml:6: alerts.budget: expected a percentage such as 5% or 0.1%, above 0% and below 100%, got 5; "
        "did you mean 5%?",
        "fraud.yaml:8: rollout.approval: expected one of none, required, got 'requird'; did you mean required?",
        "fraud.yaml:9: rollout.steps[1].requests: expected at least 1, got 0",
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("timeout: 1s", "timeout: is not a field; did you mean 'serving.timeout'?"),
        ("watch: {alerts: no}", "watch.alerts: expected 'off' or {ok: RATIO, bad: RATIO}, got 'no'; did you mean off?"),
        ("serving: {fallback: eror}", "did you mean error?"),
        ("serving: {fallback: {score: high}}", "serving.fallback.score: expected a number, got 'high'"),
        ("serving: {timeout: 250}", "got 250; did you mean 250ms?"),
        ("serving: {timeout: 10 minutes}", "got '10 minutes'; did you mean 10m?"),
        ("serving: {timeout: 0s}", "serving.timeout: expected more than 0 seconds, got '0s'"),
        ("serving: {score: 3}", 'serving.score: expected a string (in quotes), got 3; did you mean "3"?'),
        ("alerts: {threshold: .nan}", "alerts.threshold: expected a number, got '.nan'"),
        ("caller: {columns: {amount: float64}}", "caller.columns.amount: expected one of double"),
        ("caller: {columns: {amount: float64}}", "did you mean double?"),
        ("gates: {accept: [one-at-time]}", "did you mean one-at-a-time?"),
        ("gates: {evaluation: [a]}", "gates.evaluation: expected a string, got a list"),
        ("rollout: {steps: 5%}", "rollout.steps: expected a list, each item a step such as 5%"),
        ("rollout: {steps: [25%, 5%]}", "rollout.steps[1].traffic: expected more than the step before it, got '5%'"),
        ("rollout: {steps: [0.001%]}", "rollout.steps[0].traffic: expected a multiple of 0.01%, got '0.001%'"),
        ("rollout: {steps: [{traffic: 5%, for: 2h, at_most: 1h}]}", "at_most: expected at least as long as 'for'"),
        ("watch: {slow: {ok: 2}}", "watch.slow.bad: expected more than 'ok', got 2.0"),
        ("watch: {errors: true}", "watch.errors: expected a mapping of ok, bad, budget, got true"),
        ("serving: {cache: true}", "serving.cache: expected 'off' or 'on' or {size: SIZE, ttl: DURATION}, got true"),
        ("serving: {cache: true}", "did you mean on?"),
        ("serving: {cache: yes}", "serving.cache: expected 'off' or 'on'"),
        ("serving: {cache: false}", "did you mean off?"),
        ("serving: {cache: {size: 1KiB}}", "serving.cache.size: expected at least 65536, got '1KiB'"),
        ("serving: {cache: {tll: 1m}}", "serving.cache.tll: is not a field; did you mean 'ttl'?"),
        ("serving: {batch: on}", "serving.batch: expected 'off' or {delay: DURATION, rows: NUMBER}, got 'on'"),
        ("serving: {batch: {rows: 1}}", "serving.batch.rows: expected at least 2, got 1"),
        (
            "serving: {timeout: 2ms, batch: {delay: 2ms}}",
            "serving.batch.delay: expected less than 'timeout', got '2ms'",
        ),
        ("serving: {workers: 0}", "serving.workers: expected at least 1, got 0"),
        ("serving: {workers: many}", "serving.workers: expected 'auto' or a number, got 'many'"),
        ("serving: {workers: true}", "serving.workers: expected 'auto' or a number, got true"),
        ("serving: {max_waiting: 0}", "serving.max_waiting: expected at least 1, got 0"),
        ("serving: {unlogged: refused}", "did you mean refuse?"),
        ("serving: {protocols: []}", "serving.protocols: expected at least one of open-inference, invocations"),
        (
            "serving: {protocols: [rest]}",
            "serving.protocols[0]: expected one of open-inference, invocations, got 'rest'",
        ),
        ("serving: {compile: on}", "serving.compile: expected one of auto, off, got 'on'"),
        ("serving: {warm: on}", "serving.warm: expected true, false or a list of {from: TIME, to: TIME}, got 'on'"),
        ("serving: {warm: on}", "did you mean true?"),
        ("serving: {warm: {from: 07:30, to: 22:00}}", "serving.warm: expected true, false or a list of"),
        ("serving: {warm: [{from: 07:30}]}", "serving.warm[0].to: is missing; expected a time from 00:00 to 24:00"),
        ("serving: {warm: [{from: 7, to: 22:00}]}", "serving.warm[0].from: expected a time"),
        ("serving: {warm: [{from: 7, to: 22:00}]}", "got 7; did you mean 07:00?"),
        ("serving: {warm: [{from: 07:30, to: 2200}]}", "serving.warm[0].to: expected a time"),
        ("serving: {warm: [{from: 07:30, to: 2200}]}", "got 2200; did you mean 22:00?"),
        ("serving: {warm: [{from: 07:30, to: 24:01}]}", "serving.warm[0].to: expected a time from 00:00 to 24:00"),
        ("serving: {warm: [{from: 24:00, to: 07:30}]}", "warm[0].from: expected a time before 24:00, got '24:00'"),
        ("serving: {warm: [{from: 07:30, to: 7:30}]}", "warm[0].to: expected another time than 'from', got '07:30'"),
        (
            "serving: {warm: [{from: 07:30, to: 8:00, days: [Wednesday]}]}",
            "serving.warm[0].days[0]: expected one of mon",
        ),
        ("serving: {warm: [{from: 07:30, to: 8:00, days: [Wednesday]}]}", "did you mean wed?"),
        ("serving: {warm: [{from: 07:30, to: 8:00, days: []}]}", "serving.warm[0].days: expected at least one day"),
        (
            "serving: {warm: [{from: 07:30, to: 8:00, timezone: europe/berlin}]}",
            "serving.warm[0].timezone: expected a time zone such as Europe/Berlin or UTC, got 'europe/berlin'; did you "
            "mean Europe/Berlin?",
        ),
        (
            "serving: {warm: [{from: 07:30, to: 8:00, timezone: ../localtime}]}",
            "warm[0].timezone: expected a time zone",
        ),
        (
            "serving: {warm: [{form: 07:30, from: 07:30, to: 8:00}]}",
            "warm[0].form: is not a field; did you mean 'from'?",
        ),
        ("retention: {predictions: 1h}", "retention.predictions: expected at least 1 day, got '1h'"),
    ],
)
def test_a_mistake_is_answered_with_what_was_meant(line: str, said: str) -> None:
    (problem,) = problems(f"model: m\n{line}")
    assert problem.startswith("fraud.yaml:2: ")
    assert said in problem


def test_a_model_without_a_score_has_no_cache() -> None:
    (said,) = problems("model: m\nserving: {score: none, cache: on}")
    assert "serving.cache: expected 'off' where score is 'none', got 'on'" in said


@pytest.mark.parametrize("asked", ["cache: on", "batch: {delay: 1ms}"])
def test_answers_of_a_model_that_must_be_asked_one_at_a_time_are_neither_kept_nor_given_together(asked: str) -> None:
    (problem,) = problems(f"model: m\nserving:\n  {asked}\ngates: {{accept: [one-at-a-time]}}")
    name = asked.partition(":")[0]
    assert problem.startswith(
        f"fraud.yaml:3: serving.{name}: expected 'off' where gates.accept has one-at-a-time, got "
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model: [", "1: is not YAML"),
        ("- m", "1: expected a mapping such as 'model: card-fraud', got a list"),
        ("model: m\n---\nmodel: n", "2: expected one document, got a second one after '---'"),
        ("model: m\ncaller: &a {}\nserving: *a", "2: is not YAML: anchors (&) and aliases (*) are not supported"),
        ("model: m\nmodel: n", "2: model: is given twice, first in line 1"),
        ("model: !!python/name:os.system x", "1: model: expected a plain value"),
        ("model: m\n\x00", "2: holds a character that YAML does not allow"),
        ("model: " + "[" * 100_000, "is"),
        ("model: m\nserving: " + "{a: " * 40 + "}" * 40, "2: serving.a.a: is nested too deeply"),
        ("#" * 300_000, "1: is longer than 262144 characters"),
    ],
)
def test_text_that_is_no_plain_yaml_is_refused_with_its_line(text: str, said: str) -> None:
    assert problems(text)[0].startswith(f"fraud.yaml:{said}" if said[0].isdigit() else "fraud.yaml:1: is")


def test_words_that_old_yaml_takes_for_booleans_and_times_stay_words() -> None:
    spec = load("model: on\ngates: {label: yes, golden: 12:30}\nalerts: {threshold: 1e-3}\nwatch: {alerts: off}")
    assert (spec.model, spec.gates.label, spec.gates.golden) == ("on", "yes", "12:30")
    assert spec.alerts.threshold == 0.001
    assert spec.watch.alerts is None


@pytest.mark.parametrize(("more", "times"), [("", 1), ("# " + "a" * 20_000, 2)], ids=["short", "long"])
def test_a_short_text_is_read_once_and_a_wrong_one_is_refused_each_time(
    monkeypatch: pytest.MonkeyPatch, more: str, times: int
) -> None:
    texts: list[str] = []

    def counted(text: str) -> Document:
        texts.append(text)
        return read(text)

    monkeypatch.setattr(loading, "read", counted)
    text = f"model: read-{times}-times\n{more}"
    assert load(text) == load(text)
    assert len(texts) == times
    for _ in range(2):
        with pytest.raises(InvalidInput, match="trafic"):
            load(f"{text}\ntrafic: 3")
    with pytest.raises(InvalidInput, match="expected 'other'"):
        load(text, model="other")
    with pytest.raises(InvalidInput, match=r"mine\.yaml"):
        load(f"{text}\ntrafic: 3", source="mine.yaml")
