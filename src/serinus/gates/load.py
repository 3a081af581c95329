"""The gate `load`: the release starts in its own environment and answers its warm-up request."""

from __future__ import annotations

from dataclasses import asdict

from serinus.core.examination import GateResult, VersionDifference
from serinus.gates.evidence import LoadEvidence
from serinus.gates.results import failed, passed, undecided


def load(evidence: LoadEvidence) -> GateResult:
    """Fails where the worker is not ready.

    The result is inconclusive where the model's own library has another version than MLmodel names, or issued a
    warning. Other libraries are only mentioned in the evidence.
    """
    details = {
        "seconds": evidence.seconds,
        "warm_up_ms": evidence.warm_up_ms,
        "notes": list(evidence.notes),
        "warnings": [asdict(warned) for warned in evidence.warnings],
        "versions": [asdict(version) for version in evidence.versions],
    }
    if not evidence.ready:
        return failed("load", evidence.reason or "The worker did not become ready.", **details)
    took = "" if evidence.seconds is None else f" in {evidence.seconds:.1f} s"
    said = (
        f"The model was loaded and warmed up{took}."
        if evidence.warm_up_ms is not None
        else f"Loaded{took}, not warmed up."
    )
    doubts = [_difference(version) for version in evidence.versions if version.own]
    doubts += [f"{w.category} of {w.library or 'a library'}: {w.message}" for w in evidence.warnings if w.own]
    if doubts:
        more = f" ({len(doubts) - 1} more)" if len(doubts) > 1 else ""
        return undecided("load", f"{said} {doubts[0].rstrip('.')}.{more}", blocking=True, **details)
    others = len(evidence.warnings) + len(evidence.versions)
    return passed("load", f"{said} {_others(others)}" if others else said, **details)


def _difference(version: VersionDifference) -> str:
    installed = f"{version.installed} is installed" if version.installed else "none is installed"
    return f"The model was logged with {version.library} {version.logged}; {installed}"


def _others(count: int) -> str:
    noun = "warning or version difference" if count == 1 else "warnings and version differences"
    return f"{count} {noun} of other libraries."
