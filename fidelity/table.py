"""Writes docs/fidelity.md from the result of a long run and from the list of what is wanted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fidelity.compare import TOLERANCES
from fidelity.wanted import WANTED

ROOT = Path(__file__).parent.parent
RESULT = Path(__file__).parent / "results" / "fidelity.json"
PAGE = ROOT / "docs" / "fidelity.md"
_PROTOCOLS = ("invocations", "csv", "infer", "infer, binary", "grpc")
_HEADS = ("`/invocations`", "CSV", "`infer`", "`infer`, binary", "gRPC")
_MOST_REASONS = 25


def write(result: Mapping[str, Any]) -> None:
    """Keeps the result and writes the page."""
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(result), encoding="utf-8")


def page(result: Mapping[str, Any]) -> str:
    """The Markdown for a result as `Tally.dump` gives it."""
    return "\n".join([*_intro(result), *_models(result), *_cells(result), *_verdicts(result), *_wanted(result)])


def _intro(result: Mapping[str, Any]) -> list[str]:
    return [
        "# Fidelity",
        "",
        "This page is written by `python -m fidelity --report`. Do not edit it.",
        "",
        "A differential fuzzer draws models and requests, asks Serinus and MLflow's own scoring server, and compares",
        "the answers. Both have the same libraries in the same interpreter. `make fidelity` runs it; `make check`",
        "makes a short run, and the quick tests replay `fidelity/corpus`, which holds what was found earlier.",
        "",
        "- Where Serinus runs the model's own code, an answer is the same to the last bit.",
        f"- Where a model is compiled or predicts from a matrix, an answer differs by at most {TOLERANCES['onnx']:g},",
        "  absolute or relative to the answer, whichever is larger. A label never differs, and no answer is on the",
        "  other side of 0.5.",
        "- Serinus refuses with a 4xx status what MLflow refuses, and gives no answer where the model raises an error.",
        "- By the Open Inference Protocol, which MLflow does not speak, the answer is that of `/invocations` to the",
        "  same rows, in the datatype that the model's metadata state.",
        "",
        f"The last run made **{result['comparisons']:,} comparisons** with seed {result['seed']} on "
        f"{result['models']:,} models. It found **{result['differences']:,} differences** that are not wanted, and "
        f"{sum(result['wanted'].values()):,} that are.",
        "",
    ]


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"|{'|'.join(['---'] + ['---:'] * (len(head) - 1))}|"]
    return [*lines, *(f"| {' | '.join(_cell(value) for value in row)} |" for row in rows), ""]


def _cell(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value).replace("|", "\\|")


def _models(result: Mapping[str, Any]) -> list[str]:
    words = {
        "compiled": "compiled: a graph answers, and was compared with its long way as well",
        "shortened": "shortened: without MLflow's schema enforcement, or from a matrix",
        "long": "long: MLflow's own predict",
        "not served": "not served: Serinus says why at the gate",
    }
    ways = [(words[way], result["ways"].get(way, 0)) for way in words]
    asked = {
        "onnx": "the graph",
        "matrix": "a matrix",
        "direct": "the model's predict",
        "mlflow": "MLflow's predict",
        "worker": "a worker process",
    }
    by_way = [(text, result["by_way"].get(way, 0)) for way, text in asked.items()]
    reasons = sorted(result["uncompiled"].items(), key=lambda item: (-item[1], item[0]))
    rest = len(reasons) - _MOST_REASONS
    more = [f"{rest} more reasons are in the result file.", ""] if rest > 0 else []
    return [
        "## How the models were served", "", *_table(("models", "number"), ways),
        *_table(("answered by", "comparisons"), by_way),
        "Estimators that were not compiled, by the reason that Serinus gives:", "",
        *_table(("reason", "models"), reasons[:_MOST_REASONS]), *more,
    ]  # fmt: skip


def _cells(result: Mapping[str, Any]) -> list[str]:
    counts: Counter[tuple[str, str, str]] = Counter()
    for flavor, signature, protocol, number in result["cells"]:
        counts[(flavor, signature, protocol)] += number
    pairs = sorted({(flavor, signature) for flavor, signature, _ in counts})
    rows = [
        (f"{flavor}: {signature}", *(counts[(flavor, signature, p)] for p in _PROTOCOLS)) for flavor, signature in pairs
    ]
    return ["## What was compared", "", *_table(("flavour: signature", *_HEADS), rows)]


def _verdicts(result: Mapping[str, Any]) -> list[str]:
    words = {
        "answered": "MLflow answers",
        "refused": "MLflow refuses, or the body does not follow the protocol",
        "raised": "the model raises",
        "unwritable": "MLflow cannot write what the model answers",
    }
    return _table(
        ("MLflow's side", "comparisons"), [(text, result["verdicts"].get(key, 0)) for key, text in words.items()]
    )


def _wanted(result: Mapping[str, Any]) -> list[str]:
    lines = ["## Wanted differences", ""]
    for wanted in WANTED:
        lines += [f"- **{wanted.name}** ({result['wanted'].get(wanted.name, 0):,}). {wanted.reason}"]
    return [*lines, ""]
