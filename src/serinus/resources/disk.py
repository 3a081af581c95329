"""Disk usage."""

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
    """A digest. For a log, the release."""
    models: Sequence[str]
    """The models that have a release with it. Empty: none is known."""
    bytes: int
    freed: int
    """Bytes that it does not share with other items."""
    used_at: float
    """The Unix time of its last use."""
    needed: str
    """Why it is kept. Empty: nothing needs it."""


class DiskUsage(Answer):
    """The disk usage of an installation."""

    kinds: Mapping[str, int]
    """Bytes by kind, including kinds without items, which are only measured."""
    items: Sequence[DiskItem]
    """Sorted by size, the largest first."""
    budget: int | None
    """Bytes that all items may take together before those that nothing needs are removed. null: there is no budget."""
    free: int
    """Free bytes of the file system."""


class ItemRequest(Request):
    """One item to remove."""

    kind: Kind
    name: Annotated[str, Field(min_length=1, max_length=512)]


class PruneRequest(Request):
    """The items to remove, named as in `GET /v1/disk`."""

    items: Annotated[Sequence[ItemRequest], Field(max_length=20_000)]


class RemovedItem(Answer):
    """An item that was removed."""

    kind: str
    name: str
    bytes: int
    """Bytes that were freed."""


class KeptItem(RemovedItem):
    """An item that was not removed."""

    why: str
    """What needs it, or why it could not be removed."""


class Pruned(Answer):
    """The result of a removal."""

    removed: Sequence[RemovedItem]
    kept: Sequence[KeptItem]
    free: int
    """Free bytes of the file system."""
