"""One model asked by both sides."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from serinus_runtime.errors import StartFailure

from fidelity import forms, spoil
from fidelity.build import Built, CannotBuild, build
from fidelity.case import Ask, Case, Recipe
from fidelity.compare import EXACT, TOLERANCES, Difference, compare, must_refuse
from fidelity.forms import INVOCATIONS, CannotEncode
from fidelity.oracle import Answer, Oracle, Verdict
from fidelity.served import Reply, Served, compiled_way, long_way
from fidelity.wanted import AS_BY_NAME, AS_IN_FRAMES, AS_IN_JSON, Wanted, wanted_of
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
            plain = sent if ask.form in INVOCATIONS else self._equivalent(ask)
        except CannotEncode:
            return []
        want = None if plain is None else self.oracle.ask(plain)
        return [self._compared(served, ask, sent.encode(), want) for served in self.ways]

    def _equivalent(self, ask: Ask) -> forms.Sent | None:
        """None: there is none, since the request is not to be answered."""
        if ask.spoil:
            return None
        return forms.sent_of(self.built.recipe, forms.equivalent(self.built.recipe, ask))

    def _compared(self, served: Served | Worker, ask: Ask, sent: bytes, want: Answer | None) -> Compared:
        found = None
        for _ in range(_TWICE):
            got = served.ask(sent)
            found = self._difference(served, ask, want, got)
            if found is not None:
                break
        verdict = "refused" if want is None else want.verdict.value
        if found is None:
            return Compared(served.way, ask.form, verdict)
        case = Case(self.built.recipe, ask)
        text = "" if want is None else f"{want.verdict.value} {want.text[:500]}"
        reason = wanted_of(case, found, want, got)
        return Compared(served.way, ask.form, verdict, Finding(case, served.way, found, text, got.text[:500], reason))

    def _difference(self, served: Served | Worker, ask: Ask, want: Answer | None, got: Reply) -> Difference | None:
        if want is None:
            return must_refuse(got)
        found = self._compare(served, ask, want, got)
        wrong = bool(ask.spoil) and ask.spoil[0] not in spoil.HARMLESS
        if found is None or wrong or ask.form not in INVOCATIONS:
            return found
        return self._told_plainly(served, ask, got, want.verdict) or found

    def _compare(self, served: Served | Worker, ask: Ask, want: Answer, got: Reply) -> Difference | None:
        tolerance = TOLERANCES.get(served.within, EXACT)
        return compare(want, got, tolerance=tolerance, described=served.described, rows=len(ask.rows))

    def _told_plainly(self, served: Served | Worker, ask: Ask, got: Reply, verdict: Verdict) -> Difference | None:
        """MLflow does not take the rows in this form, or not as they are. Is the answer its own to them in another?"""
        kind = AS_IN_JSON if ask.form == forms.CSV else AS_BY_NAME if verdict is Verdict.REFUSED else AS_IN_FRAMES
        if kind != AS_BY_NAME and not self.built.recipe.flat:
            return None  # without a signature, and with nested values, each form has a meaning of its own
        for plain in forms.plain(self.built.recipe, ask):
            try:
                want = self.oracle.ask(forms.sent_of(self.built.recipe, plain))
            except CannotEncode:
                continue
            if want.verdict is not Verdict.REFUSED and self._compare(served, ask, want, got) is None:
                return Difference(kind, "")
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
        if refused is not None or case.ask.form == LOAD:
            return [refused] if refused is not None else []
        return [found for one in opened.ask(case.ask) if (found := one.finding) is not None]
