"""What the gates ask a release, and of what they can tell that a row has one answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from serinus.core.errors import TemporaryError
from serinus.core.examination import Question
from serinus.core.placement import Placement, PlacementState
from serinus.core.release import Release, ServingSettings
from serinus.engine.steps import asking
from serinus.engine.steps.asking import Subject
from serinus.engine.steps.metamorphic import metamorphic
from serinus.engine.steps.rows import Table, companions, table_in
from serinus.gates import Transformation

Rows = Sequence[Sequence[float]]


@dataclass
class Scored:
    scores: Sequence[float | None]
    seconds: float = 0.001
    answers: Sequence[Any] = ()


@dataclass
class Scorer:
    """Answers by a function of all rows of a request."""

    of: Callable[[Rows], Sequence[float | None]]
    sizes: list[int] = field(default_factory=list)
    documents: list[Any] = field(default_factory=list)

    def score(self, endpoint: str, columns: Any, rows: Rows, timeout: float) -> Scored:
        self.sizes.append(len(rows))
        return Scored(self.of(rows))

    def ask(self, address: str, release: Release, protocol: str, question: Question, timeout: float) -> Scored:
        self.documents.append((protocol, question.document))
        table = table_in(question)
        assert table is not None
        return Scored(self.of(table.rows))


def subject(of: Callable[[Rows], Sequence[float | None]], **settings: Any) -> Subject:
    made = datetime(2026, 1, 1, tzinfo=UTC)
    release = Release("fraud-1-aaaaaa", "fraud", "1", "a", "e", ServingSettings(**settings), made)
    placement = Placement(release.id, PlacementState.READY, endpoint="/sockets/1")
    rollout = SimpleNamespace(plan=SimpleNamespace(accepts=frozenset()))
    some: Any = SimpleNamespace(scorer=Scorer(of))
    rollout_: Any = rollout
    unused: Any = None
    return Subject(some, rollout_, unused, unused, unused, release, placement, None)


def one_a_row(rows: Rows) -> Sequence[float]:
    return [sum(row) / 100 for row in rows]


def rank(rows: Rows) -> Sequence[float]:
    """A score that says how a row compares with the others of its request."""
    ordered = sorted(map(tuple, rows))
    return [ordered.index(tuple(row)) / len(rows) for row in rows]


def rolling(rows: Rows) -> Sequence[float]:
    """The mean with the row before, as a window has it."""
    return [(rows[max(n - 1, 0)][0] + row[0]) / 2 for n, row in enumerate(rows)]


LIKE = Table(("a", "b"), [[2.5, 1.0]])
"""As an example of one row: nothing in it tells a row from its neighbours."""
SAME = Table(("a", "b"), [[2.5, 1.0]] * 4)
OTHERS = Table(("a", "b"), [[1.5, 1.0], [2.5, 3.0], [9.0, 4.0]])


@pytest.mark.parametrize("table", [LIKE, SAME, OTHERS])
def test_a_model_that_looks_at_each_row_alone_has_one_answer_a_row(table: Table) -> None:
    found = metamorphic(subject(one_a_row), table)
    assert {check.transformation for check in found.checks} >= {Transformation.COMPANY, Transformation.BATCH}
    assert not [check for check in found.checks if check.failures or check.error]


@pytest.mark.parametrize("of", [rank, rolling])
@pytest.mark.parametrize("table", [LIKE, SAME, OTHERS])
def test_a_row_that_depends_on_its_neighbours_is_found_even_where_all_are_alike(
    of: Callable[[Rows], Sequence[float]], table: Table
) -> None:
    found = metamorphic(subject(of), table)
    assert Transformation.COMPANY in [check.transformation for check in found.checks if check.failures]


def test_one_answer_to_all_rows_is_no_answer_to_each() -> None:
    found = metamorphic(subject(lambda rows: [sum(row[0] for row in rows) / len(rows)]), OTHERS)
    assert [check.transformation for check in found.checks if check.error or check.failures]


def test_rows_that_no_model_would_get_are_not_held_against_one_that_refuses_them() -> None:
    def picky(rows: Rows) -> Sequence[float]:
        if any(not 2 < row[0] < 3 for row in rows):
            raise TemporaryError("out of range")
        return one_a_row(rows)

    found = metamorphic(subject(picky), LIKE)
    assert Transformation.COMPANY not in [check.transformation for check in found.checks]
    assert not [check for check in found.checks if check.failures or check.error]


def test_companions_differ_in_every_number_and_keep_their_types_and_signs() -> None:
    row = [1.5, 2, "x", True, None, [1], -4.0, 0]
    unmoved = [[float("inf"), 10**400, 1e300]]
    assert companions(unmoved, larger=True) == unmoved
    assert companions([row], larger=True) == [[3.25, 5, "x", True, None, [1], -2.0, 8]]
    assert companions([row], larger=False) == [[0.75, 1, "x", True, None, [1], -13.0, 0]]


def test_beside_larger_rows_alone_where_the_model_refuses_smaller_ones() -> None:
    def positive(rows: Rows) -> Sequence[float]:
        if any(row[0] < 2 for row in rows):
            raise TemporaryError("out of range")
        return rolling(rows)

    found = metamorphic(subject(positive), LIKE)
    assert Transformation.COMPANY in [check.transformation for check in found.checks if check.failures]


def test_rows_that_belong_together_are_asked_as_one_question_by_mlflows_protocol() -> None:
    asked = subject(rolling, rows="together")
    assert list(asked.score(asked.candidate, Table(("a", "b"), [[1.0, 2.0]] * 20_000))) == [1.0] * 20_000
    scorer: Any = asked.world.scorer
    assert (scorer.sizes, len(scorer.documents)) == ([], 1)
    found = metamorphic(asked, OTHERS)
    assert [check.transformation for check in found.checks] == [Transformation.TWICE]


def test_many_rows_are_asked_in_several_requests() -> None:
    asked = subject(one_a_row)
    asked.score(asked.candidate, Table(("a", "b"), [[1.0, 2.0]] * 25_000))
    scorer: Any = asked.world.scorer
    assert scorer.sizes == [10_000, 10_000, 5_000]


@pytest.mark.parametrize(
    "document",
    [
        {"dataframe_split": {"columns": ["a", "b"], "data": [[1.0, 2.0], [3.0, 4.0]]}},
        {"dataframe_split": {"data": [[1.0, 2.0], [3.0, 4.0]]}},
        {"inputs": [[1.0, 2.0], [3.0, 4.0]]},
        {"instances": [[1.0, 2.0], [3.0, 4.0]]},
        {"inputs": {"a": [1.0, 3.0], "b": [2.0, 4.0]}},
    ],
)
def test_rows_without_a_form_in_tensors_are_asked_in_the_form_that_they_came_in(document: Any) -> None:
    table = table_in(Question(document, None))
    assert table is not None
    assert table.question().document == document
    asked = subject(one_a_row)
    assert list(asked.score(asked.candidate, table)) == [0.03, 0.07]
    scorer: Any = asked.world.scorer
    assert scorer.documents == [("invocations", document)]


@pytest.mark.parametrize("document", [{"inputs": 7}, {"inputs": {"a": [1], "b": [1, 2]}}, {"dataframe_split": {}}, {}])
def test_what_has_no_rows_is_no_table(document: Any) -> None:
    assert table_in(Question(document, None)) is None


def test_a_model_that_is_far_too_slow_is_not_timed_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1_000_000, 25))
    monkeypatch.setattr(asking, "monotonic", lambda: next(clock))
    asked = subject(one_a_row)
    assert len(asked.timed(OTHERS, 200)) == 2  # at 25, 50 and 75 s


def test_no_answer_is_no_fast_answer() -> None:
    def fails(rows: Rows) -> Sequence[float]:
        raise TemporaryError("no")

    assert subject(fails).seconds(OTHERS) == asking.SECONDS_A_REQUEST
