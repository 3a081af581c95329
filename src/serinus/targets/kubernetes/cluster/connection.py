"""How the API server is reached: from a kubeconfig, or from inside of a pod."""

from __future__ import annotations

import socket
from pathlib import Path

import httpx2
import yaml
from lightkube import Client, KubeConfig
from lightkube.config.client_adapter import verify_cluster
from lightkube.config.kubeconfig import SingleConfig
from lightkube.config.models import User
from lightkube.core.exceptions import ConfigError

from serinus.core.errors import InvalidInput

_KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 25_000),
)
"""A watch reads without a time limit: the kernel says after 25 s that the other side is gone."""
_CONNECTIONS = httpx2.Limits(max_connections=64, max_keepalive_connections=16)
"""Each watch has one of its own."""


def configuration(kubeconfig: Path | None, context: str | None = None) -> SingleConfig:
    """None: that of the pod that this process runs in. Raises InvalidInput: there is none, or it cannot be read."""
    try:
        found = KubeConfig.from_service_account() if kubeconfig is None else KubeConfig.from_file(kubeconfig)
        chosen = found.get(context)
    except ConfigError as error:
        where = "of this pod's service account" if kubeconfig is None else f"{kubeconfig}"
        raise InvalidInput(f"The kubeconfig {where} cannot be used: {error}.") from error
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError, OSError) as error:
        # Neither the content nor what the parser quotes of it is shown: it may hold a token.
        where = f"{kubeconfig}" if kubeconfig else "of this pod"
        raise InvalidInput(f"The kubeconfig {where} cannot be read: {type(error).__name__}.") from error
    if chosen is None:
        raise InvalidInput(f"The kubeconfig {kubeconfig} names no current context.", hint="Name one.")
    return chosen


class Gate(httpx2.HTTPTransport):
    """Sends requests until it is closed for new ones. Those that are under way are not disturbed."""

    closed = False

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        if self.closed:
            raise httpx2.ConnectError("the client was closed", request=request)
        return super().handle_request(request)


def client(config: SingleConfig, seconds: float, manager: str) -> tuple[Client, Gate]:
    """`seconds`: of each part of a call; `manager`: of the fields that it writes. Proxies of the environment are not
    used. Raises InvalidInput: its certificates cannot be read."""
    config = config._replace(user=config.user or User())
    try:
        context = verify_cluster(config.cluster, config.user or User(), config.abs_file, trust_env=False)
    except (OSError, ValueError, ConfigError) as error:
        raise InvalidInput(f"The certificates of the kubeconfig cannot be used: {error}.") from error
    transport = Gate(verify=context, limits=_CONNECTIONS, socket_options=_KEEPALIVE)
    timeout = httpx2.Timeout(seconds)
    made = Client(config, timeout=timeout, field_manager=manager, trust_env=False, transport=transport)
    return made, transport
