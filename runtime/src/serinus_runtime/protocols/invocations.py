"""MLflow's scoring protocol: `POST /invocations`."""

from __future__ import annotations

import csv
import io
from typing import Any, Mapping, Sequence

from serinus_runtime.artifact.signature import Column, Signature
from serinus_runtime.base.errors import RequestError
from serinus_runtime.base.messages import Request, Response, error_response
from serinus_runtime.protocols.oip import Asked
from serinus_runtime.values.convert import from_text
from serinus_runtime.values.outputs import Output, encode
from serinus_runtime.values.parameters import check_params
from serinus_runtime.values.payload import Payload, Sent, Table, Tensor, Tensors, check_depth, read_object, transpose
from serinus_runtime.values.predictions import write_predictions

_TEXT = frozenset({str})
_FORMATS = ("dataframe_split", "dataframe_records", "instances", "inputs")


class Invocations:
    """The protocol for one model."""

    exact = False
    """MLflow ignores columns that the model does not have."""

    def __init__(self, signature: Signature) -> None:
        self._columns = {column.label: column for column in signature.columns}
        self._in_order = _of_csv(signature)
        self._labels = {column.name: column.label for column in signature.columns}
        self._params = signature.params
        self._as_sent = signature.as_sent
        self._exact = self._as_sent or any(spec.dtype == "object" for spec in signature.tensors)

    def parse(self, request: Request) -> Asked:
        """Parses a request. Raises RequestError, with 415 where it is neither JSON nor CSV, and with 400 where it is
        not one of MLflow's formats."""
        kind, _, options = request.header(b"content-type").lower().partition(";")
        charset = options.replace(" ", "").replace('"', "").partition("charset=")[2]
        if charset not in ("", "utf-8", "utf8"):
            raise RequestError("the only supported character set is UTF-8", 415, "unsupported-type")
        if kind.strip() == "text/csv":
            return Asked(Sent("csv", _utf8(request.body)) if self._as_sent else self._csv(request.body))
        if kind.strip() != "application/json":
            raise RequestError("Content-Type must be application/json or text/csv", 415, "unsupported-type")
        return self.parse_object(read_object(request.body, exact=self._exact))

    def parse_object(self, content: Mapping[str, Any]) -> Asked:
        given = [name for name in _FORMATS if name in content]
        if len(given) != 1:
            raise RequestError(f"the body must hold exactly one of {', '.join(_FORMATS)}")
        # As in MLflow, params are ignored where the model declares none.
        params = content.get("params") if self._params else None
        if params is not None:
            if not isinstance(params, dict):
                raise RequestError("`params` must be an object")
            check_params(params, self._params)
        return Asked(self._payload(given[0], content[given[0]]), params)

    def _payload(self, form: str, content: Any) -> Payload:
        if self._as_sent:
            check_depth(content)
            return Sent(form, content)
        if form == "dataframe_split":
            return self._split(content)
        return _records(content) if form == "dataframe_records" else _array(content)

    def reply(self, result: Any, outputs: Sequence[Output], asked: Asked, head: bytes) -> Response:  # noqa: ARG002
        return Response(200, b'{"predictions":%b}' % write_predictions(result), head)

    def around(self, output: Output, asked: Asked) -> tuple[bytes, bytes] | None:  # noqa: ARG002
        """Returns the response before and after the values of one row. None: it cannot be divided like that."""
        return (b'{"predictions":', b"}") if len(output.shape) == 1 else (b'{"predictions":[', b"]}")

    def fallback(self, output: Output, reason: str, asked: Asked, head: bytes) -> Response:  # noqa: ARG002
        content = {"predictions": output.data, "fallback": True, "fallback_reason": reason}
        return Response(200, encode(content), head)

    def error(self, status: int, message: str, head: bytes) -> Response:
        return error_response(status, message, head)

    def _split(self, content: Any) -> Table:
        data = content.get("data") if isinstance(content, dict) else None
        if not isinstance(data, list) or not all(isinstance(row, list) for row in data):
            raise RequestError("`dataframe_split` must be an object with `columns` and `data`, a list of rows")
        names = content.get("columns")
        if names is None:
            return Table(None, data)
        if not isinstance(names, list):
            raise RequestError("`columns` must be a list of names")
        return Table(tuple(names) if _TEXT.issuperset(map(type, names)) else self._named(names), data)

    def _named(self, names: list[Any]) -> tuple[str, ...] | None:
        """Returns names that are not all strings. They are found by value: 1 and 1.0 are one name in pandas. None: they
        are the default names of rows without names."""
        if any(isinstance(name, (list, dict)) for name in names):
            raise RequestError("`columns` must be a list of names")
        if None in self._labels and names == list(range(len(names))):
            return None
        return tuple([self._labels.get(name) or str(name) for name in names])

    def _csv(self, body: bytes) -> Table:
        try:
            lines = list(csv.reader(io.StringIO(_utf8(body), newline=""), strict=True))
        except csv.Error as error:
            raise RequestError("the body is not CSV") from error
        lines = [line for line in lines if line]
        if len(lines) < 2:
            raise RequestError("the CSV must have a header and at least one row")
        names, rows = lines[0], lines[1:]
        if any(len(row) != len(names) for row in rows):
            raise RequestError("the rows of the CSV are not all as long as its header")
        columns = []
        in_order = self._in_order * (len(names) if len(self._in_order) == 1 else 1)
        for place, (name, values) in enumerate(zip(names, transpose(rows))):
            column = in_order[place] if place < len(in_order) else self._columns.get(name)
            columns.append(from_text(values, column) if column is not None else _guessed(values))
        return Table(tuple(names), transpose(columns))


def _of_csv(signature: Signature) -> tuple[Column, ...]:
    """Returns the types of columns by position, where they have no names. A single type is that of all columns."""
    if signature.tensors:
        spec = signature.tensors[0]
        return () if spec.name is not None or spec.datatype != "BYTES" else (Column(None, "string", required=False),)
    return signature.columns if signature.columns and signature.columns[0].name is None else ()


def _guessed(values: list[Any]) -> list[Any]:
    """Returns values without a signature: numbers where all are numbers."""
    try:
        return from_text(values, Column(None, "double"))
    except RequestError:
        return [value or None for value in values]


def _utf8(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RequestError("the body is not UTF-8") from error


def _records(content: Any) -> Table:
    if not isinstance(content, list) or not all(isinstance(record, dict) for record in content):
        raise RequestError("`dataframe_records` must be a list of objects")
    names = tuple({name: None for record in content for name in record})
    return Table(names, [[record.get(name) for name in names] for record in content])


def _array(content: Any) -> Payload:
    """Parses `instances` and `inputs`: rows as arrays or objects, or an object of columns."""
    if isinstance(content, dict):
        if not content:
            raise RequestError("`inputs` is empty")
        columns = {name: value if isinstance(value, list) else [value] for name, value in content.items()}
        return Tensors(tuple(Tensor(name, value) for name, value in columns.items()))
    if not isinstance(content, list):
        raise RequestError("`instances` and `inputs` must be an array, or an object of columns")
    if content and all(isinstance(row, dict) for row in content):
        return _records(content)
    return Tensors((Tensor(None, content),))
