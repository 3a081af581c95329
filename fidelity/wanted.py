"""Differences that are wanted. Each has a reason that a person can judge, and a test that it is this difference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fidelity.case import JSON, Case
from fidelity.compare import Difference
from fidelity.forms import BY_PLACE, CSV, LEFT_OUT, OIP
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


AS_RECORDS = "answered as the records of scalars"
"""The kind of a difference: MLflow's own predict gives this answer to the records with their scalars as they are."""

AS_TRAINED = "answered as the same rows by the names of the training"
"""The kind of a difference: a matrix to an estimator that was trained with names."""


AS_MISSING = "answered as the same rows with None for what is missing"
"""The kind of a difference: MLflow's server makes a value of null in an optional column, and its `predict` does not."""


AS_ALIKE = "answered as the same times in one way of writing"
"""The kind of a difference: MLflow refuses times of different precision in one request."""


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


def _optional(case: Case, kind: str) -> bool:
    """Whether one of the model's columns is of that type and may be missing."""
    return any(spec["type"] == kind and not spec.get("required", True) for spec in case.recipe.inputs)


def _holds_nothing(value: JSON) -> bool:
    """Whether a value somewhere in it is missing."""
    if isinstance(value, (list, dict)):
        return any(map(_holds_nothing, value.values() if isinstance(value, dict) else value))
    return value is None or value != value or value == "NaT"


