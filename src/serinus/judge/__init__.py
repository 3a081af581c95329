"""Decides from evidence whether a release may take traffic: pure numbers in, a verdict with its evidence out.

`assess` judges one look at a canary step, `reproduce` does it again from what was stored, `required` and `clean` say
beforehand how many requests it will take. `look`, `everywhere` and `decide` watch a release after its promotion,
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
