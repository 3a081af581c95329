"""Loads a model and calls its own predict for the first time: with its example, with given rows, or with rows that are
made for it.

config: that of `reference`, and "most_rows"; the file of rows holds {"columns": [..], "rows": [[..]], "source": text}.
Prints {"source", "document", "tensors", "rows", "answers", "reason", "refused", "warnings", "versions"}: the rows as a
body of `/invocations` and as inputs of the Open Inference Protocol (null where it cannot express them), the values of
each row's answer, and the reason where there is no document; {"error": reason} where the model does not load.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Iterator, Mapping, Sequence

from serinus_runtime.artifact.kinds import SCALARS
from serinus_runtime.artifact.loading import Loaded, example_of, load
from serinus_runtime.artifact.signature import DATATYPES, Column, Signature, read_mlmodel, signature_of
from serinus_runtime.base.errors import RuntimeFailure, StartFailure
from serinus_runtime.isolation.trial import confined, run
from serinus_runtime.model.model import Model
from serinus_runtime.protocols.invocations import Invocations
from serinus_runtime.trials import made
from serinus_runtime.trials.answers import of_predictions
from serinus_runtime.trials.made import Made
from serinus_runtime.trials.versions import differences, own_modules
from serinus_runtime.trials.warned import Warnings
from serinus_runtime.values.outputs import finite
from serinus_runtime.values.predictions import write_predictions

MOST_ROWS = 50
_TRIED_ALONE = 5
_NOTHING = "it was logged without an input example and a signature, and nothing in the model says which inputs it takes"


def main() -> None:
    """Runs the rehearsal."""
    run(_answer)


def _answer(config: Mapping[str, Any]) -> Mapping[str, Any]:
    artifact = Path(config["artifact"])
    given = json.loads(Path(config["rows"]).read_text(encoding="utf-8")) if config.get("rows") else None
    confined(config, artifact)
    return rehearsal(artifact, given, int(config.get("most_rows") or MOST_ROWS))


def rehearsal(artifact: Path, given: Mapping[str, Any] | None, most_rows: int = MOST_ROWS) -> dict[str, Any]:
    """Runs the rehearsal in this process. Raises StartFailure where the model does not load."""
    mlmodel = read_mlmodel(artifact)
    with Warnings(own_modules(mlmodel)) as warned:
        loaded = load(artifact, mlmodel)
        found = _rehearsed(mlmodel, loaded, _certain(artifact, mlmodel, given, most_rows))
    return {**found, "warnings": warned.found, "versions": differences(mlmodel)}


def _rehearsed(mlmodel: Mapping[str, Any], loaded: Loaded, certain: Made | None) -> dict[str, Any]:
    model = Model(loaded, signature_of(mlmodel))
    reason = ""
    for source, document in (certain,) if certain else made.candidates(mlmodel, loaded):
        for part in _parts(document):
            try:
                rows, answers = _asked(model, part)
            except (Exception, SystemExit) as error:  # noqa: BLE001  a model may raise anything on rows
                reason = reason or _brief(source, error)
                continue
            tensors = tensors_of(part, model.signature)
            return _told(source=source, document=part, tensors=tensors, rows=rows, answers=answers)
    return _told(source=certain.source if certain else "", reason=reason or _NOTHING, refused=certain is not None)


_EXAMPLE = "the input example"


def _told(**known: Any) -> dict[str, Any]:
    empty: dict[str, Any] = {
        "source": "",
        "document": None,
        "tensors": None,
        "rows": 0,
        "answers": [],
        "reason": "",
        "refused": False,
    }
    return {**empty, **known}


def _certain(artifact: Path, mlmodel: Mapping[str, Any], given: Mapping[str, Any] | None, most: int) -> Made | None:
    """Returns rows that the model must answer. None: there are none."""
    try:
        example = example_of(artifact, mlmodel)
    except StartFailure:
        example = None  # It is not JSON. The worker reports that in its warm-up.
    if example is not None:
        return Made(_EXAMPLE, finite(head(example, most)))
    if given is None:
        return None
    split = {"columns": given["columns"], "data": given["rows"][:most]}
    return Made(given["source"], finite({"dataframe_split": split}))


def _asked(model: Model, document: Mapping[str, Any]) -> tuple[int, Sequence[Sequence[Any]]]:
    """Returns the number of rows, and the answer of the model's own predict. Raises what that raises."""
    # It is copied, because MLflow changes objects on which it enforces a schema.
    asked = Invocations(model.signature).parse_object(json.loads(json.dumps(document)))
    bound = model.bind(asked.payload)
    result = model.the_long_way(bound, asked.params)
    rows = len(bound.rows)
    return rows, of_predictions(json.loads(write_predictions(result)), rows)


