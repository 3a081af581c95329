"""Names and labels of the objects of a release.

A release has one name for all of its objects: its id where that is one that Kubernetes takes, and otherwise one that is
made of it. Sources: RFC 1035 for names of Services, RFC 1123 for labels.
"""

from __future__ import annotations

import hashlib
import re

AUDIENCE = "serinus-collector"
"""The audience of the tokens by which pods identify themselves to collectors."""
PORT = 8080
HEALTH_PORT = 8081

RELEASE_LABEL, MODEL_LABEL, ROLE_LABEL = "serinus/release", "serinus/model", "serinus/role"
RELEASE_ROLE, GATEWAY_ROLE, CONTROL_ROLE, TRIAL_ROLE = "release", "gateway", "control", "trial"
"""Of pods. Releases answer gateways and the control plane alone. Trials answer nobody."""
PART_OF = {"app.kubernetes.io/part-of": "serinus", "app.kubernetes.io/managed-by": "serinus"}

_LONGEST = 63
"""Characters of a Service's name, and of a label's value."""
_DIGITS = 8
_NAME = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")
_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")


def object_name(release_id: str) -> str:
    """Of a release's objects: `card-fraud-7-3f9a2c` of the release of that id. Ids that differ have names that differ:
    what is not a name as it is ends with a part of its hash."""
    if _is(_NAME, release_id) and not _could_be_made(release_id):
        return release_id
    kept = re.sub(r"[^a-z0-9]+", "-", release_id.lower()).strip("-")
    kept = kept if kept[:1].isalpha() else f"r-{kept}"
    return f"{kept[: _LONGEST - _DIGITS - 2].rstrip('-')}-x{_hash(release_id)}"


def label_value(text: str) -> str:
    """`text` where a label can hold it, and otherwise what it can hold of it and a part of its hash."""
    if _is(_VALUE, text):
        return text
    kept = re.sub(r"[^A-Za-z0-9._-]+", "-", text)[: _LONGEST - _DIGITS - 1].strip("._-")
    return f"{kept}-{_hash(text)}" if kept else _hash(text)


def endpoint(release_id: str, namespace: str) -> str:
    """Where the release answers, for gateways: the Service by its name, which they look up in EndpointSlices."""
    return f"{object_name(release_id)}.{namespace}.svc:{PORT}"


def selector(release_id: str) -> dict[str, str]:
    """What the pods of a release have, and no other pods."""
    return {RELEASE_LABEL: object_name(release_id), ROLE_LABEL: RELEASE_ROLE}


def labels(release_id: str, model: str, version: str) -> dict[str, str]:
    """Of all objects of a release, and of its pods."""
    return {
        "app.kubernetes.io/component": RELEASE_ROLE,
        "app.kubernetes.io/instance": object_name(release_id),
        "app.kubernetes.io/name": label_value(model),
        "app.kubernetes.io/version": label_value(version),
        **PART_OF,
        MODEL_LABEL: label_value(model),
        **selector(release_id),
    }


def _is(pattern: re.Pattern[str], text: str) -> bool:
    return len(text) <= _LONGEST and pattern.fullmatch(text) is not None


def _could_be_made(name: str) -> bool:
    """Whether it has the form of a name that is made of another id."""
    return re.fullmatch(rf".*-x[0-9a-f]{{{_DIGITS}}}", name) is not None


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
