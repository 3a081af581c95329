"""Checks that started processes answer."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
from pydantic import TypeAdapter

from serinus.core.errors import Unavailable
from serinus.core.home import Home
from serinus.lib.plain_http import NO_TLS
from serinus.predictions.status import is_waiting
from serinus.resources import SilentModel
from serinus.targets.local.supervisor import tls
from serinus.targets.local.supervisor.settings import Settings

_COMING = ("starting", "not placed")
"""States as the API reports them. A host that was just started is told again which releases are placed."""

_SILENT = TypeAdapter(Sequence[SilentModel])


@dataclass(frozen=True, slots=True)
class Check:
    """A check of one process."""

    process: str
    """The process that must run."""
    label: str
    answers: Callable[[], bool]


def local_checks(home: Home, settings: Settings) -> Sequence[Check]:
    """Returns the checks of all processes on this machine."""
    context = tls.own_context(home) if settings.tls_files else None
    client = httpx.Client(timeout=2, trust_env=False, verify=context or NO_TLS)
    found = [
        Check("collector", "prediction log", partial(_collects, home)),
        Check("control", "api", partial(_api_answers, client, home, settings)),
    ]
    if settings.serves:
        found += [
            Check("holder", "socket holder", partial(_accepts, home.holder_socket, socket.SOCK_SEQPACKET)),
            Check("host", "model host", partial(_speaks, home.host_socket)),
            Check("envoy", "envoy", partial(_envoy_answers, client, settings, context)),
        ]
    if settings.mlflow_uri is None:
        found.append(Check("mlflow", "mlflow", partial(_mlflow_answers, client, settings)))
    return found


def _envoy_answers(client: httpx.Client, settings: Settings, context: ssl.SSLContext | None) -> bool:
    """Whether Envoy answers. Where callers need a certificate, it is only checked that Envoy presents its own."""
    if context is None or settings.client_ca is None:
        return _ok(client, f"{settings.url('envoy')}/v2/health/live")
    try:
        with (
            socket.create_connection((settings.listen, settings.ports["envoy"]), timeout=2) as connection,
            context.wrap_socket(connection),
        ):
            return True
    except OSError:
        return False


def _api_answers(client: httpx.Client, home: Home, settings: Settings) -> bool:
    """Whether the API answers, on its socket and on its address."""
    return home.token.exists() and _accepts(home.api_socket) and _ok(client, f"{settings.url('api')}/healthz")


def _mlflow_answers(client: httpx.Client, settings: Settings) -> bool:
    """Whether MLflow answers, and has answered the engine, whose first attempts may have been too early."""
    return _ok(client, f"{settings.registry}/health") and _registry_is_read(client, settings)


def _registry_is_read(client: httpx.Client, settings: Settings) -> bool:
    try:
        told = client.get(f"{settings.url('api')}/healthz").raise_for_status().json()
    except (httpx.HTTPError, ValueError):
        return False
    return isinstance(told, dict) and told.get("registry") is True


def registry_trouble(settings: Settings) -> str:
    """Returns what is wrong with a registry of others. `up` does not wait for it. Empty: it answers."""
    uri = settings.mlflow_uri
    if uri is None or not uri.startswith(("http://", "https://")):
        return ""  # The bundled server, or a database or directory, which has no HTTP.
    with httpx.Client(timeout=3) as client:
        if _ok(client, f"{uri.rstrip('/')}/health"):
            return ""
    return "the MLflow server does not answer: serving goes on, but nothing can be deployed until it answers"


@dataclass(frozen=True, slots=True)
class Silent:
    """A model whose champion does not answer."""

    model: str
    why: str
    coming: bool
    """Whether it is still starting."""


def silent_models(home: Home, settings: Settings) -> Sequence[Silent]:
    """Returns the models whose champion does not answer, and is not scaled to zero. Raises Unavailable where the API
    does not answer."""
    verify = tls.own_context(home) if settings.tls_files else NO_TLS
    try:
        headers = {"Authorization": f"Bearer {home.token.read_text().strip()}"}
        with httpx.Client(timeout=5, trust_env=False, verify=verify, headers=headers) as client:
            told = client.get(f"{settings.url('api')}/v1/silent-models").raise_for_status().content
        silent = _SILENT.validate_json(told)
    except (OSError, httpx.HTTPError, ValueError) as error:
        raise Unavailable("the API does not say which models answer") from error
    return [
        Silent(one.model, one.placement + (f": {one.remarks}" if one.remarks else ""), coming=one.placement in _COMING)
        for one in silent
    ]


def _collects(home: Home) -> bool:
    """Whether the collector takes records, or waits until the one of another home has ended."""
    return _accepts(home.log_socket) or is_waiting(home)


def _accepts(path: Path, kind: socket.SocketKind = socket.SOCK_STREAM) -> bool:
    with socket.socket(socket.AF_UNIX, kind) as probe:
        probe.settimeout(1)
        return probe.connect_ex(str(path)) == 0


def _speaks(path: Path) -> bool:
    """Whether a socket answers HTTP with any status. The process has then also adopted what the one before has left."""
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path), verify=NO_TLS), timeout=2) as client:
        return _ok(client, "http://host/")


def _ok(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(url).status_code < 500
    except (httpx.HTTPError, httpx.InvalidURL):
        return False
