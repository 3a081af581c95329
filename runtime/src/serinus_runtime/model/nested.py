"""Inputs with arrays, objects and maps, and inputs that a type hint declares.

The formats of MLflow's scoring protocol have different meanings for such inputs, and validity depends on the versions
of MLflow and pandas. Where the model's environment has MLflow, its own code therefore makes the input.
"""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from serinus_runtime.artifact.kinds import misfit
from serinus_runtime.artifact.loading import Loaded
from serinus_runtime.artifact.signature import Column, Signature
from serinus_runtime.base.errors import RequestError
from serinus_runtime.base.libraries import library, loaded
from serinus_runtime.values.convert import column_error
from serinus_runtime.values.frames import Arranger, none_of
from serinus_runtime.values.inputs import ArrayBound, Bound, ColumnInputs
from serinus_runtime.values.payload import Payload, Sent, Table, Tensor, Tensors, check_depth
from serinus_runtime.values.tensors import flat

_NO_FORM = ("array", "object", "map")


class MlflowBound(ArrayBound):
    """The result of MLflow's own parser. Whether MLflow's predict accepts it is known only after a prediction."""

    def __init__(
        self, inputs: NestedInputs, data: Any, columns: Sequence[str] | None, rows: list[list[Any]], sent: Sent
    ) -> None:
        super().__init__(data, columns, rows, sent)
        self._inputs = inputs

    def misfit(self, error: BaseException) -> RequestError | None:  # noqa: ARG002
        """Returns the error where the model's failure means that the request does not fit. None: it does not mean
        that."""
        return self._inputs.misfit(self.sent)


class NestedInputs:
    """Inputs for signatures with columns of arrays, objects, maps or any type."""

    def __init__(self, signature: Signature, source: Loaded | None) -> None:
        self._columns = signature.columns
        self._unsayable = [column.label for column in signature.columns if column.type in _NO_FORM]
        self._labels = frozenset(column.label for column in signature.columns)
        self._optional = not any(column.required for column in signature.columns)
        self._named = signature.columns[0].name is not None
        metadata = getattr(getattr(getattr(source, "public", None), "__self__", None), "metadata", None)
        self._schema = None if loaded("mlflow") is None or metadata is None else metadata.get_input_schema()
        self._plain = ColumnInputs(signature)
        self._arranger = Arranger(signature.columns)

    def bind(self, payload: Payload, *, exact: bool = False) -> Bound:
        """Returns the rows of a request."""
        if isinstance(payload, Tensors):
            if self._unsayable:
                raise RequestError(
                    f"the Open Inference Protocol has no form for {', '.join(self._unsayable)} (arrays, objects or "
                    "maps): send `dataframe_records` or `dataframe_split` to /invocations"
                )
            table = self._plain.table(payload.tensors)
            self._arranger.arrange(table.columns, len(table.rows[0]) if table.rows else 0, exact=exact)
            payload = self._split(table)
        elif isinstance(payload, Table):
            payload = self._split(payload)
        payload = self._renamed(payload)
        return self._with_mlflow(payload) if self._schema is not None else self._by_itself(payload)

    def misfit(self, sent: Sent) -> RequestError | None:
        """Returns why the request does not fit. None: it does."""
        try:
            library("mlflow.models").validate_schema(self._parsed(sent), self._schema)
        except Exception:  # noqa: BLE001 - whatever it raises, it does not take the input
            return self._fault(sent)
        return None

    def _split(self, table: Table) -> Sent:
        columns = None if table.columns is None else list(table.columns)
        return Sent("dataframe_split", {"columns": columns, "data": table.rows} if columns else {"data": table.rows})

    def _renamed(self, sent: Sent) -> Sent:
        """Replaces names that are not strings, because keys of a JSON object are strings."""
        names = {column.label: column.name for column in self._columns if not isinstance(column.name, str)}
        form, content = sent
        if not names or not self._named:
            return sent

        def renamed(record: Any) -> Any:
            return (
                {names.get(name, name): value for name, value in record.items()} if isinstance(record, dict) else record
            )

        if form != "dataframe_split":
            return Sent(form, [renamed(part) for part in content] if isinstance(content, list) else renamed(content))
        columns = content.get("columns") if isinstance(content, dict) else None
        if not isinstance(columns, list):
            return sent
        changed = [names.get(name, name) if isinstance(name, str) else name for name in columns]
        return Sent(form, {**content, "columns": changed})

    def _with_mlflow(self, sent: Sent) -> MlflowBound:
        try:
            data = self._parsed(sent)
        except Exception as error:
            raise self._fault(sent) from error
        names, rows = self._described(sent, data)
        if self._named and names is not None and self._labels.isdisjoint(names):
            raise none_of(self._columns)
        if self._named and names is None and self._optional and not len(self._frame(sent).columns):
            raise none_of(self._columns)
        if not rows:
            raise RequestError("no rows were sent")
        return MlflowBound(self, data, names, rows, sent)

    def _parsed(self, sent: Sent) -> Any:
        """Parses the request with the functions of MLflow's scoring server. They may change their arguments, so it is
        copied."""
        parsing, content = library("mlflow.utils.proto_json_utils"), _copied(sent.content)
        if sent.form == "csv":
            raise RequestError("CSV has no form for arrays, objects and maps")
        if sent.form.startswith("dataframe_"):
            return parsing.dataframe_from_parsed_json(content, sent.form[10:], self._schema)
        return parsing.parse_tf_serving_input({sent.form: content}, self._schema)

    def _described(self, sent: Sent, data: Any) -> tuple[Sequence[str] | None, list[list[Any]]]:
        """Returns columns and rows. Whether a dict is one row or several depends on the types, so MLflow makes a
        DataFrame of it."""
        if isinstance(data, dict):
            data = self._frame(sent)
        if hasattr(data, "iloc"):
            return tuple(map(str, data.columns)), _rows_of(sent, data)
        return None, [[_plain(part)] for part in (data if isinstance(data, list) or _sized(data) else [data])]

    def _frame(self, sent: Sent) -> Any:
        try:
            return library("mlflow.models.utils")._enforce_schema(self._parsed(sent), self._schema)
        except Exception as error:
            raise self._fault(sent) from error

    def _fault(self, sent: Sent) -> RequestError:
        """Returns an error that locates the fault as closely as possible, without the value."""
        if sent.form == "csv":
            return RequestError("CSV has no form for arrays, objects and maps: send JSON")
        table = _table_of(sent)
        if table is None:
            return RequestError(f"`{sent.form}` does not hold rows of the model's columns")
        names = [column.label for column in self._columns] if table.columns is None else list(map(str, table.columns))
        for column in self._columns:
            if column.label not in names:
                if column.required and self._named:
                    return column_error(column, "it is required and was not sent")
                continue
            place = names.index(column.label)
            found = (_misfit(column, row[place]) for row in table.rows if place < len(row))
            why = next((why for why in found if why is not None), None)
            if why is not None:
                return RequestError(f"column '{column.label}'{why}")
        kinds = ", ".join(f"{column.label} ({column.type})" for column in self._columns)
        return RequestError(f"what was sent is not what the signature declares; the model takes: {kinds}")

    def _by_itself(self, sent: Sent) -> Bound:
        """Returns the rows without MLflow. Each value is checked as far as its type is known."""
        table = _table_of(sent)
        if table is None:
            raise self._fault(sent)
        for column in self._columns:
            names = table.columns or tuple([other.label for other in self._columns])
            place = names.index(column.label) if column.label in names else len(names)
            for row in table.rows:
                why = _misfit(column, row[place]) if place < len(row) else None
                if why is not None:
                    raise RequestError(f"column '{column.label}'{why}")
        return self._plain.bind(table)


