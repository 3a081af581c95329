"""The gate `example`: the model answers the input example that it was logged with."""

from __future__ import annotations

from serinus.core.examination import GateResult
from serinus.gates.evidence import ExampleEvidence
from serinus.gates.results import SHOWN, failed, passed, undecided

NAME_IT = (
    "A score is a number, true or false; texts and times are not scores. serving.score names the output, the "
    "column or the key that holds it; `serving.score: none` says that the model answers no score "
    "(docs/inputs-and-answers.md)."
)


def example(evidence: ExampleEvidence) -> GateResult:
    """Fails without an answer, with too few scores, or with a score that is not a finite number."""
    if evidence.rows is None:
        return undecided("example", "The version was logged without an input example.", blocking=False)
    if evidence.error:
        return failed("example", f"The input example was not answered: {evidence.error}", rows=evidence.rows)
    if len(evidence.scores) != evidence.rows:
        text = f"{len(evidence.scores)} scores for {evidence.rows} rows of the input example."
        return failed("example", text, rows=evidence.rows)
    if not evidence.scored:
        text = f"{evidence.rows} rows of the input example answered. By its spec the model answers no score."
        return passed("example", text, rows=evidence.rows)
    missing = [row for row, score in enumerate(evidence.scores) if score is None]
    if missing:
        text = f"{len(missing)} of {evidence.rows} rows of the input example got no finite score. {NAME_IT}"
        return failed("example", text, rows=evidence.rows, missing=missing[:SHOWN])
    return passed("example", f"{evidence.rows} rows of the input example answered.", rows=evidence.rows)
