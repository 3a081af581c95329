"""Requests that are predicted together: what each gets, when, and in whose company."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from serinus_runtime.artifact.signature import Column, Signature, TensorSpec
from serinus_runtime.base.config import Settings
from serinus_runtime.base.errors import ModelFailure, RequestError
from serinus_runtime.model.batching import LATE, Batcher, Outcome
from serinus_runtime.model.binding import inputs_of
from serinus_runtime.model.model import Answer
from serinus_runtime.process.event_loop import batcher_of
from serinus_runtime.serving.overload import Overload, Queue, overload
from serinus_runtime.values.described import Answers
from serinus_runtime.values.inputs import Bound
from serinus_runtime.values.outputs import Output, check_rows
from serinus_runtime.values.payload import Payload, Table, Tensor, Tensors

NUMBERS = Signature(columns=(Column("x", "double"), Column("flag", "boolean", required=False)))


class Clock:
    """An event loop's timers and the time, moved by hand."""

    class Handle:
        def __init__(self, at: float, call: Callable[[], object]) -> None:
            self.at = at
            self.call: Callable[[], object] | None = call

        def cancel(self) -> None:
            self.call = None

    def __init__(self) -> None:
        self.now = 100.0
        self._handles: list[Clock.Handle] = []

    def __call__(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], object]) -> Handle:
        self._handles.append(Clock.Handle(self.now + delay, callback))
        return self._handles[-1]

    def call_soon(self, callback: Callable[[], object]) -> Handle:
        return self.call_later(0.0, callback)

    def advance(self, seconds: float = 0.0) -> None:
        self.now += seconds
        due = [handle for handle in self._handles if handle.at <= self.now]
        self._handles = [handle for handle in self._handles if handle.at > self.now]
        for handle in due:
            if handle.call is not None:
                handle.call()


class Doubling:
    """Answers 2x. Fails as a whole where a row holds a negative x, and refuses where one is above 1000."""

    def __init__(self, signature: Signature = NUMBERS, answer: Callable[[Any], Any] = lambda x: 2 * x) -> None:
        self.signature = signature
        self.answers = Answers(signature)
        self.seen: list[Output] = []
        self.calls: list[list[list[Any]]] = []
        self._inputs = inputs_of(signature)
        self._answer = answer

    def rows(self, *rows: Sequence[Any]) -> Bound:
        return self.bind(Table(None, [list(row) for row in rows]))

    def bind(self, payload: Payload, *, exact: bool = False) -> Bound:
        return self._inputs.bind(payload, exact=exact)

    def predict(self, bound: Bound, params: Mapping[str, Any] | None = None) -> Answer:
        self.calls.append(bound.rows)
        data = bound.data()
        numbers = np.asarray(data["x"] if self.signature.inputs else data, dtype="float64")
        if (numbers < 0).any():
            raise ModelFailure("the model failed: ValueError")
        if (numbers > 1000).any():
            raise RequestError("out of range")
        result = self._answer(numbers)
        outputs = self.answers.read(result)
        check_rows(outputs, len(bound.rows))
        return Answer(result, outputs)


class Desk:
    """A batcher and what came of each request, in the order in which they were answered."""

    def __init__(self, model: Doubling | None = None, **options: Any) -> None:
        self.clock = Clock()
        self.model = model or Doubling()
        self.answers: list[tuple[str, Outcome]] = []
        self.batcher = Batcher(self.model, self.clock, 0.002, options.pop("rows", 64), clock=self.clock, **options)

    def ask(self, name: str, *rows: Sequence[Any], deadline: float | None = None, key: bytes | None = None) -> None:
        self.batcher.submit(self.model.rows(*rows), deadline, lambda outcome: self.answers.append((name, outcome)), key)

    def scores(self) -> dict[str, Any]:
        return {
            name: outcome.outputs[0].data if isinstance(outcome, Answer) else outcome for name, outcome in self.answers
        }


def test_requests_of_one_moment_are_predicted_together_and_each_gets_its_own_rows() -> None:
    desk = Desk()
    desk.ask("a", [1.0, True])
    desk.ask("b", [2.0, True], [3.0, False])
    desk.ask("c", [4, True])
    assert desk.answers == []
    assert desk.batcher.waiting == 3
    desk.clock.advance(0.002)
    assert desk.scores() == {"a": [2.0], "b": [4.0, 6.0], "c": [8.0]}
    assert len(desk.model.calls) == 1
    assert desk.batcher.waiting == 0


