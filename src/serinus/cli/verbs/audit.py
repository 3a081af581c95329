"""The verb `serinus audit`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from serinus.cli.session import Session
from serinus.cli.words import Document, utc
from serinus.core.events import AuditEntry

PAGE = 1000


def audit(
    at: Session,
    after: Annotated[int, typer.Option(min=0, metavar="NUMBER", help="Show only entries after this number.")] = 0,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", show_default=False, help="Show only entries about this model.")
    ] = None,
    lines: Annotated[
        int | None,
        typer.Option("--lines", "-n", min=1, max=PAGE, show_default=False, help="Show only the last N entries."),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check the chain of all entries instead of showing them.")
    ] = False,
) -> None:
    """Show who did what, when, why and from where. With --json, each entry is one line.

    --verify checks that no entry was changed, removed or inserted: exit code 1 if the chain is broken.

    \b
      serinus audit -n 20
      serinus audit --model card-fraud
      serinus audit --verify
    """
    from serinus.cli.answers import read

    if verify:
        _verify(at)
        return
    for entry in _entries(at, after, model, lines):
        if at.out.as_json:
            at.out.json(entry, lines=True)
        else:
            at.out.line(_line(read(AuditEntry, entry)))


def _line(entry: AuditEntry) -> str:
    why = f"  ({entry.why})" if entry.why else ""
    owner = entry.details.get("owner", "")
    who = f"{entry.who} ({owner})" if owner and owner != entry.who else entry.who
    head = f"{entry.number:>5}  {utc(entry.at)}  {who}"
    return f"{head}  {entry.what}  {entry.subject}  from {entry.origin or 'unknown'}{why}"


def _entries(at: Session, after: int, model: str | None, lines: int | None) -> Iterator[Document]:
    if lines is not None:
        yield from at.client.get("/v1/audit", after=after, model=model, limit=lines, newest=True)
        return
    while page := at.client.get("/v1/audit", after=after, model=model, limit=PAGE):
        yield from page
        after = page[-1]["number"]
        if len(page) < PAGE:
            return


def _verify(at: Session) -> None:
    from serinus.cli.answers import read
    from serinus.resources import AuditChain

    answer = at.client.get("/v1/audit/verify")
    found = read(AuditChain, answer)
    if at.out.as_json:
        at.out.json(answer)
    elif found.holds:
        at.out.line("The chain holds: no entry was changed, removed or inserted.", style="green")
    else:
        at.out.line(f"The chain is broken at entry {found.broken_at}.", style="bold red")
    raise typer.Exit(0 if found.holds else 1)
