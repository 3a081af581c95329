"""One model asked by both sides."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from serinus_runtime.base.errors import StartFailure

from fidelity import forms, spoil
from fidelity.build import Built, CannotBuild, build
from fidelity.case import Ask, Case, Recipe
from fidelity.compare import EXACT, TOLERANCES, Difference, compare, must_refuse
from fidelity.forms import INVOCATIONS, CannotEncode
from fidelity.oracle import Answer, Oracle, Verdict
from fidelity.pyfuncs import NOT_BY_ROWS
from fidelity.served import Reply, Served, compiled_way, long_way, together_way
from fidelity.values import records_of, sent_arrays, sent_frame
from fidelity.wanted import (
    AS_ALIKE,
    AS_BY_NAME,
    AS_IN_FRAMES,
    AS_IN_JSON,
    AS_MISSING,
    AS_RECORDS,
    AS_TRAINED,
    Wanted,
    wanted_of,
)
from fidelity.worker import Worker, started

LOAD = "load"
"""The form of a case that asks nothing: Serinus does not serve the model, and MLflow does."""
_TWICE = 2
"""Times that each request is sent: the second one finds its head, its layout and perhaps its answer remembered."""


@dataclass(frozen=True)
class Finding:
    """A difference. `wanted`: the reason why it is meant to be, else None. `way`: how Serinus predicted."""

    case: Case
    way: str
    difference: Difference
    want: str = ""
    got: str = ""
    wanted: Wanted | None = None


@dataclass(frozen=True)
class Compared:
    """One comparison that found nothing, or a finding. `verdict`: MLflow's, or `refused` for a spoiled body."""

    way: str
    form: str
    verdict: str
    finding: Finding | None = None


