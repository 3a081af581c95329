"""The options of `serinus up`: their types, metavars, help texts and parsers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

_T = TypeVar("_T")
_LEAST_IDLE = 1.0
"""The least idle time in seconds. The idle time of a model is not measured more precisely."""


def _quantity(parse: Callable[[object], _T], text: str) -> _T:
    """Parses a quantity as in a ModelDeployment. Raises BadParameter where it is not valid."""
    from pydantic_core import PydanticCustomError

    try:
        return parse(text)
    except PydanticCustomError as error:
        said = error.context or {}
        meant = f"; did you mean {said['meant']}?" if said.get("meant") else ""
        raise typer.BadParameter(f"expected {said['expected']}, got '{text}'{meant}") from error


def _size(text: str) -> int:
    from serinus.spec.quantities import parse_size

    return _quantity(parse_size, text)


def _share(text: str) -> float:
    from serinus.spec.quantities import parse_share

    if text == "off":
        return 0.0
    return _quantity(parse_share, text)


def _seconds(text: str) -> float:
    from serinus.spec.quantities import parse_duration

    seconds = _quantity(parse_duration, text).total_seconds()
    if seconds < _LEAST_IDLE:
        raise typer.BadParameter(f"expected at least {_LEAST_IDLE:g}s, got '{text}'")
    return seconds


def _log_to(text: str) -> str:
    if text not in ("stderr", "files"):
        raise typer.BadParameter(f"expected stderr or files, got '{text}'")
    return text


Port = Annotated[int | None, typer.Option(min=1, max=65535, show_default=False)]
Listen = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", show_default=False, help="Listen on this address instead of loopback only."),
]
Keys = Annotated[
    str | None,
    typer.Option(
        metavar="required|made|none",
        show_default=False,
        help="Whether callers of models need an API key: always, once `serinus key create` has made one, or never. "
        "Default: made; with --listen beyond loopback: required.",
    ),
]
TlsCert = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        show_default=False,
        help="Certificate of the API and of the models, in PEM, followed by its chain.",
    ),
]
TlsKey = Annotated[
    Path | None,
    typer.Option(metavar="FILE", show_default=False, help="Private key of --tls-cert, in PEM, not encrypted."),
]
ClientCa = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        show_default=False,
        help="Callers of models need a certificate that one of these authorities has issued.",
    ),
]
Insecure = Annotated[
    bool,
    typer.Option("--insecure", help="Use plain HTTP, also beyond loopback. Removes an earlier --tls-cert."),
]
MlflowUri = Annotated[
    str | None,
    typer.Option(metavar="URI", show_default=False, help="Use this MLflow server instead of starting one."),
]
MlflowCredentials = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        show_default=False,
        help="Credentials for --mlflow-uri, as lines MLFLOW_TRACKING_TOKEN=..., in a file of mode 0600. Default: "
        "those in the environment, or in ~/.mlflow/credentials.",
    ),
]
Predictions = Annotated[
    str | None,
    typer.Option(
        metavar="s3://BUCKET/PREFIX",
        show_default=False,
        help="Keep the table of the prediction log in this bucket. Credentials, region and endpoint are read from the "
        "environment, as AWS's tools do. Default: in the home.",
    ),
]
PredictionsDatabase = Annotated[
    str | None,
    typer.Option(
        metavar="postgresql://USER@HOST/DATABASE",
        show_default=False,
        help="Keep counts and outcomes of the prediction log in this database. The password is read from PGPASSWORD or "
        "PGPASSFILE. Default: in the home.",
    ),
]
Envoy = Annotated[Path | None, typer.Option(metavar="PATH", show_default=False, help="Use this Envoy binary.")]
Unconfined = Annotated[
    bool | None,
    typer.Option("--unconfined/--confined", show_default=False, help="Run models without confining them by Landlock."),
]
Interpreter = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="PATH",
        show_default=False,
        help="A further Python interpreter to build environments with. May be repeated.",
    ),
]
Index = Annotated[
    list[str] | None,
    typer.Option(
        metavar="URL", show_default=False, help="A package index that models' requirements may name. May be repeated."
    ),
]
AllowBuilds = Annotated[
    bool | None,
    typer.Option(
        "--allow-builds/--no-builds",
        show_default=False,
        help="Build packages that have no wheel from their source archives, confined and without network access. "
        "Default: --no-builds.",
    ),
]
AllowHost = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        show_default=False,
        help="A further host name by which the API may be called. May be repeated. With a port after the first one, "
        "NAME:PORT, links have that port.",
    ),
]
Memory = Annotated[
    int | None,
    typer.Option(
        parser=_size,
        metavar="SIZE",
        show_default=False,
        help="Memory that all models may use together, such as 6GiB. Beyond it the least recently used models are "
        "scaled to zero. Default: 75% of the machine's memory.",
    ),
]
Idle = Annotated[
    float | None,
    typer.Option(
        parser=_seconds,
        metavar="DURATION",
        show_default=False,
        help="Time without a request after which a model may be scaled to zero. Default: 60s.",
    ),
]
Busiest = Annotated[
    int | None,
    typer.Option(
        min=0,
        metavar="N",
        show_default=False,
        help="Number of models, the busiest first, that are not scaled to zero when they are idle. Default: 10.",
    ),
]
Recheck = Annotated[
    float | None,
    typer.Option(
        parser=_share,
        metavar="SHARE",
        show_default=False,
        help="Share of one processor that the recheck may use, at the lowest priority. The recheck answers a sample of "
        "requests again by the model's own libraries where a shorter way has answered. `off` disables it. "
        "Default: 5%.",
    ),
]
DiskBudget = Annotated[
    int | None,
    typer.Option(
        parser=_size,
        metavar="SIZE",
        show_default=False,
        help="Disk space that environments, artifacts, graphs and logs may use together, such as 50GiB. Beyond it the "
        "least recently used of those that nothing needs are removed. Default: only `serinus prune` removes them.",
    ),
]
Cluster = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        show_default=False,
        help="Run models on the Kubernetes cluster that this file describes, instead of on this machine.",
    ),
]
Foreground = Annotated[
    bool,
    typer.Option(
        "--foreground",
        help="Stay in the foreground until Ctrl-C or SIGTERM, which stop everything. For a service or a container.",
    ),
]
LogTo = Annotated[
    str,
    typer.Option(
        metavar="stderr|files",
        callback=_log_to,
        help="With --foreground: whether the logs of the processes are also copied to stderr.",
    ),
]
