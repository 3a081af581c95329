"""The verb `serinus deploy`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serinus.cli import words
from serinus.cli.session import Session, Why
from serinus.cli.watch import watch
from serinus.cli.words import Document
from serinus.core.errors import InvalidInput

if TYPE_CHECKING:
    from serinus.resources import Deployed


def deploy(
    at: Session,
    what: Annotated[
        str, typer.Argument(metavar="REF|SPEC", help="MODEL@VERSION, MODEL@ALIAS, or the file of a ModelDeployment.")
    ],
    spec: Annotated[
        Path | None,
        typer.Option(metavar="FILE", show_default=False, help="Deploy REF with the ModelDeployment in this file."),
    ] = None,
    reason: Why = "",
    detach: Annotated[bool, typer.Option("--detach", help="Start the rollout and return at once.")] = False,
    supersede: Annotated[bool, typer.Option("--supersede", help="Replace a rollout that is in flight.")] = False,
) -> None:
    """Deploy a version: build its environment, check it at the gates, and take it by canary to full traffic or abort.

    Ctrl-C stops watching, and the rollout continues (exit code 130). Exit code 0: promoted, or there was nothing to do;
    1: aborted, refused or failed. A version that was aborted before needs a --reason. A spec file alone deploys the
    version that has the alias challenger.

    \b
      serinus deploy card-fraud@7
      serinus deploy card-fraud@challenger --detach
      serinus deploy card-fraud.yaml
      serinus deploy card-fraud@7 --spec card-fraud.yaml --reason "the feed is mended"
    """
    ref, file = _what(what, spec)
    wish = {"ref": ref, "why": reason, "supersede": supersede}
    begun = at.client.post("/v1/deployments", {**wish, **(read_spec(file) if file else {})})
    follow(at, begun, detach=detach)


def follow(at: Session, begun: Document, *, detach: bool) -> None:
    """Watches the rollout that the API has answered (`begun`) until it has ended. Raises Exit."""
    from serinus.cli.answers import read
    from serinus.resources import Deployed, ShownRollout

    deployed = read(Deployed, begun)
    if not at.out.as_json:
        at.out.line(deployed.message, style="bold")
        _advise(at, deployed, detach=detach)
    if deployed.done or detach or deployed.rollout is None:
        if at.out.as_json:
            at.out.json(begun)
        elif detach and not deployed.done and deployed.rollout is not None:
            at.out.line(_look_again(deployed.rollout))
        return
    try:
        last = watch(at.client, deployed.rollout, at.out)
    except KeyboardInterrupt:
        if not at.out.as_json:
            at.out.line(f"\n{deployed.rollout} continues in the background. {_look_again(deployed.rollout)}")
        raise typer.Exit(130) from None
    rollout = read(ShownRollout, last)
    if at.out.as_json:
        at.out.json(last)
    elif not words.succeeded(rollout):
        at.out.line(f"`serinus explain {rollout.id}` shows every gate and number.")
    raise typer.Exit(0 if words.succeeded(rollout) else 1)


def _advise(at: Session, deployed: Deployed, *, detach: bool) -> None:
    """Prints the advice. While the rollout is watched, its warnings are printed as notes of the rollout."""
    if deployed.estimate:
        at.out.line(deployed.estimate.text)
    for warning in deployed.warnings if detach else ():
        at.out.line(f"warning: {warning}", style="yellow")


def _what(what: str, spec: Path | None) -> tuple[str | None, Path | None]:
    """Returns the reference and the spec file."""
    path = Path(what)
    if spec is None and (path.suffix in (".yaml", ".yml") or path.is_file()):
        return None, path
    return what, spec


def read_spec(path: Path) -> Document:
    """Returns the spec in the form of the API, with its name for errors."""
    try:
        return {"spec": path.read_text(encoding="utf-8"), "spec_name": str(path)}
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InvalidInput(f"{path} cannot be read: {reason}", hint="`serinus init MODEL` writes one.") from None


def _look_again(rollout: str) -> str:
    more = f"`serinus explain {rollout}` its details, and `serinus abort {rollout}` aborts it."
    return f"`serinus status` shows its progress, {more}"
