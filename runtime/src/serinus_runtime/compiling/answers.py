"""The conversion of an estimator's results to the answer of MLflow's `predict`: the method, the type and the shape."""

from __future__ import annotations

from typing import Any, NamedTuple, Sequence

from serinus_runtime.base.libraries import library
from serinus_runtime.compiling.estimators import Answers, answers_of
from serinus_runtime.compiling.graph import Graph, Unsupported


class Written(NamedTuple):
    """Names of tensors. `margin` is the value behind `answer`. None: the answer is the score itself."""

    answer: str
    margin: str | None


def result_of(graph: Graph, model: Any, method: str, dtype: str, shape: Sequence[int]) -> Written:
    """Writes the answer. `dtype` and `shape`, without rows, are those of the original. Raises Unsupported."""
    found = answers_of(graph, model, graph.input())
    if method == "predict_log_proba":
        # For a probability near 0 or 1, the last bit, which the graph may round differently, makes a large difference.
        raise Unsupported(f"predict_log_proba of {type(model).__name__}")
    name = _predicted(graph, model, found) if method == "predict" else _by(method, found)
    if name is None:
        raise Unsupported(f"{method} of {type(model).__name__}")
    if dtype not in ("float32", "float64", "int32", "int64", "bool"):
        raise Unsupported(f"answers of {dtype}")
    if found.margin is None and (found.value is None or dtype not in ("float32", "float64")):
        raise Unsupported(f"labels of {type(model).__name__}, behind which nothing can be compared,")
    if not shape:
        name = graph.add("Reshape", name, graph.constant([-1], "int64"))
    return Written(graph.cast(name, dtype), found.margin)


def _by(method: str, found: Answers) -> str | None:
    return found.probabilities if method == "predict_proba" else None


def _predicted(graph: Graph, model: Any, found: Answers) -> str | None:
    if found.value is not None:
        return found.value
    numpy = library("numpy")
    classes = numpy.asarray(getattr(model, "classes_", ()))
    if classes.dtype.kind not in "iufb" or classes.ndim != 1 or len(classes) < 2:
        raise Unsupported("labels that are not numbers")
    labels = graph.constant(classes.astype("float64"))
    by_decision = found.decision is not None and found.label != "ArgMax"
    if by_decision and len(classes) == 2:
        index = graph.cast(graph.add(found.label, str(found.decision), graph.constant([[0.0]])), "int64")
    elif by_decision or found.probabilities is not None:
        scores = found.decision if by_decision else found.probabilities
        index = graph.add("ArgMax", str(scores), axis=1, keepdims=1)
    else:
        return None
    return graph.add("Gather", labels, index)
