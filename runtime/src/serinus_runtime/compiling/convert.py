"""Writes a model as ONNX, and the model's own answers to the rows of the proof. It runs in the model's interpreter.

    python -I -c "... from serinus_runtime.compiling.convert import main; main()" config.json

config: {"artifact", "rows": file or null, "readable", "scratch", "confine", "memory_limit_bytes"?}; the file of rows
holds {"columns": [..], "rows": [[..]]}. Writes `model.onnx`, `plan.json`, `MLmodel`, `proof.json` and `answers.npy` to
`<scratch>/compiled`, and `margins.onnx` and `margins.npy` where the value behind the answer is compared as well. Prints
{"written": true}, {"unsupported": reason}, or {"error": reason} with exit status 1.
"""

from __future__ import annotations

import json
import math
import platform
from pathlib import Path
from typing import Any, Callable, Iterator, List, Mapping, Sequence, Tuple

from serinus_runtime.artifact.loading import Loaded, example_of, load
from serinus_runtime.artifact.signature import Column, Signature, read_mlmodel, signature_of
from serinus_runtime.base.libraries import library
from serinus_runtime.base.libraries import loaded as imported
from serinus_runtime.compiling import WRITER
from serinus_runtime.compiling.absent import answers_without, stand_ins
from serinus_runtime.compiling.answers import result_of
from serinus_runtime.compiling.graph import Graph, Unsupported
from serinus_runtime.compiling.known import library_of
from serinus_runtime.compiling.margins import margins_of
from serinus_runtime.compiling.original import ANSWERED, Answered, answer
from serinus_runtime.compiling.rows import MOST_OF_THE_MODEL, RowList, edge_rows, most_splits, unlike_any
from serinus_runtime.isolation.trial import confined, run
from serinus_runtime.values.frames import Frames

TAKES = ("double", "float", "integer", "long", "boolean", "string")
_FLAVORS = ("mlflow.sklearn", "mlflow.xgboost", "mlflow.lightgbm", "mlflow.catboost")
_BASE_ROWS = 5

Ask = Callable[[RowList], Any]
Part = Tuple[List[int], RowList, Answered]
"""The missing columns, the rows, and the model's answers to them."""


def main() -> None:
    """Runs the conversion."""
    run(_convert)


def _convert(config: Mapping[str, Any]) -> dict[str, Any]:
    artifact, scratch = Path(config["artifact"]), Path(config["scratch"])
    sent = json.loads(Path(config["rows"]).read_text(encoding="utf-8")) if config.get("rows") else None
    confined(config, artifact)
    try:
        convert(artifact, sent, scratch / "compiled")
    except Unsupported as error:
        return {"unsupported": str(error)}
    except (Exception, SystemExit) as error:  # noqa: BLE001
        # A version of a library may have attributes that are unknown here. The model is then served by its own
        # libraries.
        return {"unsupported": f"a model that could not be read ({type(error).__name__})"}
    return {"written": True}


def convert(artifact: Path, sent: Mapping[str, Any] | None, directory: Path) -> None:
    """Writes the compiled model and its proof to `directory`.

    `sent` are rows in addition to the model's own example, in the format of the file of rows. Raises Unsupported.
    """
    mlmodel = read_mlmodel(artifact)
    signature = signature_of(mlmodel)
    _check(mlmodel, signature)
    model = load(artifact, mlmodel)
    own = _own_rows(signature, sent, example_of(artifact, mlmodel))
    method = str(mlmodel["flavors"]["python_function"].get("predict_fn") or "predict")
    write(model, signature.columns, method, own, directory)
    (directory / "MLmodel").write_text(json.dumps(needed(mlmodel)), encoding="utf-8")


