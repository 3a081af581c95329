"""The judge: decides from counts whether a release may have more traffic. Pure functions, whose verdicts hold their
evidence.

`assess` judges one look at a canary step, and `reproduce` repeats it from what was stored. `required` and `clean`
estimate how many requests a step will take. `look`, `everywhere` and `decide` watch a release after its promotion,
against a `baseline`.
"""

from serinus.judge.assess import assess, reproduce
from serinus.judge.baseline import Baseline, baseline, together
from serinus.judge.evidence import StepEvidence
from serinus.judge.required import Required, clean, required
from serinus.judge.watch import Finding, Watching, decide, everywhere, look, seen, since, troubles

__all__ = [
    "Baseline",
    "Finding",
    "Required",
    "StepEvidence",
    "Watching",
    "assess",
    "baseline",
    "clean",
    "decide",
    "everywhere",
    "look",
    "reproduce",
    "required",
    "seen",
    "since",
    "together",
    "troubles",
]
