"""What Argo CD says of a release, in its own words. Pure.

They are quoted in part, on one line and without credentials.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from serinus.core.text import one_line

Object = Mapping[str, Any]

PATIENCE = 60.0
"""The time, in seconds, after which an Application that is OutOfSync is worth a word. Others are while they sync."""
_LONGEST = 300
"""The largest number of characters of Argo CD's own words."""
_FAILED = frozenset({"Failed", "Error"})


def trouble(application: Object, out_of_sync: float = 0.0) -> str:
    """Returns what is wrong. Empty: nothing is, as far as Argo CD says. `out_of_sync`: seconds for which it has been
    OutOfSync."""
    status = _of(application, "status")
    return (
        _failing(one for one in status.get("conditions") or () if str(one.get("type")).endswith("Error"))
        or _failed_sync(_of(status, "operationState"))
        or _degraded(status)
        or (_drift(status) if out_of_sync > PATIENCE else "")
    )


def state(application: Object) -> str:
    """Returns what it is at: `OutOfSync, Missing`."""
    status = _of(application, "status")
    found = [_of(status, name).get("status") for name in ("sync", "health")]
    return ", ".join(one_line(str(one)) for one in found if one) or "not looked at yet"


def is_out_of_sync(application: Object) -> bool:
    return _of(_of(application, "status"), "sync").get("status") == "OutOfSync"


def trouble_of_set(application_set: Object) -> str:
    """Returns why it makes no Applications. Empty: it does, as far as Argo CD says."""
    conditions = _of(application_set, "status").get("conditions") or ()
    return _failing(one for one in conditions if one.get("type") == "ErrorOccurred" and one.get("status") == "True")


def _failing(conditions: Iterable[Object]) -> str:
    for one in conditions:
        return f"Argo CD reports {one_line(str(one.get('type')))}: {_quoted(one.get('message'))}"
    return ""


def _failed_sync(operation: Object) -> str:
    """Also of one that failed and is being tried again."""
    refused = [
        f"{_named(one)}: {_quoted(one.get('message'))}"
        for one in _of(operation, "syncResult").get("resources") or ()
        if one.get("status") == "SyncFailed"
    ]
    if operation.get("phase") not in _FAILED and not (operation.get("phase") == "Running" and refused):
        return ""
    return f"Argo CD cannot apply it: {'; '.join(refused[:2]) or _quoted(operation.get('message'))}"


def _degraded(status: Object) -> str:
    if _of(status, "health").get("status") != "Degraded":
        return ""
    found = [
        f"{_named(one)}: {_quoted(_of(one, 'health').get('message'))}"
        for one in status.get("resources") or ()
        if _of(one, "health").get("status") == "Degraded"
    ]
    return f"Argo CD reports it as Degraded{': ' if found else ''}{'; '.join(found[:2])}"


def _drift(status: Object) -> str:
    found = [_named(one) for one in status.get("resources") or () if one.get("status") == "OutOfSync"]
    return f"Argo CD reports it as OutOfSync{': ' if found else ''}{', '.join(found[:3])}"


def _named(resource: Object) -> str:
    return one_line(f"{resource.get('kind')} {resource.get('name')}")


def _of(value: Object, name: str) -> Object:
    found = value.get(name)
    return found if isinstance(found, Mapping) else {}


def _quoted(text: object) -> str:
    return one_line(str(text or ""))[:_LONGEST].rstrip(". ") or "no reason given"
