"""The verb `serinus init`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from serinus.cli.session import Session, part
from serinus.core.errors import Refused
from serinus.lib import files


def init(
    at: Session,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A registered model in MLflow.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            show_default=False,
            help="The file to write. Default: MODEL.yaml; - is stdout.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Write a ModelDeployment with sensible values and short comments, from what MLflow knows of the model.

    \b
      serinus init card-fraud
      serinus init card-fraud -o deployments/card-fraud.yaml
    """
    from serinus.cli.answers import read
    from serinus.resources import InitialSpec

    answer = at.client.get(f"/v1/spec/{part(model)}")
    spec = read(InitialSpec, answer).spec
    path = output or Path(f"{model}.yaml")
    if str(path) == "-":
        at.out.json(answer) if at.out.as_json else print(spec, end="")
        return
    if path.exists() and not force:
        raise Refused(f"{path} already exists", hint="Use --force to overwrite it, or choose another file with -o.")
    _write(path, spec)
    if at.out.as_json:
        at.out.json({**answer, "file": str(path)})
        return
    at.out.line(f"{path} is written. Next: `serinus deploy {model}@VERSION --spec {path}`.")


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(path, text, mode=None)
    except OSError as error:
        raise Refused(f"{path} cannot be written: {error.strerror}", hint="Choose another place with -o.") from None
