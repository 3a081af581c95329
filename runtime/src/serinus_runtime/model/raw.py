"""Inputs of models that were logged without a signature. A request is passed on unchanged.

With MLflow's protocol it becomes what MLflow's scoring server makes of it: a DataFrame for `dataframe_split`,
`dataframe_records` and CSV, otherwise an array, a dict of arrays or a list of records. With the Open Inference Protocol
one tensor is an array, and several are the columns of a DataFrame. Where the model takes texts or records, anything
else is refused, because it would take the names of columns for texts.
"""

from __future__ import annotations

import io
import sys
from typing import Any, Mapping, Sequence

from serinus_runtime.artifact.kinds import showable
from serinus_runtime.artifact.signature import TensorSpec
from serinus_runtime.base.errors import RequestError
from serinus_runtime.base.libraries import library
from serinus_runtime.model.expected_input import RECORDS, TEXTS, ExpectedInput
from serinus_runtime.values.inputs import ArrayBound
from serinus_runtime.values.payload import Payload, Sent, Table, Tensor, Tensors, transpose
from serinus_runtime.values.tensors import array_of, flat

_DTYPES = {"BOOL": "bool", "FP16": "float16", "FP32": "float32", "FP64": "float64", "BYTES": "str"}
_WITH_NULL = {"BOOL": bool, "BYTES": str}
_UNEQUAL = "the inputs do not all have the same number of rows"
_TEXTS = (
    'the model takes texts: send {"inputs": ["...", ...]} to /invocations, or one BYTES tensor of shape [n] by the '
    "Open Inference Protocol"
)
_RECORDS = (
    'the model takes records: send {"inputs": [{...}, ...]} to /invocations, or one tensor for each field by the Open '
    "Inference Protocol"
)
_ARRAY = 'the model takes one value or object for each row: send {"inputs": [..., ...]} to /invocations'


class RawInputs:
    """`expected` is what the first step of the model declares."""

    def __init__(self, expected: ExpectedInput | None = None) -> None:
        self._expected = expected or ExpectedInput()

    def bind(self, payload: Payload, *, exact: bool = False) -> ArrayBound:  # noqa: ARG002
        """Returns the input. Raises RequestError where nothing that the model takes can be made of the request."""
        if isinstance(payload, Tensors):
            bound = self._of_tensors(payload.tensors)
        elif isinstance(payload, Table):
            bound = _of_frame({"columns": payload.columns, "data": payload.rows})
        else:
            bound = _of_sent(payload)
        if not bound.rows:
            raise RequestError("no rows were sent")
        self._check(bound.data())
        return bound

    def _check(self, data: Any) -> None:
        items = self._expected.items
        if items == TEXTS and not _all_of(data, str):
            raise RequestError(_TEXTS)
        if items == RECORDS and not _all_of(data, dict):
            raise RequestError(_RECORDS)
        if items is not None and (hasattr(data, "iloc") or isinstance(data, dict) or not getattr(data, "ndim", 1)):
            raise RequestError(_ARRAY)

    def _of_tensors(self, tensors: Sequence[Tensor]) -> ArrayBound:
        sent = [[tensor.name, tensor.datatype, tensor.shape, tensor.data] for tensor in tensors]
        if len(tensors) == 1 and self._is_all(tensors[0]):
            return self._of_one(_array_of(tensors[0]), sent)
        return self._of_columns(tensors, sent)

    def _is_all(self, tensor: Tensor) -> bool:
        """Whether the only tensor is the whole input, and not one column of it."""
        items, names = self._expected
        return items == TEXTS or (items != RECORDS and tensor.name not in (names or ()))

    def _of_one(self, array: Any, sent: Any) -> ArrayBound:
        items, names = self._expected
        if items == TEXTS:
            return _of_array(_as_column(array), sent)
        if names is None or array.ndim != 2 or array.shape[1] != len(names):
            return _of_array(array, sent)
        # The columns are known by name, and a matrix in their order needs no names.
        return ArrayBound(library("pandas").DataFrame(array, columns=list(names)), names, array.tolist(), sent)

    def _of_columns(self, tensors: Sequence[Tensor], sent: Any) -> ArrayBound:
        """Returns the input with each tensor as a column, of records or of a DataFrame."""
        arrays = [_as_column(array) for array in [_array_of(tensor) for tensor in tensors]]
        columns = {str(tensor.name): array.tolist() for tensor, array in zip(tensors, arrays)}
        if len(columns) < len(tensors):
            raise RequestError("an input was sent twice")
        if len(set(map(len, columns.values()))) > 1:
            raise RequestError(_UNEQUAL)
        rows = transpose(list(columns.values()))
        if self._expected.items == RECORDS:
            return ArrayBound([dict(zip(columns, row)) for row in rows], tuple(columns), rows, sent)
        series = {
            name: column if tensor.datatype == "BYTES" else array
            for (name, column), tensor, array in zip(columns.items(), tensors, arrays)
        }
        return ArrayBound(library("pandas").DataFrame(series), tuple(columns), rows, sent)


