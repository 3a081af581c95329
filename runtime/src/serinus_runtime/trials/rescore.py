"""Predicts requests again with the model's own `predict`, to compare the answers of a faster way.

    python -I -c "... from serinus_runtime.trials.rescore import main; main()" config.json

config: {"artifact", "requests": file, "readable", "scratch", "confine", "score_output", "one_at_a_time",
"memory_limit_bytes"?}; the file holds {"requests": [{"columns": [..] or null, "rows": [[..]]}]}. Prints {"answers":
[{"scores": [..], "datatype"}, ..]}, in their order, with null for a request that the model does not answer; {"error":
reason} with exit status 1 where the model does not load.

Each request is predicted by itself, as in a release that is served by the model's own `predict`, so that only the
faster way is examined.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Mapping

from serinus_runtime.base.errors import ModelFailure, RequestError
from serinus_runtime.isolation.trial import confined, run
from serinus_runtime.model.model import Model
from serinus_runtime.values.outputs import score_index, scores_of
from serinus_runtime.values.payload import Table


def main() -> None:
    """Predicts the requests."""
    run(_answer)


def _answer(config: Mapping[str, Any]) -> Mapping[str, Any]:
    artifact, wanted = Path(config["artifact"]), config.get("score_output")
    requests = json.loads(Path(config["requests"]).read_text(encoding="utf-8"))["requests"]
    confined(config, artifact)
    model = Model.read(artifact, one_at_a_time=config.get("one_at_a_time", False), score_output=wanted, long=True)
    return {"answers": [_answered(model, request, wanted) for request in requests]}


def _answered(model: Model, request: Mapping[str, Any], wanted: str | None) -> Mapping[str, Any] | None:
    columns = request["columns"]
    try:
        bound = model.bind(Table(None if columns is None else tuple(columns), request["rows"]))
        outputs = model.predict(bound).outputs
    except (RequestError, ModelFailure):
        return None
    try:
        score = outputs[score_index(outputs, wanted)]
    except KeyError:  # This time the model left it out, and the record has no score of it either.
        return {"scores": [None] * len(request["rows"]), "datatype": outputs[0].datatype}
    return {"scores": scores_of(score), "datatype": score.datatype}