def needed(mlmodel: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the parts of MLmodel that serving needs. They are written as JSON, because the compiled environment
    cannot read YAML."""
    kept = {key: mlmodel[key] for key in ("signature", "saved_input_example_info") if key in mlmodel}
    return {**kept, "flavors": {"python_function": mlmodel["flavors"]["python_function"]}}


def _check(mlmodel: Mapping[str, Any], signature: Signature) -> None:
    flavor = str(mlmodel["flavors"].get("python_function", {}).get("loader_module"))
    if flavor not in _FLAVORS:
        raise Unsupported("%s models" % (flavor if flavor.startswith("mlflow.") else "custom Python"))
    if not signature.inputs:
        raise Unsupported("a model without a signature")
    if not signature.columns or signature.has_params:
        raise Unsupported("a signature that is not of columns alone")
    for column in signature.columns:
        if column.type not in TAKES or column.name is None:
            raise Unsupported("columns of %s" % (column.type if column.name else "no name"))


def _own_rows(signature: Signature, sent: Mapping[str, Any] | None, example: Mapping[str, Any] | None) -> RowList:
    """Returns the given rows and the input example's, in the order of the columns."""
    names = [str(column.name) for column in signature.columns]
    split = (example or {}).get("dataframe_split") or {}
    rows: RowList = []
    columns = [str(name) for name in split.get("columns") or ()]
    for table in (sent, {"columns": columns, "rows": split.get("data")}):
        if table and table["columns"] and table["rows"] and set(names) <= set(table["columns"]):
            pick = [table["columns"].index(name) for name in names]
            rows += [[row[i] for i in pick] for row in table["rows"][:MOST_OF_THE_MODEL]]
    if not rows:
        raise Unsupported("a model without rows to prove it on: neither input example nor golden or evaluation rows")
    return rows


def write(model: Loaded, columns: tuple[Column, ...], method: str, own: RowList, directory: Path) -> None:
    """Writes the graph and asks the original. Raises Unsupported."""
    frames = Frames(columns)

    def ask(rows: RowList) -> Any:
        return model.public(frames.frame(rows))

    expected = answer(ask, own)
    base = [row for row, verdict in zip(own, expected.verdicts) if verdict == ANSWERED][:_BASE_ROWS]
    _check_names(model, columns)
    instead = stand_ins(model.public, columns, base[0])
    graph = Graph(columns)
    output = (expected.dtype, expected.values.shape[1:])
    written = result_of(graph, model.raw, method, *output)
    edges = edge_rows(columns, base, graph.demands, graph.vocabularies)
    plan = {"writer": WRITER, "columns": _columns(graph, ask, base[0], instead), "versions": _versions()}
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "model.onnx").write_bytes(graph.model({written.answer: output}))
    (directory / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    parts: list[Part] = [([], own, expected), ([], edges, answer(ask, edges))]
    _save_proof(directory, parts + answers_without(model.public, columns, base, instead), _splits(graph))
    if written.margin is not None:
        margins = answer(lambda rows: margins_of(model.raw, frames.frame(rows)), own + edges)
        _save_margins(directory, graph, written.margin, margins)


def _splits(graph: Graph) -> dict[str, int]:
    """Returns the number of thresholds of all trees, and of those that a row of the proof tests exactly."""
    counts = [(len(set(splits)), most_splits(graph.columns[i])) for i, splits in graph.demands.splits.items()]
    return {"splits": sum(count for count, _ in counts), "at_splits": sum(map(min, counts))}


def _save_margins(directory: Path, graph: Graph, name: str, margins: Answered) -> None:
    """Writes the margins. NaN stands for rows without one."""
    numpy = library("numpy")
    values = numpy.asarray(margins.values, dtype="float64").reshape(len(margins.values), -1)
    values[[i for i, verdict in enumerate(margins.verdicts) if verdict != ANSWERED]] = math.nan
    numpy.save(directory / "margins.npy", values)
    output = {graph.cast(name, "float64"): ("float64", values.shape[1:])}
    (directory / "margins.onnx").write_bytes(graph.model(output))


def _save_proof(directory: Path, parts: Sequence[Part], splits: Mapping[str, int]) -> None:
    expected = parts[0][2]
    proof: dict[str, Any] = {"own": len(parts[0][1]), "rows": [], "verdicts": [], "left_out": [], **splits}
    for left_out, rows, answered in parts:
        if answered.dtype != expected.dtype or answered.values.shape[1:] != expected.values.shape[1:]:
            raise Unsupported("a model whose answers change their type or shape")
        proof["rows"] += rows
        proof["verdicts"] += answered.verdicts
        proof["left_out"] += [left_out] * len(rows)
    (directory / "proof.json").write_text(json.dumps(proof), encoding="utf-8")
    numpy = library("numpy")
    numpy.save(directory / "answers.npy", numpy.concatenate([answered.values for _, _, answered in parts]))


def _check_names(model: Loaded, columns: tuple[Column, ...]) -> None:
    """Raises Unsupported where the model uses columns by name in another order, because the graph knows them by
    position."""
    names = [str(column.name) for column in columns]
    for trained in trained_names(model.raw):
        if trained != names:
            raise Unsupported("a signature whose columns are not those of the training, in their order")


def trained_names(model: Any) -> Iterator[list[str]]:
    """Yields the column names of the training, of the model and of every part of it that gets the same columns."""
    root, name = library_of(model), type(model).__name__
    if root == "lightgbm":  # It knows them by position as well.
        return
    found = getattr(model, "feature_names_in_", None)
    if found is None and root in ("xgboost", "catboost"):
        found = getattr(model, "feature_names", None) or getattr(model, "feature_names_", None)
    if found is not None:
        yield list(map(str, found))
    elif root == "sklearn" and name == "FeatureUnion":
        for _, part in model.transformer_list:
            yield from trained_names(part)
    elif root == "sklearn" and name == "Pipeline":
        # A step that passes on the columns unchanged may have no names, while the next one uses them.
        for _, step in model.steps:
            first = list(trained_names(step))
            yield from first
            if first:
                return


def _columns(graph: Graph, ask: Ask, row: list[Any], instead: Mapping[int, Any]) -> list[dict[str, Any]]:
    """Returns the properties of each column for the server. The original decides whether null and unseen texts are
    refused."""
    plan = []
    for i, column in enumerate(graph.columns):
        known = graph.demands.known.get(i)
        plan.append(
            {
                "name": column.name,
                "type": column.type,
                "texts": graph.vocabularies.get(i),
                "known": known,
                "bounds": _bounds(graph, ask, row, i),
                "null": _answers(ask, row, i, None),
                "unseen": column.type != "string" or _answers(ask, row, i, unlike_any(row[i])),
                "instead": [instead[i]] if i in instead else None,
            }
        )
    return plan


def _bounds(graph: Graph, ask: Ask, row: list[Any], index: int) -> tuple[float, float] | None:
    """Returns the limits of float32 for the column. None: the original accepts infinity."""
    bounds = graph.demands.bounds.get(index)
    beyond = [value * 1.01 for value in bounds or () if math.isfinite(value * 1.01)]
    return None if beyond and _answers(ask, row, index, beyond[-1]) else bounds


def _answers(ask: Ask, row: list[Any], index: int, value: Any) -> bool:
    try:
        ask([[*row[:index], value, *row[index + 1 :]]])
    except (Exception, SystemExit):  # noqa: BLE001  what it raises is not what is asked
        return False
    return True


def _versions() -> dict[str, str]:
    names = ("numpy", "sklearn", "xgboost", "lightgbm", "catboost", "mlflow")
    modules = {name: imported(name) for name in names}
    found = {name: str(module.__version__) for name, module in modules.items() if module is not None}
    return {"python": platform.python_version(), **found}
