"""Trials of a model, wherever they run: the questions, and what is believed of the answers.

questions     what a confined process is asked
answers       what it said, as checked values
checked       the port, on a place that asks questions
"""

from __future__ import annotations

from serinus.targets.trials.answers import Answer, Ended, Failed, document_of
from serinus.targets.trials.checked import CheckedTrials
from serinus.targets.trials.questions import Question

__all__ = ["Answer", "CheckedTrials", "Ended", "Failed", "Question", "document_of"]
