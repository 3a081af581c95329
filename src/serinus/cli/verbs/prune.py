"""The verb `serinus prune`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from serinus.cli.session import Session, Yes
from serinus.cli.verbs.disk import counted, short_name, size

if TYPE_CHECKING:
    from serinus.resources import DiskItem

REMOVE_SECONDS = 600.0


def prune(
    at: Session,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be removed.")] = False,
    yes: Yes = False,
) -> None:
    """Remove the environments, artifacts, graphs and logs that nothing needs.

    Kept are those of champions, of the champions before them, of rollouts in flight, of everything that is still
    running, and of former champions while their successors are watched (`watch.after` of the spec). Logs are kept for
    a week. What is removed is made again when a version that needs it is deployed. The verb asks for confirmation and
    needs the role admin.

    With `serinus up --disk-budget SIZE` they are removed automatically, the least recently used first.

    \b
      serinus prune --dry-run
      serinus prune --yes
    """
    from serinus.cli.answers import read
    from serinus.resources import DiskUsage, Pruned

    usage = at.client.get("/v1/disk")
    items = [one for one in read(DiskUsage, usage).items if not one.needed]
    documents = [one for one in usage["items"] if not one["needed"]]
    if not at.out.as_json:
        _show(at, items)
    if dry_run or not items:
        if at.out.as_json:
            at.out.json({"would_remove": documents, "removed": [], "kept": []})
        return
    at.out.confirm(f"Remove {counted(len(items))} ({_sum(items)})?", yes=yes)
    wanted = [{"kind": one.kind, "name": one.name} for one in items]
    answer = at.client.post("/v1/disk/prune", {"items": wanted}, seconds=REMOVE_SECONDS)
    if at.out.as_json:
        at.out.json({"would_remove": documents, **answer})
        return
    found = read(Pruned, answer)
    for one in found.kept:
        at.out.line(f"kept: {one.kind} {one.name[:12]}: {one.why}")
    at.out.line(f"{counted(len(found.removed))} removed. {size(found.free)} are free on this disk.")


def _show(at: Session, items: Sequence[DiskItem]) -> None:
    if not items:
        at.out.line("There is nothing to remove: everything is needed.")
        return
    rows = [[one.kind, short_name(one), ", ".join(one.models), size(one.freed)] for one in items]
    at.out.table(["kind", "name", "models", "size"], rows)
    at.out.line(f"Nothing needs {counted(len(items))}, {_sum(items)} together.")


def _sum(items: Sequence[DiskItem]) -> str:
    return size(sum(one.freed for one in items))
