"""The evidence of the metamorphic gate: whether a row gets the same answer whatever is sent with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from serinus import gates
from serinus.core.errors import SerinusError
from serinus.engine.steps.asking import Subject
from serinus.engine.steps.rows import Table, companions, integers_for_whole_floats
from serinus.gates import Transformation, TransformationCheck

COMPANY = 5
"""The number of rows that are sent together with others."""


def metamorphic(subject: Subject, probe: Table | None) -> gates.MetamorphicEvidence:
    """Returns the checks of the candidate, without the router. Without rows there are no checks."""
    accepted = subject.rollout.plan is not None and "one-at-a-time" in subject.rollout.plan.accepts
    one_at_a_time, together = subject.release.settings.one_at_a_time, subject.together

    def found(*checks: TransformationCheck) -> gates.MetamorphicEvidence:
        return gates.MetamorphicEvidence(checks, accepted, one_at_a_time, together)

    if probe is None or not probe.rows:
        return found()
    ask = _Asker(subject, probe)
    try:
        alone = ask.together(probe.rows) if together else ask.alone(probe.rows)
    except SerinusError as error:
        return found(TransformationCheck(Transformation.ALONE, len(probe.rows), error=str(error)))
    if together:
        return found(ask.check(Transformation.TWICE, alone, lambda: ask.together(probe.rows)))
    return found(*_one_answer_a_row(ask, probe, alone))


def _one_answer_a_row(ask: _Asker, probe: Table, alone: Sequence[float | None]) -> Iterator[TransformationCheck]:
    """Yields checks that a row gets the answer that it gets alone: again, in a batch, beside others, and in another
    order."""
    rows = probe.rows
    backwards = list(reversed(range(len(rows))))
    yield ask.check(Transformation.TWICE, alone, lambda: ask.alone(rows))
    yield ask.check(Transformation.BATCH, alone, lambda: ask.together(rows))
    if (beside := ask.beside_others(alone)) is not None:
        yield beside
    yield ask.check(
        Transformation.ORDER, [alone[i] for i in backwards], lambda: ask.together([rows[i] for i in backwards])
    )
    whole = [(i, row) for i, row in enumerate(rows) if probe.columns and integers_for_whole_floats([row])]
    if whole:
        changed = integers_for_whole_floats([row for _, row in whole])
        yield ask.check(Transformation.INTEGERS, [alone[i] for i, _ in whole], lambda: ask.alone(changed))


@dataclass(frozen=True, slots=True)
class _Asker:
    subject: Subject
    table: Table

    def together(self, rows: Sequence[Any]) -> Sequence[float | None]:
        return self.subject.score(self.subject.candidate, self.table.of(rows))

    def alone(self, rows: Sequence[Any]) -> Sequence[float | None]:
        """Returns the score of each row by itself. A row with several answers, or none, has no score."""
        found = [self.together([row]) for row in rows]
        return [scores[0] if len(scores) == 1 else None for scores in found]

    def beside_others(self, expected: Sequence[float | None]) -> TransformationCheck | None:
        """Sends each row between one with larger and one with smaller numbers, because the rows of an example may all
        be alike.

        None: there are no numbers to change, or the model refuses the changed rows.
        """
        rows = self.table.rows[:COMPANY]
        larger, smaller = self._others(rows, larger=True), self._others(rows, larger=False)
        before, after = larger or smaller, smaller or larger
        if before is None or after is None:
            return None

        def beside() -> Sequence[float | None]:
            asked = [self.together(list(three)) for three in zip(before, rows, after, strict=True)]
            return [scores[1] if len(scores) == 3 else None for scores in asked]

        return self.check(Transformation.COMPANY, expected[: len(rows)], beside)

    def _others(self, rows: Sequence[Any], *, larger: bool) -> Sequence[Any] | None:
        """Returns changed rows that the model answers. None: there are none."""
        if not self.table.columns or (others := companions(rows, larger=larger)) == [list(row) for row in rows]:
            return None
        try:
            self.together(others)
        except SerinusError:
            return None
        return others

    def check(
        self,
        transformation: Transformation,
        expected: Sequence[float | None],
        ask: Callable[[], Sequence[float | None]],
    ) -> TransformationCheck:
        try:
            return gates.compare(transformation, expected, ask())
        except SerinusError as error:
            return TransformationCheck(transformation, len(expected), error=str(error))
