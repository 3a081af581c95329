"""The inputs and outputs that an MLmodel file declares, read without MLflow. Types are MLflow's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping, NamedTuple, Sequence

from serinus_runtime.artifact.kinds import SCALARS as SCALARS
from serinus_runtime.artifact.kinds import Kind, kind_of
from serinus_runtime.base.errors import StartFailure

DATATYPES = {
    "boolean": "BOOL", "integer": "INT32", "long": "INT64", "float": "FP32", "double": "FP64",
    "string": "BYTES", "binary": "BYTES", "datetime": "BYTES", "any": "BYTES", "array": "BYTES", "object": "BYTES",
    "map": "BYTES",
}  # fmt: skip
"""The Open Inference Protocol's datatypes. It has none for `array`, `object` and `map`, but its metadata must name
one."""
_OF_DTYPE = {"bool": "BOOL", "float16": "FP16", "float32": "FP32", "float64": "FP64"}


@dataclass(frozen=True)
class Column:
    """A column. `name` is that of the signature. Columns of a DataFrame that was made of an array have numbers as
    names, and those of a signature without names have None. `kind` describes arrays, objects and maps, and is None for
    other types."""

    name: str | float | None
    type: str
    required: bool = True
    kind: Kind | None = None

    @property
    def label(self) -> str:
        """The name as text, as callers write it."""
        return str(self.name)

    @property
    def datatype(self) -> str:
        """The datatype of the Open Inference Protocol."""
        return DATATYPES[self.type]

    shape = (-1,)


@dataclass(frozen=True)
class TensorSpec:
    """A tensor."""

    name: str | float | None
    dtype: str
    shape: tuple[int, ...]

    @property
    def label(self) -> str:
        """The name as text, as callers write it."""
        return str(self.name)

    @property
    def datatype(self) -> str:
        """The datatype of the Open Inference Protocol."""
        return datatype_of(self.dtype)


Spec = Sequence["Column | TensorSpec"]


class Param(NamedTuple):
    """A parameter of a prediction. `type` is MLflow's. `shape` is None for a scalar."""

    name: str
    type: str
    shape: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Signature:
    """The signature of a model. It has `columns` or `tensors`, or neither where the model was logged without one.

    `outputs` is empty where they are unknown. `hinted`: the signature stands for the type hint of the model's
    `predict`, which gets the request unchanged. `by_example`: MLflow converts each DataFrame to the type of the input
    example.
    """

    columns: tuple[Column, ...] = ()
    tensors: tuple[TensorSpec, ...] = ()
    outputs: tuple[Column | TensorSpec, ...] = ()
    params: tuple[Param, ...] = ()
    hinted: bool = False
    by_example: bool = False

    @property
    def has_params(self) -> bool:
        """Whether predictions have parameters."""
        return bool(self.params)

    @property
    def output_names(self) -> list[str | None]:
        """The names of the outputs in answers. None: an output without a name."""
        return [None if spec.name is None else spec.label for spec in self.outputs]

    @property
    def nested(self) -> tuple[Column, ...]:
        """The columns whose values need not be scalars of one type."""
        return tuple(column for column in self.columns if column.type not in SCALARS)

    @property
    def as_sent(self) -> bool:
        """Whether MLflow's own code makes the model's input of the request, and not the types of columns or tensors."""
        return not self.inputs or bool(self.nested) or self.hinted

    @property
    def enforced_by_mlflow(self) -> bool:
        """Whether MLflow's own predict does more than to check flat columns or tensors, so that it must not be
        replaced."""
        return self.has_params or bool(self.nested) or self.hinted or self.by_example

    @property
    def inputs(self) -> Sequence[Column | TensorSpec]:
        """The columns or tensors."""
        return self.columns or self.tensors


def datatype_of(dtype: str) -> str:
    """Returns the Open Inference Protocol's name of a NumPy dtype. BYTES stands for everything that is not a number."""
    if dtype in _OF_DTYPE:
        return _OF_DTYPE[dtype]
    return dtype.upper() if dtype.startswith(("int", "uint")) else "BYTES"


def read_mlmodel(artifact: Path) -> Mapping[str, Any]:
    """Returns the MLmodel file. A file in JSON, which is YAML, needs no PyYAML. Raises StartFailure."""
    path = artifact / "MLmodel"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise StartFailure(f"there is no readable MLmodel file in the artifact ({error.strerror})") from error
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = _yaml(text)
    if not isinstance(content, dict) or "flavors" not in content:
        raise StartFailure("the MLmodel file does not list flavors")
    return content


def _yaml(text: str) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise StartFailure(
            "the model's environment has neither mlflow nor PyYAML, so its MLmodel file cannot be read; "
            "add mlflow to the model's requirements and log it again"
        ) from error
    try:
        return yaml.safe_load(text)
    except RecursionError as error:
        raise StartFailure("the MLmodel file is nested too deeply", environment=False) from error
    except yaml.YAMLError as error:
        raise StartFailure("the MLmodel file is not YAML") from error


def signature_of(mlmodel: Mapping[str, Any]) -> Signature:
    """Returns the signature. Raises StartFailure where it cannot be interpreted."""
    raw = mlmodel.get("signature") or {}
    try:
        inputs, outputs = _specs(raw.get("inputs")), _specs(raw.get("outputs"))
        params = tuple(_param(entry) for entry in json.loads(raw.get("params") or "[]"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StartFailure(
            f"the MLmodel's signature cannot be read ({type(error).__name__})", environment=False
        ) from error
    columns = tuple(spec for spec in inputs if isinstance(spec, Column))
    tensors = tuple(spec for spec in inputs if isinstance(spec, TensorSpec))
    if columns and tensors:
        raise StartFailure("the MLmodel's signature mixes columns and tensors", environment=False)
    _check_names(inputs)
    hinted, by_example = (bool(mlmodel.get(key)) for key in ("is_signature_from_type_hint", "type_hint_from_example"))
    return Signature(columns, tensors, outputs, params, hinted, by_example)


def _check_names(inputs: Spec) -> None:
    labels = [spec.label for spec in inputs if spec.name is not None]
    if labels and len(labels) < len(inputs):
        raise StartFailure(
            "the MLmodel's signature names some inputs and others not; name all of them and log it again"
        )
    twice = next((label for i, label in enumerate(labels) if label in labels[:i]), None)
    if twice is not None:
        raise StartFailure(
            f"the MLmodel's signature names input '{twice}' twice; rename one and log the model again",
            environment=False,
        )


def _param(entry: Mapping[str, Any]) -> Param:
    shape = entry.get("shape")
    return Param(str(entry["name"]), str(entry.get("type", "any")), None if shape is None else tuple(map(int, shape)))


def _specs(text: str | None) -> tuple[Column | TensorSpec, ...]:
    entries = json.loads(text) if text else []
    return tuple(_spec(entry) for entry in entries)


def _spec(entry: Mapping[str, Any]) -> Column | TensorSpec:
    if entry["type"] == "tensor":
        spec = entry["tensor-spec"]
        return TensorSpec(entry.get("name"), str(spec["dtype"]), tuple(int(size) for size in spec["shape"]))
    required = bool(entry.get("required", not entry.get("optional", False)))
    kind = kind_of(entry)
    return Column(entry.get("name"), kind.type, required, kind if kind.type in ("array", "object", "map") else None)