def _misfit(column: Column, value: Any) -> str | None:
    return None if column.kind is None else misfit(value, column.kind, column.required)


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copied(part) for name, part in value.items()}
    return [_copied(part) for part in value] if isinstance(value, list) else value


def _table_of(sent: Sent) -> Table | None:
    """Returns rows and columns of the request. None: it is not a table."""
    form, content = sent
    if form == "dataframe_split" and isinstance(content, dict):
        columns, data = content.get("columns"), content.get("data")
        if isinstance(data, list) and all(isinstance(row, list) for row in data):
            return Table(tuple(map(str, columns)) if isinstance(columns, list) else None, data)
        return None
    if isinstance(content, dict) and form == "inputs":
        return Table(tuple(map(str, content)), [list(content.values())])
    if isinstance(content, list) and content and all(isinstance(record, dict) for record in content):
        names = tuple({name: None for record in content for name in record})
        return Table(tuple(map(str, names)), [[record.get(name) for name in names] for record in content])
    return None


def _rows_of(sent: Sent, frame: Any) -> list[list[Any]]:
    """Returns the rows as they were sent, for the prediction log."""
    table = _table_of(sent)
    if table is not None and len(table.rows) == len(frame):
        return table.rows
    return [list(map(_plain, row)) for row in frame.to_numpy().tolist()]


def _sized(data: Any) -> bool:
    return bool(getattr(data, "ndim", 0))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return value.tolist() if hasattr(value, "tolist") else value


class HintedBound(ArrayBound):
    """The input of a model with a type hint."""

    def misfit(self, error: BaseException) -> RequestError | None:
        """Returns the error of MLflow's check of the type hint, which comes before the model's code."""
        if getattr(error, "error_code", None) != "INVALID_PARAMETER_VALUE":
            return None
        return RequestError("what was sent is not what the type hint of the model's predict says")


class HintedInputs:
    """Inputs of models whose `predict` has a type hint. MLflow passes them the list in `inputs` and checks it."""

    def __init__(self, signature: Signature) -> None:
        column = signature.columns[0] if len(signature.columns) == 1 else None
        self._datatypes = _OF_ITEMS.get(column.type, ()) if column is not None and column.name is None else ()

    def bind(self, payload: Payload, *, exact: bool = False) -> Bound:  # noqa: ARG002
        """Returns the items of a request."""
        if isinstance(payload, Tensors) and self._datatypes:
            payload = Sent("inputs", self._items(payload.tensors))
        if not isinstance(payload, Sent) or payload.form != "inputs" or not isinstance(payload.content, list):
            raise RequestError('the model\'s predict has a type hint: send {"inputs": [...]} to /invocations')
        if not payload.content:
            raise RequestError("no rows were sent")
        check_depth(payload.content)
        rows = [[value] for value in payload.content]
        return HintedBound(_copied(payload.content), None, rows, ["inputs", payload.content])

    def _items(self, tensors: Sequence[Tensor]) -> list[Any]:
        first = tensors[0]
        if len(tensors) > 1 or first.datatype not in self._datatypes or first.shape is None or len(first.shape) != 1:
            raise RequestError(f"the model takes one tensor of shape [n] of {' or '.join(self._datatypes)}")
        return flat(first)


_OF_ITEMS: Mapping[str, Sequence[str]] = {
    "string": ("BYTES",), "boolean": ("BOOL",), "long": ("INT64", "INT32"), "double": ("FP64", "FP32"),
}  # fmt: skip
"""Datatypes with the same values, by the type of the items of a list."""
