"""The verb `serinus disk`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from serinus.cli.session import Session

if TYPE_CHECKING:
    from serinus.resources import DiskItem, DiskUsage


def disk(
    at: Session,
    items: Annotated[bool, typer.Option("--items", help="List each environment, artifact, graph and log.")] = False,
) -> None:
    """Show the disk space in use by kind and by model, and how much of it nothing needs.

    Disk space that several models share is counted for each of them, and once in the total of its kind. Packages are
    hard links into the cache of uv, which lies outside of the home and keeps them until `uv cache prune` is run.

    \b
      serinus disk
      serinus disk --items
    """
    from serinus.cli.answers import read
    from serinus.resources import DiskUsage

    answer = at.client.get("/v1/disk")
    if at.out.as_json:
        at.out.json(answer)
        return
    found = read(DiskUsage, answer)
    of_kind: dict[str, list[DiskItem]] = {kind: [] for kind in found.kinds}
    for one in found.items:
        of_kind[one.kind].append(one)
    rows = []
    for kind, bytes_ in found.kinds.items():
        unneeded = [one for one in of_kind[kind] if not one.needed]
        count = f"{len(of_kind[kind]):,}" if of_kind[kind] else ""
        rows.append([kind, size(bytes_), count, size(sum(one.freed for one in unneeded)) if unneeded else ""])
    at.out.table(["kind", "size", "items", "not needed"], rows)
    at.out.line()
    if items:
        columns = ["kind", "name", "models", "size", "needed"]
        at.out.table(columns, [_row(one) for one in found.items])
    else:
        at.out.table(["model", "size"], [[model, size(sum_)] for model, sum_ in _by_model(found).items()])
    unneeded = [one for one in found.items if not one.needed]
    if unneeded:
        at.out.line(f"Nothing needs {counted(len(unneeded))}. `serinus prune` removes them.")
    budget = f", budget {size(found.budget)}" if found.budget is not None else ""
    at.out.line(f"{size(found.free)} are free on this disk{budget}.")


def size(bytes_: int) -> str:
    """Returns the size in the form `1.4 GiB`."""
    amount = float(bytes_)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def counted(items: int) -> str:
    """Returns the number of items in words."""
    return "1 item" if items == 1 else f"{items:,} items"


def short_name(one: DiskItem) -> str:
    """Returns the name, or the beginning of a digest."""
    return one.name if one.kind == "logs" else one.name[:12]


def _row(one: DiskItem) -> list[str]:
    return [one.kind, short_name(one), ", ".join(one.models), size(one.bytes), one.needed or "not needed"]


def _by_model(found: DiskUsage) -> Mapping[str, int]:
    """Returns bytes by model, the largest first."""
    sums: dict[str, int] = {}
    for one in found.items:
        for model in one.models or ["of no release"]:
            sums[model] = sums.get(model, 0) + one.bytes
    return dict(sorted(sums.items(), key=lambda entry: -entry[1]))