def _all_of(data: Any, kind: type) -> bool:
    """Whether `data` is a sequence with one value of `kind` for each row."""
    if hasattr(data, "ndim"):
        return kind is str and data.ndim == 1 and all(isinstance(value, str) for value in data.tolist())
    return isinstance(data, list) and all(isinstance(value, kind) for value in data)


def _array_of(tensor: Tensor) -> Any:
    datatype = str(tensor.datatype)
    shape = tuple(-1 for _ in tensor.shape or ())
    dtype = _DTYPES.get(datatype, datatype.lower())
    kind = _WITH_NULL.get(datatype)
    if kind is not None and None in (values := flat(tensor)):
        # As MLflow does with texts and booleans in JSON: an array of objects.
        if not set(map(type, values)) <= {kind, type(None)}:
            raise RequestError(f"input {showable(tensor.name)} takes {dtype}: something else was sent")
        dtype = "object"
    return array_of(tensor, TensorSpec(tensor.name, dtype, shape))


def _as_column(array: Any) -> Any:
    if array.ndim == 1:
        return array
    if array.ndim == 2 and array.shape[1] == 1:
        return array.reshape(-1)
    raise RequestError("where several inputs are sent, each is one column: shape [n] or [n, 1]")


def _of_sent(payload: Sent) -> ArrayBound:
    form, content = payload
    if form == "csv":
        return _of_csv(content)
    if form == "dataframe_split":
        return _of_frame(content)
    if form == "dataframe_records":
        if not isinstance(content, list) or not all(isinstance(record, dict) for record in content):
            raise RequestError("`dataframe_records` must be a list of objects")
        return _of_frame({"data": content})
    return _of_object(payload) if isinstance(content, dict) else _of_list(payload)


def _of_object(payload: Sent) -> ArrayBound:
    """Returns the input of `instances` or `inputs` with an object of columns."""
    arrays = {name: _numpy(value, f"column '{name}'") for name, value in payload.content.items()}
    if payload.form == "instances" and not all(array.ndim for array in arrays.values()):
        raise RequestError("an object in `instances` must hold a list for each column")
    return _of_dict(arrays, payload)


def _of_list(payload: Sent) -> ArrayBound:
    """Returns the input of `instances` or `inputs` with objects, or values of any depth."""
    form, content = payload
    if isinstance(content, list) and content:
        if all(isinstance(record, dict) for record in content):
            return _of_columns(content, payload) if form == "instances" else _of_records(content, payload)
        if form == "instances" and isinstance(content[0], dict):
            raise RequestError("`instances` must be an array of values or of objects, not of both")
    return _of_array(_numpy(content, f"`{form}`"), payload)


def _of_frame(content: Any) -> ArrayBound:
    if not isinstance(content, dict) or "data" not in content or not content.keys() <= {"columns", "data", "index"}:
        raise RequestError("`dataframe_split` must be an object with `data`, and `columns` and `index` where wanted")
    data = content["data"]
    if not isinstance(data, list):
        raise RequestError("the data of a DataFrame must be a list of rows")
    if any(isinstance(row, list) and len(row) != len(data[0]) for row in data if isinstance(data[0], list)):
        raise RequestError("the rows are not all as long as there are columns")
    try:
        frame = library("pandas").DataFrame(data, index=content.get("index"), columns=content.get("columns"))
    except OverflowError as error:
        raise RequestError(f"{_overflowing(content)}: a number was sent that no float64 can hold") from error
    except (ValueError, TypeError, AssertionError, KeyError, IndexError) as error:
        raise RequestError("no DataFrame can be made of what was sent") from error
    return _of_pandas(frame, content)


