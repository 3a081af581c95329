"""What a deployment means to the judge, the rollout and the worker; and that its reference is up to date."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from serinus.core.errors import InvalidInput
from serinus.core.release import CacheSettings, Scale, ServingSettings, WarmHours
from serinus.core.rollout import Policy, Step, Tolerance
from serinus.engine.steps.build import release_id
from serinus.spec import (
    SCALE,
    accepts,
    behaves_alike,
    changes,
    compiles,
    load,
    policy,
    reference,
    scale,
    schema,
    settings,
    slow_ms,
    steps,
)
from serinus.spec.fields import described

DOCUMENT = Path(__file__).parents[2] / "docs" / "model-deployment.md"


def test_an_empty_spec_means_the_defaults_of_judge_and_worker() -> None:
    spec = load("model: m")
    assert policy(spec) == Policy()
    assert settings(spec) == ServingSettings()
    assert slow_ms(spec) is None
    assert accepts(spec) == frozenset()


def test_each_default_step_asks_for_enough_of_the_candidate_and_of_the_model() -> None:
    assert steps(load("model: m")) == (
        Step(500, 5_000, 600, 86_400),
        Step(2_500, 10_000, 600, 86_400),
        Step(5_000, 20_000, 600, 86_400),
    )


def test_a_step_is_what_was_written() -> None:
    spec = load("model: m\nrollout: {steps: [0.01%, {traffic: 12.5%, requests: 7, for: 0s, at_most: 90s}]}")
    assert steps(spec) == (Step(1, 5_000, 600, 86_400), Step(1_250, 7, 0, 90))


def test_tolerances_are_what_was_written() -> None:
    watch = "{errors: {ok: 2, bad: 5, budget: 1%}, slow: {over: 120ms}, alerts: off, alpha: 0.5%, beta: 0.1}"
    spec = load(f"model: m\nwatch: {watch}")
    assert policy(spec) == Policy(errors=Tolerance(2, 5, 0.01), alerts=None, alpha=0.005, beta=0.1)
    assert slow_ms(spec) == 120


def test_serving_settings_are_what_was_written() -> None:
    serving = "{timeout: 1s, fallback: {score: 0.5}, max_body: 2KiB, score: p, memory: 1GiB, cpu: 0.5}"
    spec = load(f"model: m\nserving: {serving}\ngates: {{accept: [one-at-a-time]}}")
    assert settings(spec) == ServingSettings(1000, 0.5, 2048, False, "p")
    assert scale(spec) == Scale(memory_limit_bytes=2**30, cpu_limit=0.5)
    assert accepts(spec) == {"one-at-a-time"}


def test_a_model_may_be_served_by_one_protocol_alone_written_in_any_order() -> None:
    usual = load("model: m\nserving: {protocols: [invocations, open-inference, invocations]}")
    assert settings(usual) == ServingSettings()
    alone = settings(load("model: m\nserving: {protocols: [invocations]}"))
    assert alone == ServingSettings(protocols=("invocations",))
    digests = ("m", "1", "a" * 64, "e" * 64)
    assert release_id(*digests, ServingSettings(), None) == "m-1-5a3751"
    assert release_id(*digests, alone, None) != "m-1-5a3751"


def test_a_model_without_a_score_has_no_alerts_to_judge() -> None:
    spec = load("model: m\nserving: {score: none}")
    assert settings(spec) == ServingSettings(scored=False)
    assert policy(spec).alerts is None
    assert settings(load("model: m\nserving: {score: null}")) == ServingSettings()


def test_speed_settings_are_what_was_written() -> None:
    serving = (
        "{cache: {size: 1MiB, ttl: 90s}, batch: {delay: 3ms, rows: 16}, max_waiting: 9, workers: 2, warm: true, "
        "unlogged: refuse}"
    )
    spec = load(f"model: m\nserving: {serving}")
    assert settings(spec) == ServingSettings(
        cache=CacheSettings(90.0), batch_delay_ms=3.0, batch_rows=16, max_waiting=9, unlogged="refuse"
    )
    assert scale(spec) == Scale(max_workers=2, keep_warm=True, cache_bytes=2**20)
    assert settings(load("model: m\nserving: {cache: on}")) == ServingSettings(cache=CacheSettings())


def test_hours_to_be_warm_are_minutes_since_the_midnight_before_they_begin() -> None:
    office = "{from: 07:30, to: 22:00, days: [fri, mon, mon], timezone: Europe/Berlin}"
    spec = load(f"model: m\nserving: {{warm: [{office}, {{from: 22:00, to: 06:00}}, {{from: 9:00, to: 00:00}}]}}")
    assert scale(spec) == Scale(
        warm_hours=(
            WarmHours(7 * 60 + 30, 22 * 60, (0, 4), "Europe/Berlin"),
            WarmHours(22 * 60, 30 * 60),
            WarmHours(9 * 60, 24 * 60),
        )
    )


def test_all_day_on_all_days_is_always() -> None:
    spec = load("model: m\nserving: {warm: [{from: 00:00, to: 24:00}]}")
    assert spec == load("model: m\nserving: {warm: true}")
    assert scale(spec) == Scale(keep_warm=True)
    assert scale(load("model: m\nserving: {warm: false}")) == Scale()


def test_a_model_is_compiled_unless_its_spec_says_off_and_that_is_no_part_of_how_it_answers() -> None:
    without = load("model: m\nserving: {compile: off}")
    assert compiles(load("model: m"))
    assert not compiles(without)
    assert settings(without) == ServingSettings()


def test_plans_and_releases_that_were_stored_before_there_was_a_cache_or_an_hour_to_be_warm_are_read() -> None:
    kept = TypeAdapter(ServingSettings)
    old = '{"timeout_ms":100,"fallback_score":0.5,"max_body_bytes":2048,"one_at_a_time":false,"score_output":null}'
    assert kept.validate_json(old) == ServingSettings(100, 0.5, 2048)
    new = ServingSettings(cache=CacheSettings(5.0))
    assert kept.validate_python(json.loads(json.dumps(asdict(new)))) == new
    hours = Scale(warm_hours=(WarmHours(450, 1320, (0, 4), "Asia/Tokyo"),))
    assert TypeAdapter(Scale).validate_python(json.loads(json.dumps(asdict(hours)))) == hours


def test_scale_is_no_part_of_how_a_release_answers_and_each_of_its_fields_is_named() -> None:
    fields = {"workers": "3", "warm": "true", "memory": "1GiB", "cpu": "2", "cache": "{size: 1MiB}"}
    usual = {**dict.fromkeys(fields, ""), "cache": "{size: 2MiB}"}
    found = set[str]()
    for name, value in fields.items():
        before = f"model: m\nserving: {{{name}: {usual[name]}}}" if usual[name] else "model: m"
        after = f"model: m\nserving: {{{name}: {value}}}"
        assert behaves_alike(load(after), settings(load(before)))
        assert scale(load(after)) != scale(load(before))
        found |= {one.field for one in changes(before, after, model="m")}
    assert found == SCALE
    others = ("timeout: 1s", "cache: on", "rows: together", "max_waiting: 3", "batch: {delay: 1ms}", "score: p")
    for other in others:
        assert not behaves_alike(load(f"model: m\nserving: {{{other}}}"), ServingSettings())
    assert behaves_alike(load("model: m"), ServingSettings(one_at_a_time=True))


def test_the_reference_is_up_to_date() -> None:
    assert DOCUMENT.read_text() == reference(), "run: python -m serinus.spec > docs/model-deployment.md"


def test_every_field_is_described_in_the_reference() -> None:
    text = reference()
    for field in described():
        assert field.info.description, field.path
        assert f"`{field.path}`" in text


def test_editors_get_a_schema_that_knows_every_section() -> None:
    properties = schema()["properties"]
    assert set(properties) == {field.path for field in described() if "." not in field.path}
    assert schema()["required"] == ["model"]
    assert schema()["additionalProperties"] is False


def test_editors_know_that_warm_is_a_switch_or_hours() -> None:
    definitions = schema()["$defs"]
    switch, hours = definitions["Serving"]["properties"]["warm"]["anyOf"]
    assert (switch["type"], hours["items"]) == ("boolean", {"$ref": "#/$defs/Hours"})
    assert definitions["Hours"]["required"] == ["from", "to"]


def test_rows_that_belong_together_are_neither_compiled_nor_cached_nor_batched() -> None:
    spec = load("model: m\nserving: {rows: together}")
    assert settings(spec).rows == "together"
    assert not compiles(spec)
    assert settings(load("model: m")).rows == "each"
    for other in ("cache: on", "batch: {rows: 8}"):
        with pytest.raises(InvalidInput, match="rows is 'together'"):
            load(f"model: m\nserving: {{rows: together, {other}}}")
    with pytest.raises(InvalidInput, match="rows"):
        load("model: m\nserving: {rows: together}\ngates: {accept: [one-at-a-time]}")


@pytest.mark.parametrize("word", ["unasked", "inconclusive-load"])
def test_what_may_be_accepted(word: str) -> None:
    assert accepts(load(f"model: m\ngates: {{accept: [{word}]}}")) == {word}
