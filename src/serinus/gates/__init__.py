"""Checks before any traffic: evidence in, `GateResult` out. Pure: what is asked of the world is gathered elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from serinus.core.examination import GateResult
from serinus.gates.alike import differing
from serinus.gates.asked import UNASKED, asked
from serinus.gates.evidence import (
    AnyEvidence,
    AskedEvidence,
    ExampleEvidence,
    GoldenEvidence,
    LatencyEvidence,
    LoadEvidence,
    MemoryEvidence,
    MetamorphicEvidence,
    ParityEvidence,
    PickleImports,
    ProtocolCheck,
    QualityEvidence,
    ScanEvidence,
    Scores,
    SignatureEvidence,
    Transformation,
    TransformationCheck,
)
from serinus.gates.example import example
from serinus.gates.golden import golden
from serinus.gates.latency import SLOW_MS, latency
from serinus.gates.load import load
from serinus.gates.memory import memory
from serinus.gates.metamorphic import compare, metamorphic
from serinus.gates.parity import parity
from serinus.gates.quality import quality
from serinus.gates.recheck import GRAPH, SHORT_WAYS, Deviation, Verdict, conclude, deviation
from serinus.gates.results import decide
from serinus.gates.scan import scan
from serinus.gates.signature import signature
from serinus.gates.threshold import alert_threshold

GATES: Mapping[type, Callable[[Any], GateResult]] = {
    ScanEvidence: scan,
    ParityEvidence: parity,
    SignatureEvidence: signature,
    LoadEvidence: load,
    ExampleEvidence: example,
    GoldenEvidence: golden,
    MetamorphicEvidence: metamorphic,
    AskedEvidence: asked,
    LatencyEvidence: latency,
    MemoryEvidence: memory,
    QualityEvidence: quality,
}
"""Evidence -> its gate, in the order in which they are asked: the cheap and the dangerous first."""


def judge(evidence: AnyEvidence) -> GateResult:
    """The result of the gate that this evidence is for."""
    return GATES[type(evidence)](evidence)


__all__ = [
    "GATES",
    "GRAPH",
    "SHORT_WAYS",
    "SLOW_MS",
    "UNASKED",
    "AskedEvidence",
    "Deviation",
    "ExampleEvidence",
    "GoldenEvidence",
    "LatencyEvidence",
    "LoadEvidence",
    "MemoryEvidence",
    "MetamorphicEvidence",
    "ParityEvidence",
    "PickleImports",
    "ProtocolCheck",
    "QualityEvidence",
    "ScanEvidence",
    "Scores",
    "SignatureEvidence",
    "Transformation",
    "TransformationCheck",
    "Verdict",
    "alert_threshold",
    "asked",
    "compare",
    "conclude",
    "decide",
    "deviation",
    "differing",
    "example",
    "golden",
    "judge",
    "latency",
    "load",
    "memory",
    "metamorphic",
    "parity",
    "quality",
    "scan",
    "signature",
]