def rounds(desk: Desk, count: int, *callers: str) -> None:
    """They ask in one moment, and are answered, `count` times."""
    for turn in range(count):
        for caller in callers:
            desk.ask(f"{caller}-{turn}", [1.0, True])
        desk.clock.advance(0.002)


def test_who_was_alone_some_times_waits_no_more_until_there_is_company_again() -> None:
    """As many could ask as there are kept connections, but one does."""
    desk = Desk(callers=lambda: 8)
    rounds(desk, 3, "a")
    desk.ask("d", [1.0, True])
    desk.clock.advance()
    assert len(desk.answers) == 3, "company may still come"
    desk.clock.advance(0.002)
    desk.ask("e", [2.0, True])
    assert len(desk.answers) == 4, "never from within the asking"
    desk.clock.advance()
    assert desk.scores()["e"] == [4.0]
    desk.ask("f", [3.0, True])
    desk.ask("g", [4.0, True])  # arrived in the same moment
    desk.clock.advance()
    assert len(desk.model.calls) == 6
    desk.ask("h", [5.0, True])
    desk.clock.advance()
    assert "h" not in desk.scores(), "there was company a moment ago"
    desk.clock.advance(0.002)
    assert desk.scores()["h"] == [10.0]


def test_as_many_are_waited_for_as_came_together_lately_however_many_connections_there_are() -> None:
    desk = Desk(callers=lambda: 9)
    rounds(desk, 4, "a", "b", "c")
    desk.ask("d", [1.0, True])
    desk.ask("e", [1.0, True])
    desk.clock.advance(0.001)
    assert len(desk.answers) == 12
    desk.ask("f", [1.0, True])
    desk.clock.advance()
    assert len(desk.answers) == 15
    rounds(desk, 4, "g", "h")
    desk.ask("i", [1.0, True])
    desk.ask("j", [1.0, True])
    desk.clock.advance()
    assert len(desk.answers) == 25, "fewer are expected where fewer came, four times"


def test_nobody_waits_longer_than_the_delay_of_the_first_that_came() -> None:
    desk = Desk()
    desk.ask("a", [1.0, True])
    desk.clock.advance(0.0015)
    desk.ask("b", [2.0, True])
    assert desk.answers == []
    desk.clock.advance(0.0005)
    assert [name for name, _ in desk.answers] == ["a", "b"]
    desk.ask("c", [3.0, True])
    desk.clock.advance(0.001)
    assert len(desk.answers) == 2
    desk.clock.advance(0.001)
    assert len(desk.answers) == 3


def test_a_full_batch_does_not_wait_and_none_has_more_rows_than_allowed() -> None:
    desk = Desk(rows=4)
    for name in "abcdef":
        desk.ask(name, [1.0, True], [2.0, True])
    assert desk.answers == []
    desk.clock.advance()
    assert len(desk.answers) == 6
    assert [len(rows) for rows in desk.model.calls] == [4, 4, 4]
    desk.ask("large", *([1.0, True] for _ in range(9)))
    desk.clock.advance()
    assert len(desk.model.calls[-1]) == 9


def test_when_all_that_could_ask_have_asked_nobody_is_waited_for() -> None:
    desk = Desk(callers=lambda: 2)
    desk.ask("a", [1.0, True])
    desk.clock.advance()
    assert desk.answers == []
    desk.ask("b", [2.0, True])
    desk.clock.advance()
    assert desk.scores() == {"a": [2.0], "b": [4.0]}


@pytest.mark.parametrize(("bad", "error"), [(-1.0, ModelFailure), (2000.0, RequestError)])
def test_an_error_in_a_batch_is_the_error_of_the_request_that_brought_it(bad: float, error: type) -> None:
    desk = Desk()
    desk.ask("a", [1.0, True])
    desk.ask("bad", [bad, True])
    desk.ask("c", [3.0, True])
    desk.clock.advance(0.002)
    scores = desk.scores()
    assert isinstance(scores.pop("bad"), error)
    assert scores == {"a": [2.0], "c": [6.0]}


