"""The description of a model's answers as tensors: names and datatypes that do not depend on the rows.

They follow from the first answer, which is that of the warm-up, and from the outputs of the signature, which are
compared with it. Where a signature says less than the answer, such as `float` for a float64, the answer decides, so
that no digit is lost. Where it says more, such as `double` for a float32, answers have the type of the signature.
"""

from __future__ import annotations

import struct
from math import prod
from typing import Any, NamedTuple, Sequence

from serinus_runtime.artifact.kinds import SCALARS
from serinus_runtime.artifact.signature import Column, Signature, TensorSpec
from serinus_runtime.base.errors import ModelFailure, StartFailure
from serinus_runtime.values.outputs import Output, as_text, outputs_of, score_index
from serinus_runtime.values.predictions import write_predictions

_WHOLE = {
    "INT8": (-(1 << 7), (1 << 7) - 1), "INT16": (-(1 << 15), (1 << 15) - 1), "INT32": (-(1 << 31), (1 << 31) - 1),
    "INT64": (-(1 << 63), (1 << 63) - 1), "UINT8": (0, (1 << 8) - 1), "UINT16": (0, (1 << 16) - 1),
    "UINT32": (0, (1 << 32) - 1), "UINT64": (0, (1 << 64) - 1),
}  # fmt: skip
_FLOATS = {"FP16": ("<e", 1 << 11), "FP32": ("<f", 1 << 24), "FP64": ("<d", 1 << 53)}
"""The format, and the limit up to which all whole numbers are exact."""
_INSTEAD = (
    "see docs/inputs-and-answers.md, or set `serving.protocols: [invocations]` to serve the model by MLflow's scoring "
    "protocol alone"
)


class Described(NamedTuple):
    """An output in the metadata. -1 in `shape` stands for the rows."""

    name: str
    datatype: str
    shape: tuple[int, ...]


class Answers:
    """The outputs of one loaded model. Single-threaded."""

    def __init__(self, signature: Signature) -> None:
        self._declared = signature.outputs
        self._names = [spec.name for spec in signature.outputs]
        self._first: list[Described] | None = None
        self._expected: list[tuple[str, str]] = []

    @property
    def settled(self) -> bool:
        """Whether an answer is known, so that the description does not come from the signature alone."""
        return self._first is not None

    @property
    def described(self) -> Sequence[Described]:
        """The outputs that tensors can express."""
        if self._first is not None:
            return [one for one in self._first if one.datatype]
        return [
            Described(f"output-{at}" if spec.name is None else str(spec.name), spec.datatype, tuple(spec.shape))
            for at, spec in enumerate(self._declared)
        ]

    @property
    def promised(self) -> Sequence[Described]:
        """The outputs for metadata. Empty before the first answer, where the signature leaves a datatype open."""
        return self.described if self.settled or not any(map(_says_nothing, self._declared)) else []

    def read(self, result: Any) -> list[Output]:
        """Returns the outputs of an answer. One that differs from the first answer has a `problem`."""
        outputs = outputs_of(result, self._names)
        if self._first is None:
            self._settle(outputs)
        if len(outputs) != len(self._expected):
            return self._of_other_names(outputs)
        for at, (output, (name, datatype)) in enumerate(zip(outputs, self._expected)):
            if output.name != name:
                return self._of_other_names(outputs)
            if output.datatype != datatype or not output.firm:
                outputs[at] = fitted(output, datatype)
        return outputs

    def check(
        self, result: Any, outputs: Sequence[Output], protocols: Sequence[str], score_output: str | None = None
    ) -> None:
        """Checks the first answer. Raises StartFailure, which says what to do, where the signature declares other
        outputs, a protocol cannot express the answer, or there is no `score_output`."""
        lie = self._lie(outputs)
        if lie:
            raise StartFailure(f"the signature declares {lie}; log the model with a signature of what it answers")
        try:
            if "open-inference" in protocols:
                check_sendable(outputs)
            if "invocations" in protocols:
                write_predictions(result)
            score_index(outputs, score_output)
        except ModelFailure as error:
            raise StartFailure(str(error)) from error
        except KeyError as error:
            raise StartFailure(f"`score_output`: {error.args[0]}") from error

    def _settle(self, outputs: Sequence[Output]) -> None:
        names = {str(spec.name): spec for spec in self._declared if spec.name is not None}
        alone = self._declared[0] if len(self._declared) == len(outputs) == 1 else None
        self._first = []
        for output in outputs:
            datatype = _datatype(output, names.get(output.name, alone))
            self._first.append(Described(output.name, datatype, (-1, *output.shape[1:])))
        self._expected = [(one.name, one.datatype) for one in self._first]

    def _of_other_names(self, outputs: Sequence[Output]) -> list[Output]:
        expected = ", ".join(name for name, _ in self._expected)
        problem = f"the model answered other outputs than before, which were: {expected}"
        return [output._replace(problem=output.problem or problem) for output in outputs]

    def _lie(self, outputs: Sequence[Output]) -> str:
        """Returns what is wrong in the signature's outputs. Empty: nothing."""
        declared = self._declared
        if not declared or (len(declared) == 1 and _says_nothing(declared[0])):
            return ""
        width = sum(prod(output.shape[1:]) for output in outputs)
        wanted = _width(declared)
        if wanted is not None and wanted != width and not any(output.problem for output in outputs):
            return f"{_columns(wanted)}, but {_columns(width)} are answered"
        by_name = {str(spec.name): spec for spec in declared if spec.name is not None}
        answered = [output.name for output in outputs]
        # An array with as many columns has one name instead of theirs.
        array = len(outputs) == 1 < len(declared)
        wrong = next((name for name in by_name if name not in answered), None)
        if len(by_name) == len(declared) and wrong is not None and not array:
            return f"'{wrong}', but the outputs that are answered are {', '.join(answered)}"
        for output in outputs:
            spec = by_name.get(output.name, declared[0] if len(declared) == len(outputs) == 1 else None)
            if spec is not None and _is_other_kind(output, spec):
                return f"'{output.name}' as {_type(spec)}, but {_kind_of(output.datatype)} are answered"
        return ""


