"""What takes how much disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field

from serinus.resources.base import Answer, Request

Kind = Literal["environments", "artifacts", "graphs", "logs"]


class DiskItem(Answer):
    """One environment, artifact, graph or log."""

    kind: str
    name: str
    """A digest, or of a log the release."""
    models: Sequence[str]
    """That have a release of it; empty: none is known."""
    bytes: int
    freed: int
    """Bytes that it does not share with others."""
    used_at: float
    """Unix time."""
    needed: str
    """Why it is kept; empty: nothing needs it."""


class DiskUsage(Answer):
    kinds: Mapping[str, int]
    """Kind -> bytes. Also of kinds that have no items here, which are only measured."""
    items: Sequence[DiskItem]
    """The largest first."""
    budget: int | None
    """Bytes that all items may take together before what nothing needs is removed; null: there is no budget."""
    free: int
    """Bytes that are free on this disk."""


class ItemRequest(Request):
    kind: Kind
    name: Annotated[str, Field(min_length=1, max_length=512)]


class PruneRequest(Request):
    """What is to be removed, as `GET /v1/disk` names it."""

    items: Annotated[Sequence[ItemRequest], Field(max_length=20_000)]


class RemovedItem(Answer):
    kind: str
    name: str
    bytes: int
    """That were freed."""


class KeptItem(RemovedItem):
    why: str
    """What needs it, or why it could not be removed."""


class Pruned(Answer):
    removed: Sequence[RemovedItem]
    kept: Sequence[KeptItem]
    free: int
    """Bytes that are free on this disk."""