def test_a_model_that_answers_another_number_of_rows_is_asked_for_each_alone() -> None:
    desk = Desk(Doubling(answer=lambda x: x[:1] * 2))
    desk.ask("a", [1.0, True])
    desk.ask("b", [2.0, True])
    desk.clock.advance(0.002)
    assert desk.scores() == {"a": [2.0], "b": [4.0]}


def test_a_request_whose_time_is_up_is_not_predicted() -> None:
    desk = Desk()
    desk.ask("late", [1.0, True], deadline=desk.clock.now + 0.001)
    desk.ask("b", [2.0, True], deadline=desk.clock.now + 0.1)
    desk.clock.advance(0.002)
    assert desk.scores() == {"late": LATE, "b": [4.0]}
    assert [rows for rows in desk.model.calls if [1.0, True] in rows] == []


def test_when_a_batch_fails_each_request_is_asked_whether_it_still_has_time() -> None:
    def slow(numbers: Any) -> Any:
        desk.clock.now += 0.05
        if len(numbers) > 1:
            raise ModelFailure("the model failed: MemoryError")
        return 2 * numbers

    desk = Desk(Doubling(answer=slow))
    desk.ask("a", [1.0, True], deadline=desk.clock.now + 0.2)
    desk.ask("b", [2.0, True], deadline=desk.clock.now + 0.06)
    desk.clock.advance(0.002)
    assert desk.scores() == {"a": [2.0], "b": LATE}


def test_equal_requests_in_flight_are_predicted_once() -> None:
    desk = Desk()
    desk.ask("a", [1.0, True], key=b"k")
    desk.ask("b", [1.0, True], key=b"k")
    desk.ask("late", [1.0, True], key=b"k", deadline=desk.clock.now)
    desk.clock.advance(0.002)
    assert desk.scores() == {"a": [2.0], "b": [2.0], "late": LATE}
    assert desk.model.calls == [[[1.0, True]]]
    desk.ask("again", [1.0, True], key=b"k")
    desk.clock.advance(0.002)
    assert len(desk.model.calls) == 2


def test_the_first_of_equal_requests_being_late_does_not_make_the_others_late() -> None:
    desk = Desk()
    desk.ask("late", [1.0, True], key=b"k", deadline=desk.clock.now + 0.001)
    desk.ask("b", [1.0, True], key=b"k", deadline=desk.clock.now + 1)
    desk.clock.advance(0.002)
    assert desk.scores() == {"late": LATE, "b": [2.0]}


def test_rows_whose_company_would_change_a_type_are_kept_apart() -> None:
    """A null among booleans makes objects of the whole column."""
    desk = Desk()
    desk.ask("a", [1.0, True])
    desk.ask("null", [2.0, None])
    desk.ask("c", [3.0, False])
    desk.clock.advance(0.002)
    assert sorted(desk.model.calls) == [[[1.0, True], [3.0, False]], [[2.0, None]]]
    assert desk.scores() == {"a": [2.0], "null": [4.0], "c": [6.0]}


@pytest.mark.parametrize(
    "answer",
    [
        lambda x: 2 * x,
        lambda x: list(2 * x),
        lambda x: pd.Series(2 * x, name="score"),
        lambda x: pd.DataFrame({"no": -x, "score": 2 * x}),
        lambda x: {"score": 2 * x, "class": np.where(x > 1.5, "fraud", "fine")},
        lambda x: np.column_stack([-x, 2 * x]).astype("float32"),
    ],
)
def test_every_kind_of_answer_is_the_same_together_as_alone(answer: Callable[[Any], Any]) -> None:
    desk = Desk(Doubling(answer=answer))
    for number in range(3):
        desk.ask(str(number), [float(number), True])
    desk.clock.advance(0.002)
    assert len(desk.model.calls) == 1
    for number in range(3):
        alone = desk.model.predict(desk.model.rows([float(number), True]))
        outcome = dict(desk.answers)[str(number)]
        assert isinstance(outcome, Answer)
        assert outcome.outputs == alone.outputs
        assert type(outcome.result) is type(alone.result)


