"""Decides from evidence whether a release may take traffic: pure numbers in, a verdict with its evidence out.

`assess` judges one look at a canary step, `reproduce` does it again from what was stored, `required` says beforehand
how many requests it will take.
"""

from serinus.judge.assess import assess, reproduce
from serinus.judge.evidence import StepEvidence
from serinus.judge.required import Required, required

__all__ = ["Required", "StepEvidence", "assess", "reproduce", "required"]