def _of_pandas(frame: Any, content: Any) -> ArrayBound:
    rows = frame.astype(object).where(frame.notna(), None).to_numpy().tolist()
    return ArrayBound(frame, tuple(map(str, frame.columns)), rows, ["frame", content])


def _of_csv(text: str) -> ArrayBound:
    pandas = library("pandas")
    try:
        frame = pandas.read_csv(io.StringIO(text))
    except (ValueError, OverflowError, IndexError) as error:  # pandas' own errors are ValueErrors.
        raise RequestError("the body is not CSV with a header and rows of its length") from error
    return _of_pandas(frame, text)


def _overflowing(content: Mapping[str, Any]) -> str:
    """Returns the first column with an integer that is too large for a float."""
    numbers = (place for row in content["data"] for place, value in _cells(row) if _overflows(value))
    place = next(numbers, 0)
    columns = content.get("columns")
    if isinstance(columns, (list, tuple)) and type(place) is int and place < len(columns):
        return f"column '{columns[place]}'"
    return f"column {place}" if type(place) is int else f"column '{place}'"


def _cells(row: Any) -> Any:
    return row.items() if isinstance(row, dict) else enumerate(row if isinstance(row, list) else [row])


def _overflows(value: Any) -> bool:
    return type(value) is int and abs(value) > sys.float_info.max


def _numpy(value: Any, what: str) -> Any:
    """Returns an array as MLflow makes it."""
    numpy = library("numpy")
    try:
        array = numpy.array(value)
    except OverflowError as error:
        raise RequestError(f"{_overflowing({'data': value})}: a number was sent that no float64 can hold") from error
    except ValueError as error:
        raise RequestError(f"{what} is nested unevenly") from error
    if array.dtype == object and any(map(_overflows, array.reshape(-1).tolist())):
        where = _overflowing({"data": value}) if isinstance(value, list) else what
        raise RequestError(f"{where}: a number was sent that no float64 can hold")
    return array


def _of_array(array: Any, sent: Any) -> ArrayBound:
    if not array.ndim:
        return ArrayBound(array, None, [[array.tolist()]], sent)
    if not len(array):
        raise RequestError("no rows were sent")
    rows = array.reshape(len(array), -1).tolist() if array.size else [[] for _ in array]
    return ArrayBound(array, None, rows, sent)


def _of_dict(arrays: Mapping[str, Any], sent: Any) -> ArrayBound:
    if not arrays:
        raise RequestError("`inputs` is empty")
    lengths = {len(array) if array.ndim else 1 for array in arrays.values()}
    if len(lengths) > 1:
        raise RequestError(_UNEQUAL)
    rows = transpose([array.tolist() if array.ndim else [array.tolist()] for array in arrays.values()])
    return ArrayBound(dict(arrays), tuple(arrays), rows, sent)


def _of_columns(records: Sequence[Mapping[str, Any]], sent: Any) -> ArrayBound:
    """Returns columns of the records of `instances`, as MLflow does."""
    columns: dict[str, list[Any]] = {}
    for record in records:
        for name, value in record.items():
            columns.setdefault(name, []).append(_numpy(value, f"column '{name}'"))
    return _of_dict({name: _numpy(values, f"column '{name}'") for name, values in columns.items()}, sent)


def _of_records(records: Sequence[Mapping[str, Any]], sent: Any) -> ArrayBound:
    """Returns the records of `inputs`. MLflow makes each value an array without dimensions. Here it is the scalar of
    that array, which behaves alike and can be looked up in a dictionary."""
    names = tuple({name: None for record in records for name in record})
    data = [{name: _scalar(value, name) for name, value in record.items()} for record in records]
    return ArrayBound(data, names, [[record.get(name) for name in names] for record in records], sent)


def _scalar(value: Any, name: str) -> Any:
    if isinstance(value, bool) or value is None:
        return value
    array = _numpy(value, f"field '{name}'")
    return array if array.ndim else array[()]