def test_tensors_of_one_type_and_shape_are_put_together() -> None:
    signature = Signature(tensors=(TensorSpec("x", "float64", (-1, -1)),))
    model = Doubling(signature, answer=lambda x: 2 * x)
    clock = Clock()
    answers: list[Outcome] = []
    batcher = Batcher(model, clock, 0.002, 64, clock=clock)
    for data in ([[1.0]], [[2.0]], [[3.0, 4.0]]):
        batcher.submit(model.bind(Tensors((Tensor("x", data),))), None, answers.append)
    clock.advance(0.002)
    assert [answer.outputs[0].data for answer in answers if isinstance(answer, Answer)] == [[2.0], [4.0], [6.0, 8.0]]
    assert [len(rows) for rows in model.calls] == [2, 1]


def test_without_a_signature_requests_are_predicted_one_by_one() -> None:
    model = Doubling(Signature(), answer=lambda x: 2 * x[:, 0])
    desk = Desk(model)
    desk.ask("a", [1.0])
    desk.ask("b", [2])
    desk.clock.advance(0.002)
    assert desk.scores() == {"a": [2.0], "b": [4.0]}
    assert len(model.calls) == 2


def test_each_of_many_random_requests_gets_the_answer_that_it_gets_alone() -> None:
    rng, desk = random.Random(3), Desk(rows=16)
    expected = {}
    for number in range(500):
        rows = [[rng.choice([-1.0, *range(12)]), rng.choice([True, False, None])] for _ in range(rng.randrange(1, 4))]
        failing = any(row[0] < 0 for row in rows)
        expected[str(number)] = ModelFailure if failing else [2 * float(row[0]) for row in rows]
        desk.ask(str(number), *rows, key=repr(rows).encode() if rng.random() < 0.5 else None)
        if rng.random() < 0.3:
            desk.clock.advance(rng.choice([0.0, 0.001, 0.002]))
    desk.clock.advance(0.002)
    got = {name: type(score) if isinstance(score, ModelFailure) else score for name, score in desk.scores().items()}
    assert got == expected
    assert len(desk.answers) == 500
    assert desk.batcher.waiting == 0


# --- overload ---------------------------------------------------------------------------------------------


def test_a_request_beyond_the_most_that_may_wait_is_refused_at_once() -> None:
    assert overload(Queue(1, 0.0), 2, 0.0, None) is None
    assert overload(Queue(2, 0.0), 2, 0.0, None) == Overload("2 requests are already waiting; try again later", 1)


def test_a_request_that_would_be_late_is_refused_before_it_waits() -> None:
    late = "the waiting requests take longer than the time limit of this request; try again later"
    assert overload(Queue(4, 0.02), 100, 10.0, 10.1) is None
    assert overload(Queue(6, 0.02), 100, 10.0, 10.1) == Overload(late, 1)
    assert overload(Queue(6, 0.02), 100, 10.0, None) is None
    assert overload(Queue(0, 0.02), 100, 10.0, 10.001) is None


@pytest.mark.parametrize(("each", "seconds"), [(0.01, 2), (0.0001, 1)])
def test_who_is_refused_is_told_to_come_back_when_the_queue_is_worked_off(each: float, seconds: int) -> None:
    refused = overload(Queue(200, each), 200, 0.0, None)
    assert refused is not None
    assert refused.retry_after == seconds


def test_what_a_request_takes_in_its_batch_is_known() -> None:
    def slow(numbers: Any) -> Any:
        desk.clock.now += 0.01
        return 2 * numbers

    desk = Desk(Doubling(answer=slow))
    for _ in range(100):
        for number in range(5):
            desk.ask("a", [float(number), True])
        desk.clock.advance(0.002)
    assert desk.batcher.seconds_each == pytest.approx(0.002, rel=0.01)


@pytest.mark.parametrize(
    ("settings", "batched"), [({}, True), ({"rows": "together"}, False), ({"one_at_a_time": True}, False)]
)
def test_no_request_joins_another_where_its_rows_are_a_question_of_their_own(settings: Any, batched: bool) -> None:
    chosen = Settings.of({"batch_delay_ms": 2.0, **settings})
    loop: Any = Clock()
    assert (batcher_of(chosen, Doubling(), loop, lambda: 0) is not None) is batched
