"""Differences that are wanted. Each has a reason that a person can judge, and a test that it is this difference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fidelity.case import Case
from fidelity.compare import Difference
from fidelity.forms import OIP
from fidelity.misfit import misfits
from fidelity.oracle import Answer
from fidelity.pyfuncs import NOT_BY_ROWS
from fidelity.served import Reply

Is = Callable[[Case, Difference, Answer | None, Reply], bool]

AS_BY_NAME = "answered as the same rows by name"
"""The kind of a difference: MLflow refuses the form, and answers the same rows as Serinus does in another one."""

AS_IN_JSON = "answered as the same rows in JSON"
"""The kind of a difference: MLflow answers the CSV otherwise than the same values in `dataframe_split`."""

AS_IN_FRAMES = "answered as the same rows in a data frame"
"""The kind of a difference: MLflow answers the same rows otherwise in this form than in `dataframe_split`."""


@dataclass(frozen=True)
class Wanted:
    """`name`: for the table; `reason`: sentences for the documentation."""

    name: str
    reason: str
    holds: Is


def _refused(difference: Difference, got: Reply) -> bool:
    return difference.kind == "refused" and got.status in (400, 415)


def _spoiled(case: Case, *names: str) -> bool:
    return bool(case.ask.spoil) and case.ask.spoil[0] in names


WANTED: tuple[Wanted, ...] = (
    Wanted(
        "values of another type",
        "Serinus refuses a value that is not of the type which the signature declares, and names the column. MLflow "
        "casts what pandas can cast: 1.5 for a whole number becomes 1, any text for a boolean becomes true, a number "
        "for a time becomes nanoseconds since 1970, and null for a required text reaches the model. The times of one "
        "column are written alike in one request.",
        lambda case, difference, want, got: _refused(difference, got) and misfits(case),
    ),
    Wanted(
        "rows in another form",
        "Serinus takes the rows of a named signature also without names, in the order of the signature, and by "
        "`instances` and `inputs` in every shape that holds rows. MLflow takes some of these forms for some signatures "
        "only. The answer is the one that MLflow gives to the same rows in `dataframe_split`.",
        lambda case, difference, want, got: difference.kind == AS_BY_NAME,
    ),
    Wanted(
        "CSV as it is written",
        "Serinus reads a number in CSV to the nearest float64, and a text as it stands. MLflow reads CSV with pandas, "
        "whose parser is one digit off for some numbers and takes texts such as `NA`, `null` and `None` for missing "
        "values. The answer is the one that MLflow gives to the same values in `dataframe_split`.",
        lambda case, difference, want, got: difference.kind == AS_IN_JSON,
    ),
    Wanted(
        "params that are no object",
        "Serinus refuses `params` that are no object also where the model declares none, and MLflow passes over them.",
        lambda case, difference, want, got: (
            _refused(difference, got) and _spoiled(case, "params of another kind") and not case.recipe.params
        ),
    ),
    Wanted(
        "arrays, objects and maps by the Open Inference Protocol",
        "The protocol has no form for a column of arrays, objects or maps. Serinus refuses it and says how to ask.",
        lambda case, difference, want, got: (
            _refused(difference, got)
            and case.ask.form in OIP
            and any(spec["type"] in ("array", "object", "map") for spec in case.recipe.inputs)
        ),
    ),
    Wanted(
        "an input that the model does not have",
        "By the Open Inference Protocol an input that the model does not have is refused. By `/invocations` it is "
        "passed over, as by MLflow.",
        lambda case, difference, want, got: (
            _refused(difference, got) and case.ask.form in OIP and not set(case.ask.columns) <= set(case.recipe.names)
        ),
    ),
    Wanted(
        "one answer in every form",
        "MLflow makes another input of the same rows by `instances` and `inputs` than by `dataframe_split`: bytes are "
        "not decoded from base64, missing optional columns and names of columns without names are treated otherwise. "
        "Serinus gives to the rows of a signature of scalars or tensors the answer to `dataframe_split`, or to "
        "`inputs` for tensors, in every form.",
        lambda case, difference, want, got: difference.kind == AS_IN_FRAMES,
    ),
    Wanted(
        "params that are not declared",
        "By the Open Inference Protocol a parameter that the signature does not declare is refused, because the answer "
        "with its default would be another. By `/invocations` it is passed over, as by MLflow.",
        lambda case, difference, want, got: (
            _refused(difference, got)
            and case.ask.form in OIP
            and not set(case.ask.params or ()) <= {param["name"] for param in case.recipe.params}
        ),
    ),
    Wanted(
        "one answer for each row",
        "A model that does not answer once for each row is refused before it gets traffic. MLflow hands on whatever "
        "the model answers.",
        lambda case, difference, want, got: (
            difference.kind == "not served" and "answer" in difference.detail and case.recipe.answer in NOT_BY_ROWS
        ),
    ),
    Wanted(
        "NaN and Infinity",
        "JSON has no NaN and no Infinity (RFC 8259). Serinus refuses a body that holds one. Python's parser, and "
        "MLflow with it, reads them. A missing number is sent as null.",
        lambda case, difference, want, got: _refused(difference, got) and _spoiled(case, "NaN"),
    ),
)


def wanted_of(case: Case, difference: Difference, want: Answer | None, got: Reply) -> Wanted | None:
    """The first that explains the difference."""
    return next((wanted for wanted in WANTED if wanted.holds(case, difference, want, got)), None)
