"""Load: the release comes up in its own environment and answers its warm-up."""

from __future__ import annotations

from serinus.core.values import GateResult
from serinus.gates.evidence import LoadEvidence
from serinus.gates.results import failed, passed


def load(evidence: LoadEvidence) -> GateResult:
    details = {"seconds": evidence.seconds, "notes": list(evidence.notes)}
    if not evidence.ready:
        return failed("load", evidence.reason or "The worker did not become ready.", **details)
    took = "" if evidence.seconds is None else f" in {evidence.seconds:.1f} s"
    return passed("load", f"Loaded and warmed up{took}.", **details)
