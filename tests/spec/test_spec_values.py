"""A spec value by value: what holds, on which line it is said, and what another spec changes."""

from __future__ import annotations

import pytest

from serinus.core.errors import InvalidInput
from serinus.spec import changes, load, values

TEXT = """\
model: card-fraud
serving:
  timeout: 0.5s
  cache: on
  fallback: {score: 0.0}
gates:
rollout:
  steps: [5%, 50%]
watch: {alerts: off}
"""


def found(text: str = TEXT) -> dict[str, tuple[str, int | None]]:
    return {one.field: (one.text, one.line) for one in values(text, model="card-fraud")}


@pytest.mark.parametrize(
    ("field", "text", "line"),
    [
        ("model", "card-fraud", 1),
        ("serving.timeout", "500ms", 3),
        ("serving.cache.size", "16MiB", 4),
        ("serving.fallback.score", "0.0", 5),
        ("serving.memory", "null", None),
        ("serving.batch", "off", None),
        ("gates.label", "label", None),
        ("rollout.approval", "none", None),
        ("watch.alerts", "off", 9),
        ("watch.slow.over", "null", None),
        ("retention.predictions", "90d", None),
    ],
)
def test_each_value_is_told_with_the_line_that_says_it(field: str, text: str, line: int | None) -> None:
    assert found()[field] == (text, line)


def test_every_value_of_an_empty_spec_is_a_default() -> None:
    assert {line for _, line in found("").values()} == {None}


def test_credentials_of_an_address_are_not_told() -> None:
    told = found("gates: {evaluation: 'https://anna:s3cret@files.example/rows.csv'}")["gates.evaluation"]
    assert told == ("https://files.example/rows.csv", 1)


def test_changes_are_of_meaning_and_name_the_line() -> None:
    after = "serving: {timeout: 500ms, cache: on, fallback: error}\nrollout:\n  steps: [5%, 50%]\nwatch: {alerts: off}"
    (change,) = changes(TEXT, after, model="card-fraud")
    assert (change.field, change.before, change.after, change.line) == ("serving.fallback", "{score: 0.0}", "error", 1)
    assert changes(TEXT, TEXT + "# a comment\n", model="card-fraud") == []
    dropped = changes(TEXT, TEXT.replace("  timeout: 0.5s\n", ""), model="card-fraud")
    assert [(one.field, one.before, one.after, one.line) for one in dropped] == [
        ("serving.timeout", "500ms", "250ms", None)
    ]


def test_a_spec_that_cannot_be_read_is_refused_by_its_name() -> None:
    with pytest.raises(InvalidInput, match=r"^new\.yaml:1: serving\.timeout: "):
        changes(TEXT, "serving: {timeout: soon}", model="card-fraud", source="new.yaml")
    assert load(TEXT, model="card-fraud").serving.cache is not None