WANTED: tuple[Wanted, ...] = (
    Wanted(
        "values of another type",
        "Serinus refuses a value that is not of the type which the signature declares, and names the column. MLflow "
        "casts what pandas can cast: 1.5 for a whole number becomes 1, any text for a boolean becomes true, a number "
        "for a time becomes nanoseconds since 1970, and null for a required text reaches the model.",
        lambda case, difference, want, got: (
            _refused(difference, got)
            and (misfits(case) or (_spoiled(case, LEFT_OUT) and "null was sent, which it does not allow" in got.text))
        ),
    ),
    Wanted(
        "rows in another form",
        "Serinus accepts the rows of a signature with names also without names, in the order of the signature, and in "
        "`instances` and `inputs` in every shape that holds rows. MLflow accepts some of these forms for some "
        "signatures only. The answer is the one that MLflow gives to the same rows in `dataframe_split`, or to records "
        "in `dataframe_records` for a signature of tensors.",
        lambda case, difference, want, got: difference.kind == AS_BY_NAME,
    ),
    Wanted(
        "times of different precision",
        "Serinus reads ISO 8601 times of any precision in one request, each with or without a time of day and with `T` "
        "or a space. MLflow refuses them in a data frame unless all are written like the first. The answer is the one "
        "that MLflow gives to the same times when all are written in the same way.",
        lambda case, difference, want, got: difference.kind == AS_ALIKE,
    ),
    Wanted(
        "null in an optional column of bytes",
        "Serinus gives the model a missing value where a column of bytes is optional and null or nothing is sent. "
        "MLflow decodes null as base64 and fails, or turns it into the text `None` in `inputs` and `instances`. The "
        "answer is that of MLflow's own `predict` to a data frame with None.",
        lambda case, difference, want, got: difference.kind == AS_MISSING and _optional(case, "binary"),
    ),
    Wanted(
        "null in an optional column of booleans",
        "Serinus gives the model a missing value where a column of booleans is optional and null is sent, or nothing "
        "in a record. MLflow's server turns it into false, or into true in `dataframe_records`. The answer is that of "
        "MLflow's own `predict` to a data frame with None.",
        lambda case, difference, want, got: difference.kind == AS_MISSING and _optional(case, "boolean"),
    ),
    Wanted(
        "CSV as it is written",
        "Serinus reads a number in CSV as the nearest float64, and a text as it is written. MLflow reads CSV with "
        "pandas, whose parser is wrong in the last digit for some numbers and reads texts such as `NA`, `null` and "
        "`None` as missing values. It reads no times in CSV. The answer is the one that MLflow gives to the same "
        "values in `dataframe_split`.",
        lambda case, difference, want, got: difference.kind == AS_IN_JSON,
    ),
    Wanted(
        "bytes in CSV",
        "CSV cannot hold bytes, and Serinus refuses a column of them. MLflow gives the model the text in the file, "
        "which is of another type than the signature declares.",
        lambda case, difference, want, got: (
            _refused(difference, got) and case.ask.form == CSV and "CSV cannot hold bytes" in got.text
        ),
    ),
    Wanted(
        "records without a signature",
        "Without a signature MLflow turns each value of the records in `inputs` into an array without dimensions. Such "
        "an array computes like a scalar, but no record model of scikit-learn can look it up. Serinus gives the model "
        "the scalar. The answer is that of MLflow's own `predict` to these records.",
        lambda case, difference, want, got: difference.kind == AS_RECORDS,
    ),
    Wanted(
        "a matrix for an estimator that was trained with names",
        "Without a signature an estimator that was trained with names may refuse an array. Serinus gives it a matrix "
        "of the Open Inference Protocol under these names. The answer is the one that MLflow gives to the same rows "
        "in `dataframe_split`.",
        lambda case, difference, want, got: difference.kind == AS_TRAINED,
    ),
    Wanted(
        "no rows",
        "A request without rows, or with null in their place, is refused, because it asks for nothing. MLflow calls "
        "the model, and answers an empty list if the model does not raise an error.",
        lambda case, difference, want, got: (
            _refused(difference, got)
            and ((_spoiled(case, "no rows") and "no rows were sent" in got.text) or _spoiled(case, "null for the rows"))
        ),
    ),
    Wanted(
        "none of the model's columns",
        "A request that names none of the model's columns is refused, also where all of them are optional. MLflow "
        "gives the model a data frame without columns, which has no rows.",
        lambda case, difference, want, got: (
            _refused(difference, got)
            and "none of the model's columns" in got.text
            and not (case.ask.form not in BY_PLACE and set(case.ask.columns) & set(case.recipe.names))
        ),
    ),
    Wanted(
        "more values in a row than the model has columns",
        "Values without names belong to the columns in the order of the signature. Serinus refuses rows of another "
        "length than the signature has columns. MLflow drops the values at the end, or all of them where all columns "
        "are optional.",
        lambda case, difference, want, got: (
            _refused(difference, got)
            and case.ask.form in BY_PLACE
            and (len(case.ask.columns) != len(case.recipe.inputs) or _spoiled(case, "a row too long or short"))
            and "columns, " in got.text
        ),
    ),
    Wanted(
        "rows of different lengths",
        "Serinus refuses a data frame whose rows differ in length, because it is not known which column lacks a value. "
        "pandas, and therefore MLflow, adds missing values at the ends of the shorter rows.",
        lambda case, difference, want, got: (
            _refused(difference, got)
            and case.ask.form in ("dataframe_split", "dataframe_split without names")
            and _spoiled(case, "a row too long or short")
            and "the rows are not all as long as there are columns" in got.text
        ),
    ),
    Wanted(
        "missing values in binary tensors",
        "In the binary tensors of the Open Inference Protocol and in gRPC, only floats have a form for a missing "
        "value. Serinus refuses to answer with a missing value of another type, because zero or an empty text would be "
        "a value that the model did not answer. In JSON it is null.",
        lambda case, difference, want, got: (
            _refused(difference, got)
            and case.ask.form in OIP
            and case.ask.form not in ("json", "json matrix")
            and "has a missing value" in got.text
            and want is not None
            and _holds_nothing(want.value)
        ),
    ),
    Wanted(
        "an empty text in CSV to a compiled model",
        "To a model, an empty field of an optional text is NaN, for which a graph has no number. A compiled release "
        "refuses it. Send null in JSON instead.",
        lambda case, difference, want, got: (
            _refused(difference, got) and case.ask.form == CSV and "an empty field of CSV" in got.text
        ),
    ),
    Wanted(
        "params that are no object",
        "Serinus refuses `params` that are not an object, also where the model declares none. MLflow ignores them in "
        "that case.",
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
        "The Open Inference Protocol refuses an input that the model does not have. `/invocations` ignores it, as "
        "MLflow does.",
        lambda case, difference, want, got: (
            _refused(difference, got) and case.ask.form in OIP and not set(case.ask.columns) <= set(case.recipe.names)
        ),
    ),
    Wanted(
        "one answer in every form",
        "MLflow makes another input from the same rows in `instances` and `inputs` than in `dataframe_split`: bytes "
        "are not decoded from base64, and missing optional columns and columns without names are treated differently. "
        "For a signature of scalars or tensors, Serinus gives the rows the same answer in every form: that to "
        "`dataframe_split`, or to `inputs` for tensors.",
        lambda case, difference, want, got: difference.kind == AS_IN_FRAMES,
    ),
    Wanted(
        "params that are not declared",
        "The Open Inference Protocol refuses a parameter that the signature does not declare, because its default "
        "might give another answer. `/invocations` ignores it, as MLflow does.",
        lambda case, difference, want, got: (
            _refused(difference, got)
            and case.ask.form in OIP
            and not set(case.ask.params or ()) <= {param["name"] for param in case.recipe.params}
        ),
    ),
    Wanted(
        "one answer for each row",
        "A model that does not give one answer for each row is refused before it gets traffic. MLflow passes on "
        "whatever the model answers.",
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
