"""The verb `serinus install`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from serinus.cli.session import Session


def install(
    at: Session,
    values: Annotated[Path, typer.Argument(metavar="VALUES", help="The values of the Helm chart, as a YAML file.")],
    namespace: Annotated[
        str, typer.Option(metavar="NAME", help="The namespace of the control plane and of gateways. It must exist.")
    ] = "serinus",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be applied, and ask nobody.")] = False,
    image: Annotated[
        bool,
        typer.Option("--image", help="Build and push the image of the control plane, and print its reference instead."),
    ] = False,
    base: Annotated[
        str | None,
        typer.Option(
            metavar="REFERENCE",
            show_default=False,
            help="With --image: the base, with its digest. It must have git. Default: the base of releases.",
        ),
    ] = None,
    python: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            show_default=False,
            help="With --image: a relocatable installation of Python. Default: the one that runs Serinus.",
        ),
    ] = None,
    kubeconfig: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", show_default=False, help="Default: the file in KUBECONFIG, or else ~/.kube/config."
        ),
    ] = None,
    of_file: Annotated[
        str | None,
        typer.Option("--context", metavar="NAME", show_default=False, help="Default: the file's current context."),
    ] = None,
) -> None:
    """Install the control plane in a Kubernetes cluster, as the Helm chart does.

    The objects are those of the chart in `deploy/chart/serinus`, for the same values. Use one of both for an
    installation. The Secrets that the values name are made before.

    \b
      serinus install values.yaml --image --base registry.example/serinus/control-base@sha256:...
      serinus install values.yaml --dry-run
      serinus install values.yaml --namespace serinus
    """
    from serinus.targets.local.supervisor import extras

    extras.check_cluster()
    from serinus.wiring import control_plane

    say = at.out.aside
    if image:
        reference = control_plane.push_image(values, base, python, say)
        at.out.json({"image": str(reference)}) if at.out.as_json else at.out.line(str(reference))
        return
    if dry_run:
        found = control_plane.objects(values, namespace)
        at.out.json(found) if at.out.as_json else print(control_plane.text(found), end="")
        return
    control_plane.apply_by(values, namespace, kubeconfig or _kubeconfig(), of_file, say)
    if not at.out.as_json:
        at.out.line(f"Applied. `kubectl -n {namespace} rollout status statefulset/serinus-control` waits for its pods.")


def _kubeconfig() -> Path:
    named = os.environ.get("KUBECONFIG", "").partition(os.pathsep)[0]
    return Path(named) if named else Path.home() / ".kube" / "config"
