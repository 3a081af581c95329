"""The gate `signature`: the model accepts the columns that callers send."""

from __future__ import annotations

from collections.abc import Mapping

from serinus.core.examination import GateResult
from serinus.core.release import Column
from serinus.gates.evidence import SignatureEvidence
from serinus.gates.results import failed, passed

WIDER: Mapping[str, frozenset[str]] = {
    "integer": frozenset({"long", "float", "double"}),
    "long": frozenset({"float", "double"}),
    "float": frozenset({"double"}),
    "double": frozenset({"float"}),
}
"""The types that a model may declare for each type that callers send, because a JSON number reads as any of them.

A double that is read as a float has the precision that the model chose.
"""

_OF_DTYPE = {
    "bool": "boolean", "int32": "integer", "int64": "long", "float32": "float", "float64": "double", "str": "string",
    "object": "string",
}  # fmt: skip


def signature(evidence: SignatureEvidence) -> GateResult:
    """Fails where the model needs a column that callers do not send, or needs it in another type."""
    if evidence.inputs is None:
        return passed(
            "signature",
            "The version was logged without a signature: inputs are passed on unchecked.",
            raw_protocol=True,
        )
    inputs = [{"name": c.name, "type": c.type, "required": c.required} for c in evidence.inputs]
    if evidence.sent is None:
        return passed("signature", f"{len(inputs)} inputs; the columns that callers send are not known.", inputs=inputs)
    sent = {column.name: column for column in evidence.sent}
    wrong = [problem for column in evidence.inputs if (problem := _problem(column, sent.get(column.name)))]
    unused = sorted(sent.keys() - {column.name for column in evidence.inputs})
    if wrong:
        more = f" ({len(wrong) - 1} more)" if len(wrong) > 1 else ""
        text = f"{wrong[0]}, by {evidence.sent_by}{more}."
        return failed("signature", text, problems=wrong, unused=unused, inputs=inputs)
    match = "input matches" if len(inputs) == 1 else "inputs match"
    text = f"{len(inputs)} {match} what callers send, by {evidence.sent_by}"
    text += f"; callers also send columns that are not used: {', '.join(unused)}." if unused else "."
    return passed("signature", text, unused=unused, inputs=inputs)


def _problem(wanted: Column, sent: Column | None) -> str | None:
    if sent is None:
        return f"needs column {wanted.name!r} ({wanted.type}), which callers do not send" if wanted.required else None
    wants, gets = _plain(wanted.type), _plain(sent.type)
    if wants != gets and wants not in WIDER.get(gets, frozenset()):
        return f"needs column {wanted.name!r} as {wanted.type}, which is sent as {sent.type}"
    if wanted.required and not sent.required:
        return f"needs column {wanted.name!r} in every request, but callers send it only in some"
    return None


def _plain(name: str) -> str:
    """Returns the type as callers see it: `tensor(float64)` and `double` are the same to them."""
    dtype = name.removeprefix("tensor(").removesuffix(")") if name.startswith("tensor(") else name
    return _OF_DTYPE.get(dtype, dtype)