def _brief(source: str, error: BaseException) -> str:
    """Returns the type of a model's exception only, because its message may contain values of the rows."""
    if isinstance(error, RuntimeFailure):
        return f"{source} does not fit: {error}"
    return f"its own predict raised {type(error).__name__} on {source}"


def _parts(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yields all rows, then each alone, because a model may refuse one and accept another."""
    yield document
    seen = [document]
    for number in range(_TRIED_ALONE):
        part = head(document, 1, begin=number)
        if part not in seen:
            seen.append(part)
            yield part


def head(document: Mapping[str, Any], rows: int, begin: int = 0) -> Mapping[str, Any]:
    """Returns the body with at most `rows` rows, from row `begin` on."""
    end = begin + rows
    changed = dict(document)
    for key in ("dataframe_records", "instances", "inputs"):
        value = changed.get(key)
        if isinstance(value, list):
            changed[key] = value[begin:end]
        elif isinstance(value, dict) and value and all(isinstance(part, list) for part in value.values()):
            changed[key] = {name: part[begin:end] for name, part in value.items()}
    split = changed.get("dataframe_split")
    if isinstance(split, dict) and isinstance(split.get("data"), list):
        kept = {name: part for name, part in split.items() if name in ("columns", "data")}
        changed["dataframe_split"] = {**kept, "data": split["data"][begin:end]}
    return changed


# --- as the Open Inference Protocol has it


def tensors_of(document: Mapping[str, Any], signature: Signature) -> list[dict[str, Any]] | None:
    """Returns the rows as tensors. None: the protocol cannot express these types."""
    split, given = document.get("dataframe_split"), document.get("inputs", document.get("instances"))
    if "params" in document:
        return None
    if isinstance(split, dict):
        return _columns(split.get("columns"), split.get("data"), signature)
    if signature.tensors and given is not None:
        return _arrays(given, signature)
    if isinstance(given, list) and given and not signature.inputs:
        return _arrays(given, signature)
    return None


def _columns(names: Any, rows: Any, signature: Signature) -> list[dict[str, Any]] | None:
    if not isinstance(rows, list) or not isinstance(names, list) or not rows or signature.tensors:
        return None
    declared = {str(column.name): column for column in signature.columns}
    found = []
    for place, name in enumerate(map(str, names)):
        values = [row[place] for row in rows]
        if declared and name not in declared:
            continue  # MLflow's protocol ignores it. This one does not.
        datatype = _datatype(values, declared.get(name))
        if datatype is None:
            return None
        found.append({"name": name, "shape": [len(values)], "datatype": datatype, "data": values})
    return found or None


def _datatype(values: Sequence[Any], column: Column | None) -> str | None:
    """Returns the datatype. None: there is none."""
    kinds = {type(value) for value in values if value is not None}
    if not kinds <= {bool, int, float, str}:
        return None
    if column is not None:
        return DATATYPES[column.type] if column.type in SCALARS and column.type != "binary" else None
    if kinds == {bool}:
        return "BOOL"
    if kinds == {str}:
        return "BYTES"
    if kinds <= {int, float}:
        return "INT64" if kinds == {int} else "FP64"
    return None


def _arrays(given: Any, signature: Signature) -> list[dict[str, Any]] | None:
    specs = signature.tensors
    named = given if isinstance(given, dict) else {specs[0].name if specs else None: given}
    found = []
    for place, (name, array) in enumerate(named.items()):
        spec = next((one for one in specs if one.name == name), None)
        shape, data = _flat(array)
        datatype = spec.datatype if spec is not None else _datatype(data, None)
        if datatype is None or (not specs and datatype == "BYTES"):
            return None
        found.append({"name": name or f"input-{place}", "shape": shape, "datatype": datatype, "data": data})
    return found


def _flat(array: Any) -> tuple[list[int], list[Any]]:
    """Returns shape and values, row by row. Rows of different lengths have the shape of the first, which does not
    fit."""
    if not isinstance(array, list):
        return [], [array]
    if not array:
        return [0], []
    parts = [_flat(part) for part in array]
    return [len(array), *parts[0][0]], [value for _, values in parts for value in values]