@dataclass
class Session:
    """`refused`: why Serinus does not serve the model at all; `uncompiled`: why no graph stands for it."""

    built: Built
    oracle: Oracle
    ways: list[Served | Worker] = field(default_factory=list)
    refused: str = ""
    uncompiled: str = ""

    def load_finding(self) -> Finding | None:
        """That Serinus refuses a model which MLflow loads."""
        if not self.refused:
            return None
        case = Case(self.built.recipe, Ask(LOAD, (), ()))
        difference = Difference("not served", self.refused)
        reason = wanted_of(case, difference, None, Reply(0))
        return Finding(case, LOAD, difference, "MLflow loads it", self.refused, reason)

    def ask(self, ask: Ask) -> list[Compared]:
        """A comparison for each way that the model is served; none where the form cannot hold the values."""
        recipe = self.built.recipe
        try:
            sent = forms.sent_of(recipe, ask)
            sent = spoil.apply(sent, ask.spoil) if ask.spoil else sent
            want = self._wanted(ask, sent)
        except CannotEncode:
            return []
        return [self._compared(served, ask, sent, want) for served in self.ways]

    def _wanted(self, ask: Ask, sent: forms.Sent) -> Answer | None:
        """None: the request is not to be answered."""
        recipe = self.built.recipe
        if ask.form in INVOCATIONS:
            return self.oracle.ask(sent)
        if ask.spoil:
            return None
        if recipe.tensors and not recipe.signed:
            # An array is of the datatype that was sent, which JSON by `/invocations` does not say.
            return self.oracle.predict(
                lambda: sent_arrays(recipe.inputs, ask.columns, ask.rows), dict(ask.params or {}) or None
            )
        if not recipe.signed and ask.form != "json matrix" and self._only_null(ask):
            return self._of_numbers(ask)
        rows = forms.equivalent(recipe, ask)
        rows = rows if recipe.tensors else replace(rows, rows=forms.times_alike(recipe, rows))
        return self.oracle.ask(forms.sent_of(recipe, rows))

    def _only_null(self, ask: Ask) -> bool:
        """Whether a column of numbers with a fraction holds nothing else."""
        doubles = {spec.get("name") for spec in self.built.recipe.inputs if spec["type"] == "double"}
        return any(name in doubles and all(row[i] is None for row in ask.rows) for i, name in enumerate(ask.columns))

    def _of_numbers(self, ask: Ask) -> Answer:
        """MLflow's `predict`: FP64 is of numbers, and JSON by `/invocations` does not say so of null alone."""
        return self.oracle.predict(lambda: sent_frame(self.built.recipe.inputs, ask.columns, ask.rows))

    def _compared(self, served: Served | Worker, ask: Ask, sent: forms.Sent, want: Answer | None) -> Compared:
        found = None
        if ask.form in forms.OIP and not served.by_tensors:
            want = None
        request = sent.encode()
        for _ in range(_TWICE):
            got = served.ask(request)
            found = self._difference(served, ask, sent, want, got)
            if found is not None:
                break
        verdict = "refused" if want is None else want.verdict.value
        if found is None:
            return Compared(served.way, ask.form, verdict)
        case = Case(self.built.recipe, ask)
        text = "" if want is None else f"{want.verdict.value} {want.text[:500]}"
        reason = wanted_of(case, found, want, got)
        return Compared(served.way, ask.form, verdict, Finding(case, served.way, found, text, got.text[:500], reason))

    def _difference(
        self, served: Served | Worker, ask: Ask, sent: forms.Sent, want: Answer | None, got: Reply
    ) -> Difference | None:
        if want is None:
            return must_refuse(got)
        found = self._compare(served, ask, want, got)
        wrong = bool(ask.spoil) and ask.spoil[0] not in spoil.TOLD
        if found is None or wrong:
            return found
        if ask.form in INVOCATIONS:
            other = self._told_plainly(served, ask, sent, got, want.verdict)
        else:
            other = self._by_trained_names(served, ask, got)
        return other or self._left_missing(served, ask, sent, got) or found

    def _compare(self, served: Served | Worker, ask: Ask, want: Answer, got: Reply) -> Difference | None:
        tolerance = TOLERANCES.get(served.within, EXACT)
        return compare(want, got, tolerance=tolerance, described=served.described, rows=len(ask.rows))

    def _told_plainly(
        self, served: Served | Worker, ask: Ask, sent: forms.Sent, got: Reply, verdict: Verdict
    ) -> Difference | None:
        """MLflow does not take the rows in this form, or not as they are. Is the answer its own to them in another?"""
        recipe = self.built.recipe
        if ask.form == "inputs of records" and not recipe.signed and ask.spoil[:1] in ((), (forms.LEFT_OUT,)):
            return self._of_scalars(served, ask, sent, got)
        kind = AS_IN_JSON if ask.form == forms.CSV else AS_BY_NAME if verdict is Verdict.REFUSED else AS_IN_FRAMES
        if kind != AS_BY_NAME and not recipe.flat:
            return None  # without a signature, and with nested values, each form has a meaning of its own
        others = forms.as_records(ask, sent) if kind == AS_BY_NAME and recipe.tensors else []
        for plain in (*forms.plain(recipe, ask, sent), *others):
            try:
                want = self.oracle.ask(forms.sent_of(recipe, plain))
            except CannotEncode:
                continue
            if want.verdict is not Verdict.REFUSED and self._compare(served, ask, want, got) is None:
                return Difference(AS_ALIKE if plain.form == ask.form and not ask.spoil else kind, "")
        return None

    def _of_scalars(self, served: Served | Worker, ask: Ask, sent: forms.Sent, got: Reply) -> Difference | None:
        """Is the answer the one that MLflow's `predict` gives to the records with scalars in them?"""
        want = self.oracle.predict(lambda: records_of(json.loads(sent.body)["inputs"]))
        if want.verdict is not Verdict.REFUSED and self._compare(served, ask, want, got) is None:
            return Difference(AS_RECORDS, "")
        return None

    def _left_missing(self, served: Served | Worker, ask: Ask, sent: forms.Sent, got: Reply) -> Difference | None:
        """Is the answer the one that MLflow's `predict` gives to the rows with None for null in optional columns of
        bytes and booleans?"""
        recipe = self.built.recipe
        if recipe.tensors or not recipe.flat or 400 <= got.status < 500:
            return None
        plain = forms.plain(recipe, ask, sent) if ask.form in INVOCATIONS else [forms.equivalent(recipe, ask)]
        rows = plain[-1] if plain else ask
        missing = {name for row in rows.rows for name, value in zip(rows.columns, row, strict=True) if value is None}
        unmarked = {
            spec.get("name")
            for spec in recipe.inputs
            if spec["type"] in ("binary", "boolean") and not spec.get("required", True)
        }
        if not missing & unmarked:
            return None
        want = self.oracle.predict(
            lambda: sent_frame(recipe.inputs, rows.columns, forms.times_alike(recipe, rows)),
            dict(ask.params or {}) or None,
        )
        if want.verdict is not Verdict.REFUSED and self._compare(served, ask, want, got) is None:
            return Difference(AS_MISSING, "")
        return None

    def _by_trained_names(self, served: Served | Worker, ask: Ask, got: Reply) -> Difference | None:
        """Is the answer to a matrix the one to the same rows with the names that the estimator was trained with?"""
        recipe = self.built.recipe
        if ask.form != "json matrix" or recipe.signed or not recipe.trained or len(ask.columns) != len(recipe.inputs):
            return None
        named = replace(ask, form="dataframe_split", columns=tuple(recipe.names))
        try:
            want = self._of_numbers(named) if self._only_null(named) else self.oracle.ask(forms.sent_of(recipe, named))
        except CannotEncode:
            return None
        if want.verdict is Verdict.ANSWERED and self._compare(served, ask, want, got) is None:
            return Difference(AS_TRAINED, "")
        return None


@contextmanager
def session(recipe: Recipe, *, compiling: bool = True, process: bool = False) -> Iterator[Session]:
    """The model, made, loaded by both and compiled where it can be. `process`: a worker process is asked as
    well. Raises CannotBuild."""
    directory = Path(tempfile.mkdtemp(prefix="serinus-fidelity-"))
    try:
        built = build(recipe, directory / "model")
        opened = Session(built, _oracle(built))
        try:
            opened.ways.append(long_way(built))
        except StartFailure as error:
            opened.refused = str(error)
            if recipe.answer in NOT_BY_ROWS:
                opened.ways.append(together_way(built))
        if compiling and not opened.refused and recipe.trained:
            try:
                opened.ways.append(compiled_way(built, directory / "compiled"))
            except StartFailure as error:
                opened.uncompiled = str(error)
        with ExitStack() as stack:
            if process and not opened.refused:
                try:
                    opened.ways.append(stack.enter_context(started(built)))
                except StartFailure as error:
                    opened.refused = f"as a process of its own: {error}"
            yield opened
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _oracle(built: Built) -> Oracle:
    """Raises CannotBuild: MLflow does not serve the model either."""
    try:
        return Oracle(built.artifact)
    except Exception as error:
        raise CannotBuild(f"MLflow does not load it: {type(error).__name__}") from error


def findings(case: Case) -> list[Finding]:
    """All that differs in one case. Raises CannotBuild."""
    with session(case.recipe) as opened:
        refused = opened.load_finding()
        found = [] if refused is None else [refused]
        asked = [] if case.ask.form == LOAD else opened.ask(case.ask)
        return found + [one.finding for one in asked if one.finding is not None]
