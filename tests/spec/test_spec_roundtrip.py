"""A deployment survives its own text."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from serinus.core.release import Column
from serinus.spec import Facts, ModelDeployment, dump, initial, load
from serinus.spec.hours import Hours, format_clock, parse_clock
from serinus.spec.quantities import (
    format_duration,
    format_share,
    format_size,
    parse_duration,
    parse_share,
    parse_size,
)
from serinus.spec.schema import (
    Alerts,
    Caller,
    Gates,
    Rare,
    Ratio,
    Retention,
    Rollout,
    RolloutStep,
    Slow,
    Watch,
)
from serinus.spec.serving import Batch, Cache, Fallback, Serving

milliseconds = st.integers(1, 200).map(lambda ms: timedelta(milliseconds=ms))
durations = st.integers(1, 10**12).map(lambda ms: timedelta(milliseconds=ms))
shares = st.floats(1e-9, 1, exclude_max=True)
sizes = st.integers(1, 2**40)
numbers = st.floats(allow_nan=False, allow_infinity=False)
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", fullmatch=True)
texts = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"), exclude_characters="\ufeff\ufffe\uffff"), min_size=1
)
types = st.sampled_from(["double", "long", "string", "tensor(float32)"])


@st.composite
def ratios(draw: st.DrawFn, kind: type[Ratio] = Ratio, **more: st.SearchStrategy[Any]) -> Ratio:
    ok = draw(st.floats(0.01, 100))
    return kind(ok=ok, bad=ok + draw(st.floats(0.01, 100)), **{name: draw(value) for name, value in more.items()})


@st.composite
def hours(draw: st.DrawFn) -> Hours:
    begins, ends = draw(st.lists(st.integers(0, 1439), min_size=2, max_size=2, unique=True))
    return Hours.model_validate(
        {
            "from": timedelta(minutes=begins),
            "to": timedelta(minutes=ends or 1440),
            "days": draw(st.sets(st.sampled_from(["mon", "wed", "sun"]), min_size=1).map(tuple)),
            "timezone": draw(st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns"])),
        }
    )


@st.composite
def rollouts(draw: st.DrawFn) -> Rollout:
    weights = sorted(draw(st.sets(st.integers(1, 9_999), max_size=5)))
    lasts = draw(durations)
    steps = tuple(
        RolloutStep.model_validate(
            {
                "traffic": weight / 10_000,
                "requests": draw(st.none() | st.integers(1, 10**9)),
                "for": lasts,
                "at_most": lasts + draw(durations),
            }
        )
        for weight in weights
    )
    return Rollout(steps=steps, approval=draw(st.sampled_from(["none", "required"])))


rare = ratios(Rare, budget=shares)
deployments = st.builds(
    ModelDeployment,
    model=names,
    caller=st.builds(Caller, columns=st.dictionaries(texts, types, max_size=4)),
    serving=st.builds(
        Serving,
        timeout=durations.filter(lambda timeout: timeout > timedelta(milliseconds=200)),
        fallback=st.just("error") | st.builds(Fallback, score=numbers),
        max_body=sizes,
        score=st.none() | texts,
        memory=st.none() | sizes,
        compile=st.sampled_from(["auto", "off"]),
        cache=st.sampled_from(["off", "on"]) | st.builds(Cache, size=st.integers(2**16, 2**40), ttl=durations),
        batch=st.just("off") | st.builds(Batch, delay=milliseconds, rows=st.integers(2, 65_536)),
        max_waiting=st.integers(1, 65_536),
        workers=st.just("auto") | st.integers(1, 1_024),
        warm=st.booleans() | st.lists(hours(), max_size=3).map(tuple),
        unlogged=st.sampled_from(["answer", "refuse"]),
        protocols=st.sampled_from([("open-inference", "invocations"), ("open-inference",), ("invocations",)]),
    ),
    alerts=st.builds(Alerts, budget=shares, threshold=st.none() | numbers),
    gates=st.builds(
        Gates,
        evaluation=st.none() | texts,
        label=texts,
        golden=st.none() | texts,
        recall_margin=shares,
        latency_p99=durations,
        memory=sizes,
        accept=st.just(("inconclusive-quality", "inconclusive-golden")),
    ),
    rollout=rollouts(),
    watch=st.builds(
        Watch,
        errors=rare,
        slow=ratios(Slow, over=st.none() | durations),
        fallbacks=rare,
        missing=rare,
        alerts=st.just("off") | ratios(),
        alpha=shares,
        beta=shares,
    ),
    retention=st.builds(Retention, predictions=st.integers(1, 9999).map(lambda n: timedelta(days=n))),
)


@settings(max_examples=60, deadline=None)
@given(deployments)
def test_what_is_written_is_read_back_as_the_same_deployment(spec: ModelDeployment) -> None:
    assert load(dump(spec)) == spec


@given(durations)
def test_a_duration_survives_its_text(value: timedelta) -> None:
    assert parse_duration(format_duration(value)) == value


@given(st.integers(0, 1440).map(lambda minutes: timedelta(minutes=minutes)))
def test_a_time_of_the_day_survives_its_text(value: timedelta) -> None:
    assert parse_clock(format_clock(value)) == value


@given(shares)
def test_a_share_survives_its_text(value: float) -> None:
    assert parse_share(format_share(value)) == value


@given(sizes)
def test_a_size_survives_its_text(value: int) -> None:
    assert parse_size(format_size(value)) == value


def test_only_what_differs_from_the_defaults_is_written() -> None:
    assert dump(load("model: m\nserving: {timeout: 250ms}")) == "model: m\n"
    text = dump(load("model: m\nwatch: {alerts: off}\nrollout: {steps: [10%]}"))
    assert yaml.safe_load(text) == {
        "model": "m",
        "watch": {"alerts": "off"},
        "rollout": {"steps": [{"traffic": "10%"}]},
    }
    text = dump(load("model: m\nserving: {warm: [{from: 7:30, to: 12:00}]}"))
    assert yaml.safe_load(text)["serving"] == {"warm": [{"from": "07:30", "to": "12:00"}]}
    text = dump(load("model: m\nserving: {cache: {size: 16MiB}, workers: 2}"))
    assert yaml.safe_load(text) == {"model": "m", "serving": {"cache": "on", "workers": 2}}


@settings(max_examples=40, deadline=None)
@given(
    names,
    st.builds(
        Facts,
        version=st.just("7"),
        flavor=st.just("sklearn"),
        columns=st.none()
        | st.lists(st.builds(Column, texts, types), max_size=4, unique_by=lambda c: c.name).map(tuple),
        evaluation=st.none() | texts,
        golden=st.none() | texts,
    ),
)
def test_the_first_spec_of_a_model_holds_what_is_known_and_else_the_defaults(model: str, facts: Facts) -> None:
    spec = load(initial(model, facts))
    gates = Gates(evaluation=facts.evaluation or "evaluation.parquet", golden=facts.golden or "golden.json")
    caller = Caller(columns={column.name: column.type for column in facts.columns or ()})
    assert spec == ModelDeployment(model=model, caller=caller, gates=gates)


def test_the_first_spec_says_what_was_not_found() -> None:
    text = initial("card-fraud", Facts(version="7", flavor="sklearn", evaluation="held-out.parquet"))
    assert "card-fraud version 7 (sklearn)" in text
    assert [line.split("#")[1] for line in text.splitlines() if "not logged with this version" in line] == [
        " rows with the scores of training time; not logged with this version"
    ]


def test_the_first_spec_of_a_model_of_which_nothing_is_known_says_of_nothing_that_it_is_missing() -> None:
    text = initial("card-fraud", Facts())
    assert "logged with" not in text
    assert "logged without" not in text


def test_a_name_of_odd_spaces_is_written_as_it_is() -> None:
    spec = load(initial("m", Facts(golden="\xa0", columns=(Column("\u3000", "double"),))))
    assert spec.gates.golden == "\xa0"
    assert spec.caller.columns == {"\u3000": "double"}


HOSTILE = st.text(max_size=30) | st.sampled_from(
    ["null", "on", "1e3", "a: b", "- x", "&a", "*a", "\ud800", "\x00", "{"]
)


@settings(max_examples=150, deadline=None)
@given(
    st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", fullmatch=True),
    st.builds(
        Facts,
        version=st.just("7"),
        flavor=HOSTILE,
        columns=st.none()
        | st.lists(st.builds(Column, HOSTILE, types | HOSTILE | st.just("array")), max_size=6).map(tuple),
        evaluation=st.none() | st.text(min_size=1, max_size=30),
    ),
)
def test_the_first_spec_can_be_deployed_whatever_a_version_says_of_itself(model: str, facts: Facts) -> None:
    text = initial(model, facts)
    assert load(text.encode("utf-8").decode(), model=model).model == model


@pytest.mark.parametrize("kind", ["array", "object", "map", "any", "tensor(datetime64[ns])", "tensor(float32)"])
def test_the_first_spec_keeps_columns_of_every_type_that_mlflow_knows(kind: str) -> None:
    facts = Facts(version="7", columns=(Column("basket", kind), Column("amount", "double")))
    assert load(initial("m", facts)).caller.columns == {"basket": kind, "amount": "double"}


def test_a_signature_that_cannot_be_written_is_left_out_with_a_comment() -> None:
    many = tuple(Column(f"a-column-with-a-long-name-{n}", "double") for n in range(10_000))
    for columns in (many, (Column("amount", "money"),)):
        text = initial("m", Facts(version="7", columns=columns))
        assert load(text) == load(initial("m"))
        assert "its signature cannot be written here" in text
