"""What the manifests of a release are made of, and how a Deployment says it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter

from serinus.core.release import Release, Scale

RELEASE, SCALE, LONG, WORKER_BYTES = "serinus/release", "serinus/scale", "serinus/long", "serinus/worker-bytes"
"""Annotations of a Deployment."""
_RELEASE, _SCALE = TypeAdapter(Release), TypeAdapter(Scale)


@dataclass(frozen=True, slots=True)
class Placed:
    """A release, and all that its manifests are made of beside `Settings`."""

    release: Release
    scale: Scale
    image: str
    """`registry/repository@sha256:...`."""
    long: bool = False
    """Distrusted: served by the model's own predict alone. `image` is then one with the model's own environment."""
    worker_bytes: int | None = None
    """Memory of one worker, as the gate measured it; None: it was not measured."""
    guarded: bool = True
    """The release answers those alone who show its router key, which the Secret of its name holds."""


def annotations_of(placed: Placed) -> dict[str, str]:
    """By which the Deployment says what it was made of."""
    long = {LONG: "true"} if placed.long else {}
    measured = {} if placed.worker_bytes is None else {WORKER_BYTES: str(placed.worker_bytes)}
    return {RELEASE: identity(placed.release), SCALE: as_json(asdict(placed.scale)), **long, **measured}


def identity(release: Release) -> str:
    """The release as JSON, but for the time at which it was made: what is placed under one id is one release."""
    said = asdict(release)
    del said["created_at"]
    return as_json(said)


def document(said: Mapping[str, str]) -> dict[str, Any]:
    """The release of these annotations, without the time at which it was made; empty: they are not of a release."""
    try:
        found = json.loads(said.get(RELEASE, ""))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def release(said: Mapping[str, str], created_at: datetime) -> Release:
    """Of these annotations. Raises ValueError: they do not say one as this version of Serinus does."""
    return _RELEASE.validate_python({**document(said), "created_at": created_at})


def worker_bytes(said: Mapping[str, str]) -> int | None:
    """Of these annotations; None: it was not measured."""
    found = said.get(WORKER_BYTES, "")
    return int(found) if found.isascii() and found.isdecimal() else None


def release_id(said: Mapping[str, str]) -> str | None:
    """Of these annotations; None: they are not of a release."""
    found = document(said).get("id")
    return found if isinstance(found, str) else None


def scale(said: Mapping[str, str]) -> Scale | None:
    """Of these annotations; None: they do not say it, or say it as no version of Serinus does."""
    try:
        return _SCALE.validate_json(said.get(SCALE, ""))
    except ValueError:
        return None


def as_json(value: Mapping[str, Any]) -> str:
    """In one form for one value."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True, allow_nan=False)
