"""Gives the rows of the proof to a compiled model, as it would be served. It runs in the compiled environment.

    python -I -c "... from serinus_runtime.trials.prove import main; main()" config.json

config: {"compiled": directory that `convert` wrote, "artifact", "readable", "scratch", "confine"}. Prints {"rows",
"own", "differing": row numbers, "largest": the largest difference, "margins": for how many rows the value behind the
answer was compared, "behind": rows for which that differs, "splits": the number of thresholds of trees, "at_splits":
how many of them a row tests exactly, "refusals": rows that only one of the two refuses, "alone": rows that are answered
differently alone, "original": scores of the model's own rows, "compiled": the same}. The scores are the last column of
each answer, None where there is none.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

from serinus_runtime.base.errors import ModelFailure, RequestError
from serinus_runtime.base.libraries import library
from serinus_runtime.compiling.original import ANSWERED, FAILED, REFUSED
from serinus_runtime.isolation.trial import confined, run
from serinus_runtime.model import compiled
from serinus_runtime.values.payload import Rows, Table

TOLERANCE = 1e-6
"""Absolute or relative to the answer, whichever is larger: the rounding of single precision."""
TOGETHER = 1e-12
"""The tolerance for the same row alone and with others: only the last digits of a double may differ."""


def main() -> None:
    """Runs the proof."""
    run(_prove)


def _prove(config: Mapping[str, Any]) -> dict[str, Any]:
    directory, artifact = Path(config["compiled"]), Path(config["artifact"])
    confined(config, directory, artifact)
    return prove(directory, artifact)


def prove(directory: Path, artifact: Path) -> dict[str, Any]:
    """Returns the proof. Raises StartFailure where the compiled model does not load or does not answer its example."""
    proof = json.loads((directory / "proof.json").read_text(encoding="utf-8"))
    wanted = library("numpy").load(directory / "answers.npy", allow_pickle=False)
    model = compiled.read(directory, artifact)
    rows, verdicts, own = proof["rows"], proof["verdicts"], proof["own"]
    alone = [_asked(_alone, model, row, left_out) for row, left_out in zip(rows, proof["left_out"])]
    answered = [i for i, verdict in enumerate(verdicts) if verdict == ANSWERED]
    refusals = [i for i, answer in enumerate(alone) if _verdict(answer) != verdicts[i]]
    both = [i for i in answered if not isinstance(alone[i], int)]
    given = library("numpy").array([alone[i][0] for i in both]) if both else wanted[:0]
    differences = _differences(wanted[both], given)
    behind = _behind(directory, model, rows, [i for i in both if not proof["left_out"][i]])
    return {
        "rows": len(rows),
        "own": own,
        "differing": [i for i, difference in zip(both, differences) if not difference <= TOLERANCE],
        "largest": max((d for d in differences if math.isfinite(d)), default=0.0),
        "margins": len(behind),
        "behind": [i for i, difference in behind.items() if not difference <= TOLERANCE],
        "splits": proof["splits"],
        "at_splits": proof["at_splits"],
        "refusals": refusals,
        "alone": _otherwise_together(model, [rows[i] for i in both], given, both),
        "original": [_score(wanted[i]) if verdicts[i] == ANSWERED else None for i in range(own)],
        "compiled": [None if isinstance(alone[i], int) else _score(alone[i][0]) for i in range(own)],
    }


def _behind(directory: Path, model: compiled.CompiledModel, rows: Rows, numbers: Sequence[int]) -> dict[int, float]:
    """Returns the difference of the values behind the answers to each row in `numbers`, by its number. Empty: there are
    none."""
    if not (directory / "margins.onnx").exists() or not numbers:
        return {}
    wanted = library("numpy").load(directory / "margins.npy", allow_pickle=False)
    plan = json.loads((directory / "plan.json").read_text(encoding="utf-8"))
    margins = compiled.CompiledModel((directory / "margins.onnx").read_bytes(), plan, model.signature)
    given = margins.predict_rows([rows[i] for i in numbers])
    return dict(zip(numbers, _differences(wanted[numbers], given)))


def _asked(ask: Callable[..., Any], *given: Any) -> Any:
    """Returns the answers, or a verdict of `original`."""
    try:
        return ask(*given)
    except RequestError:
        return REFUSED
    except ModelFailure:
        return FAILED


def _alone(model: compiled.CompiledModel, row: list[Any], left_out: Sequence[int]) -> Any:
    """Returns the answer to a request without these columns."""
    if not left_out:
        return model.predict_row(row)
    kept = [i for i in range(len(row)) if i not in left_out]
    names = tuple(str(model.signature.columns[i].name) for i in kept)
    return model.predict(model.bind(Table(names, [[row[i] for i in kept]]))).result


def _verdict(answer: Any) -> int:
    return answer if isinstance(answer, int) else ANSWERED


def _differences(wanted: Any, given: Any) -> list[float]:
    """Returns the largest difference of each row, relative where the answer is larger than 1, and infinite where only
    one side has a number."""
    numpy = library("numpy")
    if wanted.dtype != given.dtype or wanted.shape != given.shape:
        return [math.inf] * len(wanted)
    one, other = (part.astype("float64").reshape(len(part), -1) for part in (wanted, given))
    with numpy.errstate(invalid="ignore"):
        distance = numpy.abs(one - other) / numpy.maximum(1.0, numpy.abs(one))
    same = (one == other) | (numpy.isnan(one) & numpy.isnan(other))
    distance = numpy.where(same, 0.0, numpy.where(numpy.isfinite(distance), distance, numpy.inf))
    return [float(value) for value in distance.max(axis=1)] if len(distance) else []


def _otherwise_together(model: compiled.CompiledModel, rows: Rows, alone: Any, numbers: Sequence[int]) -> list[int]:
    if not rows:
        return []
    together = _asked(model.predict_rows, rows)
    if isinstance(together, int):
        return list(numbers)
    return [i for i, difference in zip(numbers, _differences(alone, together)) if not difference <= TOGETHER]


def _score(answer: Any) -> float | None:
    value = float(library("numpy").ravel(answer)[-1])
    return value if math.isfinite(value) else None
