"""The gates: checks before a release gets traffic. Pure functions from evidence to a `GateResult`."""

from __future__ import annotations

from serinus.gates.alike import differing
from serinus.gates.asked import UNASKED, asked
from serinus.gates.evidence import (
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

__all__ = [
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
    "latency",
    "load",
    "memory",
    "metamorphic",
    "parity",
    "quality",
    "scan",
    "signature",
]