def check_sendable(outputs: Sequence[Output]) -> None:
    """Raises ModelFailure where tensors cannot express one of them."""
    for output in outputs:
        if output.problem:
            text = f"output '{output.name}' cannot be sent as a tensor: {output.problem}; {_INSTEAD}"
            raise ModelFailure(text, "bad-answer")


def fitted(output: Output, datatype: str) -> Output:
    """Returns the output as `datatype`, which it has in each answer. It has a `problem` where a value would change."""
    if output.problem or not datatype or (output.datatype == datatype != "FP64"):
        return output
    given = output.data
    data: Sequence[Any] | None = None
    if not _known(given):
        data = given
    elif datatype == "BYTES":
        data = None if output.firm else [as_text(value) for value in given]
    elif datatype != "BOOL" and output.datatype not in ("BOOL", "BYTES"):
        data = _numbers(given, datatype)
    if data is None:
        kind = _kind_of(output.datatype)
        return output._replace(problem=f"its datatype is {datatype}, and {kind} were answered that it cannot hold")
    return output._replace(datatype=datatype, data=list(data))


def _known(data: Sequence[Any]) -> bool:
    """Whether there is any value."""
    return any(value is not None for value in data)


def _numbers(data: Sequence[Any], datatype: str) -> Sequence[Any] | None:
    """Returns the numbers as values of `datatype`. None: one of them has no such value."""
    if datatype in _WHOLE:
        low, high = _WHOLE[datatype]
        whole = [int(value) if type(value) is float and value.is_integer() else value for value in data]
        fits = all(value is None or (type(value) is int and low <= value <= high) for value in whole)
        return whole if fits else None
    letter, exact = _FLOATS[datatype]
    return data if all(value is None or _holds(letter, exact, value) for value in data) else None


def _holds(letter: str, exact: int, value: Any) -> bool:
    if (type(value) is int and -exact <= value <= exact) or value != value:
        return True
    try:
        return bool(struct.unpack(letter, struct.pack(letter, value))[0] == value)
    except (OverflowError, struct.error):
        return False


def _datatype(output: Output, spec: Column | TensorSpec | None) -> str:
    """Returns the datatype of an output: the declared one, unless that would lose digits or the signature has none."""
    if output.problem:
        return ""
    if spec is None or _says_nothing(spec) or _is_other_kind(output, spec):
        return output.datatype
    declared, own = spec.datatype, output.datatype
    if not output.firm:
        return own if declared in ("FP16", "FP32") else declared
    return declared if declared == own or _is_wider(declared, own) else own


def _is_wider(datatype: str, than: str) -> bool:
    """Whether each number of the other datatype is one of this."""
    if datatype in _FLOATS:
        exact = _FLOATS[datatype][1]
        return (than in _FLOATS and _FLOATS[than][1] <= exact) or (than in _WHOLE and _WHOLE[than][1] < exact)
    if datatype not in _WHOLE or than not in _WHOLE:
        return False
    return _WHOLE[datatype][0] <= _WHOLE[than][0] and _WHOLE[than][1] <= _WHOLE[datatype][1]


def _says_nothing(spec: Column | TensorSpec) -> bool:
    return spec.type not in SCALARS if isinstance(spec, Column) else spec.dtype == "object"


def _is_other_kind(output: Output, spec: Column | TensorSpec) -> bool:
    if output.problem or _says_nothing(spec) or (not output.firm and not _known(output.data)):
        return False
    return _kind_of(output.datatype) != _kind_of(spec.datatype)


def _kind_of(datatype: str) -> str:
    return {"BOOL": "truth values", "BYTES": "texts"}.get(datatype, "numbers")


def _type(spec: Column | TensorSpec) -> str:
    return spec.type if isinstance(spec, Column) else spec.dtype


def _width(declared: Sequence[Column | TensorSpec]) -> int | None:
    """Returns the number of values in a row. None: the signature leaves it open."""
    widths = [prod(spec.shape[1:]) for spec in declared]
    return None if any(size < 0 for spec in declared for size in spec.shape[1:]) else sum(widths)


def _columns(count: int) -> str:
    return "one column" if count == 1 else f"{count} columns"
