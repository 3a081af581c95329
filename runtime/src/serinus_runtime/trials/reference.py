"""The scores of MLflow's own predict on an ordinary DataFrame, for comparisons in the gates.

    python -I -c "... from serinus_runtime.trials.reference import main; main()" config.json

config: {"artifact", "rows": file or null, "readable", "scratch", "confine", "score_output", "memory_limit_bytes"?}; the
file of rows holds {"columns": [..], "rows": [[..]]}. Prints {"scores": [..]}, or {"loaded": true} where no rows are
given; {"error": reason} with exit status 1 after a failure. By design it shares only the loading with the serving path.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Mapping

from serinus_runtime.artifact.loading import Loaded, load
from serinus_runtime.artifact.signature import Signature, read_mlmodel, signature_of
from serinus_runtime.base.errors import StartFailure
from serinus_runtime.base.libraries import library
from serinus_runtime.isolation.trial import confined, run
from serinus_runtime.values.outputs import check_rows, outputs_of, score_index, scores_of

_PANDAS_TYPES = {
    "double": "float64", "float": "float32", "integer": "int32", "long": "int64", "boolean": "bool",
    "datetime": "datetime64[ns]",
}  # fmt: skip


def main() -> None:
    """Computes the scores."""
    run(_answer)


def _answer(config: Mapping[str, Any]) -> Mapping[str, Any]:
    artifact = Path(config["artifact"])
    sent = json.loads(Path(config["rows"]).read_text(encoding="utf-8")) if config.get("rows") else None
    confined(config, artifact)
    mlmodel = read_mlmodel(artifact)
    loaded = load(artifact, mlmodel)
    if sent is None:
        return {"loaded": True}
    return {"scores": _scores(loaded, signature_of(mlmodel), sent, config.get("score_output"))}


def _scores(loaded: Loaded, signature: Signature, sent: Mapping[str, Any], wanted: str | None) -> list[float | None]:
    names = {column.label: column.name for column in signature.columns}
    frame = library("pandas").DataFrame(sent["rows"], columns=[names.get(name, name) for name in sent["columns"]])
    types = {column.name: _PANDAS_TYPES.get(column.type) for column in signature.columns}
    try:
        frame = frame.astype({name: kind for name, kind in types.items() if kind and name in frame.columns})
        result = loaded.public(_tensors(frame, signature) if signature.tensors else frame)
    except (Exception, SystemExit) as error:
        raise StartFailure(f"the model failed on the rows: {type(error).__name__}") from error
    outputs = outputs_of(result, signature.output_names)
    check_rows(outputs, len(frame))
    try:
        return scores_of(outputs[score_index(outputs, wanted)])
    except KeyError as error:
        raise StartFailure(f"`score_output`: {error.args[0]}") from error


def _tensors(frame: Any, signature: Signature) -> Any:
    """Returns an array of all columns, or of the only one. Where tensors have names, there is one for each column."""
    specs = signature.tensors
    if specs[0].name is not None:
        return {spec.name: frame[spec.label].to_numpy(dtype=spec.dtype) for spec in specs}
    array = frame.to_numpy()
    if len(specs[0].shape) == 1 and array.shape[1] == 1:
        array = array[:, 0]
    return array.astype(specs[0].dtype)
