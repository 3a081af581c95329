"""Conversion of requests to a model's input, by one class for each kind of signature."""

from __future__ import annotations

from math import prod
from typing import Any, Optional, Protocol, Sequence, Tuple

from serinus_runtime.artifact.signature import Signature, TensorSpec
from serinus_runtime.base.errors import RequestError
from serinus_runtime.values.frames import Arranger, Frames
from serinus_runtime.values.payload import Payload, Sent, Table, Tensor, Tensors, transpose
from serinus_runtime.values.tensors import array_of, flat

_NUMBERS = frozenset({"INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "FP16", "FP32", "FP64"})
_MOST_HEADERS = 64
_Header = Tuple[Tuple[Optional[str], Optional[str]], ...]


class Bound(Protocol):
    """The rows of a request, fitted to the model. `columns` and `rows` are for the prediction log."""

    columns: Sequence[str] | None
    rows: list[list[Any]]

    def data(self) -> Any:
        """Returns the argument of the model's predict. Raises RequestError where a value does not fit."""
        ...

    def row(self, index: int) -> Bound:
        """Returns one row."""

    def misfit(self, error: BaseException) -> RequestError | None:
        """Returns the caller's mistake that has made the model raise `error`. None: the input fits, and the model has
        failed."""
        ...


class Inputs(Protocol):
    """The inputs of a model."""

    def bind(self, payload: Payload, *, exact: bool = False) -> Bound:
        """Returns the rows of a request. Raises RequestError. `exact`: unknown inputs are refused instead of
        ignored."""
        ...


class TableBound:
    """Rows for `frames`. The DataFrame or matrix is built when the way to predict is chosen."""

    def __init__(self, frames: Frames, columns: Sequence[str] | None, rows: list[list[Any]]) -> None:
        self.frames = frames
        self.columns = columns
        self.rows = rows

    def data(self) -> Any:
        return self.frames.frame(self.rows)

    def row(self, index: int) -> TableBound:
        return TableBound(self.frames, self.columns, self.rows[index : index + 1])

    def misfit(self, error: BaseException) -> RequestError | None:  # noqa: ARG002
        return None


class ArrayBound:
    """A complete input: an array, a list, a dict of arrays or a DataFrame. `sent` are the plain values from which it
    was made, where its types depend on all of them. None: it has declared types."""

    def __init__(self, data: Any, columns: Sequence[str] | None, rows: list[list[Any]], sent: Any = None) -> None:
        self._data = data
        self.columns = columns
        self.rows = rows
        self.sent = sent

    def data(self) -> Any:
        return self._data

    def row(self, index: int) -> ArrayBound:
        part = slice(index, index + 1)
        if isinstance(self._data, dict):
            data: Any = {name: array[part] for name, array in self._data.items()}
        elif hasattr(self._data, "iloc"):
            data = self._data.iloc[part].reset_index(drop=True)
        else:
            data = self._data[part]
        return ArrayBound(data, self.columns, self.rows[part], None if self.sent is None else [index, self.sent])

    def misfit(self, error: BaseException) -> RequestError | None:  # noqa: ARG002
        return None


class ColumnInputs:
    """Inputs for signatures of columns. The model takes a DataFrame."""

    def __init__(self, signature: Signature) -> None:
        self._arranger = Arranger(signature.columns)
        self.frames = self._arranger.frames
        self._takes = {column.label: _datatypes(column.type) for column in signature.columns}
        named = signature.columns[0].name is not None
        self._headers: dict[_Header, tuple[str, ...]] = {}
        """The names and datatypes of inputs that were found valid -> the names."""
        self.names = tuple([column.label for column in signature.columns]) if named else None

    def bind(self, payload: Payload, *, exact: bool = False) -> TableBound:
        table = self.table(payload.tensors) if isinstance(payload, Tensors) else payload
        if not isinstance(table, Table):
            raise AssertionError("what is to go on as it came is not for columns")
        if not table.rows:
            raise RequestError("no rows were sent")
        width = len(table.columns) if table.columns is not None else len(table.rows[0])
        if any(len(row) != width for row in table.rows):
            raise RequestError("the rows are not all as long as there are columns")
        arrangement = self._arranger.arrange(table.columns, width, exact=exact)
        frames = arrangement.frames
        names = self.names if frames is self.frames else tuple([column.label for column in frames.columns])
        return TableBound(frames, names, arrangement.rows(table.rows))

    def table(self, tensors: Sequence[Tensor]) -> Table:
        """Returns the rows of tensors. Raises RequestError where they do not form one table."""
        first = tensors[0]
        # A tensor without a shape comes from an object in MLflow's `inputs`, whose keys are column names.
        whole = first.name is None or (first.name not in self._takes and first.shape is not None)
        if len(tensors) == 1 and whole:
            return Table(None, _matrix_rows(first))
        header = tuple([(tensor.name, tensor.datatype) for tensor in tensors])
        names = self._headers.get(header)
        if names is None:
            names = self._check(header)
            if len(self._headers) < _MOST_HEADERS:
                self._headers[header] = names
        return Table(names, _rows(tensors))

    def _check(self, header: _Header) -> tuple[str, ...]:
        for name, datatype in header:
            takes = self._takes.get(str(name))
            if takes is not None and datatype is not None and datatype not in takes:
                raise RequestError(f"input '{name}' takes {' or '.join(sorted(takes))}, {datatype} was sent")
        return tuple(str(name) for name, _ in header)


def _datatypes(kind: str) -> frozenset[str]:
    if kind in ("double", "float", "integer", "long"):
        return _NUMBERS
    if kind == "any":
        return _NUMBERS | {"BOOL", "BYTES"}
    return frozenset({"BOOL"}) if kind == "boolean" else frozenset({"BYTES"})


def _rows(tensors: Sequence[Tensor]) -> list[list[Any]]:
    columns = [_column(tensor) for tensor in tensors]
    if len(set(map(len, columns))) > 1:
        raise RequestError("the inputs do not all have the same number of rows")
    return transpose(columns)


def _column(tensor: Tensor) -> list[Any]:
    shape, data = tensor.shape, tensor.data
    if shape is not None and len(shape) == 1 and len(data) == shape[0] and data and type(data[0]) is not list:
        return data  # type: ignore[no-any-return]
    if shape is not None and len(shape) != 1 and (len(shape) != 2 or shape[1] != 1):
        raise RequestError("an input of this model is one column: shape [n] or [n, 1]")
    if shape is None:  # From MLflow's `inputs`, where a value may be an array itself.
        return tensor.data if isinstance(tensor.data, list) else [tensor.data]
    return flat(tensor)


def _matrix_rows(tensor: Tensor) -> list[list[Any]]:
    if tensor.shape is None:
        data = tensor.data if isinstance(tensor.data, list) else [tensor.data]
        return [row if isinstance(row, list) else [row] for row in data]
    if len(tensor.shape) != 2:
        raise RequestError("send the model's columns as inputs of their names, or one tensor of shape [rows, columns]")
    width = tensor.shape[1]
    values = flat(tensor)
    return [values[i : i + width] for i in range(0, len(values), width)] if width else []


class TensorInputs:
    """Inputs for signatures of tensors. The model takes an array, or a dict of arrays where they have names."""

    def __init__(self, signature: Signature) -> None:
        self._specs = signature.tensors
        self._single = len(signature.tensors) == 1 and signature.tensors[0].name is None

    def bind(self, payload: Payload, *, exact: bool = False) -> ArrayBound:
        tensors = payload.tensors if isinstance(payload, Tensors) else self._tensors(payload)
        if self._single or (len(self._specs) == 1 and len(tensors) == 1 and tensors[0].name is None):
            return self._bind_one(tensors)
        by_name = {tensor.name: tensor for tensor in tensors}
        missing = [spec.label for spec in self._specs if spec.label not in by_name]
        if missing:
            raise RequestError(f"inputs are missing: {', '.join(missing)}")
        if exact and len(tensors) > len(self._specs):
            raise RequestError("an input was sent that the model does not have, or one twice")
        arrays = {spec.name: array_of(by_name[spec.label], spec) for spec in self._specs}
        rows = [list(parts) for parts in zip(*(array.tolist() for array in arrays.values()))]
        if any(len(array) != len(rows) for array in arrays.values()):
            raise RequestError("the inputs do not all have the same number of rows")
        return ArrayBound(arrays, tuple([spec.label for spec in self._specs]), rows)

    def _bind_one(self, tensors: Sequence[Tensor]) -> ArrayBound:
        if len(tensors) != 1:
            raise RequestError(f"the model takes one tensor, {len(tensors)} were sent")
        array = array_of(tensors[0], self._specs[0])
        rows = array.tolist() if array.ndim == 2 else array.reshape(len(array), -1).tolist()
        name = self._specs[0].name
        return ArrayBound(array if name is None else {name: array}, None, rows)

    def _tensors(self, payload: Table | Sent) -> Sequence[Tensor]:
        """Returns the tensors of a DataFrame, as in MLflow: each column is a tensor, or all together are the only
        one."""
        if not isinstance(payload, Table):
            raise AssertionError("what is to go on as it came is not for tensors")
        columns, rows = payload
        if not rows or not rows[0]:
            raise RequestError("no rows were sent")
        if any(len(row) != len(rows[0]) for row in rows):
            raise RequestError("the rows are not all as long as there are columns")
        if len(self._specs) == 1 and (columns is None or self._specs[0].label not in columns):
            spec = self._specs[0]
            data = rows if len(rows[0]) > 1 else _shaped([row[0] for row in rows], spec)
            return (Tensor(None, data),)
        if columns is None:
            raise RequestError("the model takes several inputs: send them by name")
        specs = {spec.label: spec for spec in self._specs}
        return tuple(
            [
                Tensor(name, _shaped(values, specs[name]))
                for name, values in zip(columns, transpose(rows))
                if name in specs
            ]
        )


def _shaped(values: list[Any], spec: TensorSpec) -> list[Any]:
    """Returns the cells of a column, a scalar or a flat list for each row, in the shape of the tensor."""
    sizes = spec.shape[1:]
    if not sizes or -1 in sizes:
        return values
    if all(not isinstance(value, list) for value in values):
        return [[value] for value in values] if sizes == (1,) else values
    if any(not isinstance(value, list) or any(isinstance(part, list) for part in value) for value in values):
        return values
    return [_folded(value, sizes) for value in values]


def _folded(values: list[Any], sizes: Sequence[int]) -> list[Any]:
    """Returns a flat list nested to `sizes` where it has as many values. Otherwise it returns the list."""
    if len(sizes) < 2 or len(values) != prod(sizes):
        return values
    part = prod(sizes[1:])
    return [_folded(values[at : at + part], sizes[1:]) for at in range(0, len(values), part)]
