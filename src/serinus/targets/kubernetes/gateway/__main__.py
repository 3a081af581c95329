"""The agent of a gateway: `python -m serinus.targets.kubernetes.gateway --home DIRECTORY ...`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from serinus.backends.envoy import Crowding, admin_socket, bootstrap, configure, places
from serinus.core.errors import SerinusError
from serinus.core.home import Home
from serinus.core.text import configure_logging
from serinus.targets.kubernetes.cluster import Cluster
from serinus.targets.kubernetes.gateway import certificates, replies
from serinus.targets.kubernetes.gateway.agent import LARGEST_LOG, Agent
from serinus.targets.kubernetes.gateway.certificates import Renewal
from serinus.targets.kubernetes.gateway.cluster_board import ClusterGatewayBoard, Places
from serinus.targets.kubernetes.gateway.health import Health
from serinus.targets.kubernetes.gateway.instance import Instance, begin


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gateway-agent")
    parser.add_argument("--home", type=Path, required=True, help="directory that Envoy and this agent share")
    parser.add_argument("--namespace", required=True, help="of this gateway")
    parser.add_argument("--models", required=True, help="namespace of the releases")
    parser.add_argument("--pod", required=True, help="name of this pod")
    parser.add_argument("--uid", required=True, help="uid of this pod")
    parser.add_argument("--address", default="0.0.0.0", help="on which everything listens")  # noqa: S104  the network policy says who comes
    parser.add_argument("--port", type=int, required=True, help="of callers")
    parser.add_argument("--probe-port", type=int, required=True, help="of the control plane's probes")
    parser.add_argument("--health-port", type=int, required=True, help="of the kubelet and Prometheus")
    parser.add_argument("--api-keys", choices=("required", "made", "none"), default="made")
    parser.add_argument("--tls", type=Path, help="directory with tls.crt and tls.key")
    parser.add_argument("--client-certificates", action="store_true", help="callers need one; ca.crt vouches for them")
    parser.add_argument("--collectors", nargs="+", default=(), help="host:port of each collector of local replies")
    parser.add_argument("--collectors-name", help="name in the collectors' certificates")
    parser.add_argument("--collectors-authority", type=Path, help="file with who has signed their certificates, PEM")
    parser.add_argument("--collectors-token", type=Path, help="file with the token that this gateway shows to them")
    parser.add_argument("--kubeconfig", type=Path, help="in the place of the pod's service account")
    return parser


def run(given: argparse.Namespace, stop: threading.Event) -> None:
    """Until `stop`. Raises SerinusError and OSError: this gateway cannot be."""
    home = Home(given.home)
    for directory in (home.sockets, home.envoy):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    renewal = Renewal(home, given.tls, callers=given.client_certificates) if given.tls else None
    served = certificates.read(given.tls, callers=given.client_certificates) if given.tls else None
    settings = bootstrap(
        home, port=given.port, probe_port=given.probe_port, address=given.address, api_keys=given.api_keys
    )
    configure(home, settings, served)
    begin(home)
    cluster = Cluster.connected(given.kubeconfig)
    board = ClusterGatewayBoard(cluster, Places(given.namespace, given.models))
    collected = bool(given.collectors)
    largest = None if collected else LARGEST_LOG
    agent = Agent(Instance(home, admin_socket(home)), board, given.pod, given.uid, largest_log=largest)
    loops = {
        "apply": lambda: agent.run(stop.is_set),
        "report": lambda: agent.report(stop.is_set),
        **({"replies": lambda: replies.forward(home, replies.collectors(given), stop)} if collected else {}),
        "crowding": lambda: Crowding(home, admin_socket(home), places()).run(stop),
    }
    threads = [threading.Thread(target=loop, name=name, daemon=True) for name, loop in loops.items()]
    ended = _why_dead(threads)
    health = Health(given.address, given.health_port, ready=agent.ready, live=ended, metrics=agent.metrics)
    for thread in threads:
        thread.start()
    health.start()
    while not stop.wait(certificates.SECONDS):
        if renewal is not None:
            renewal.look()
    agent.wake()
    health.close()
    board.close()


def _why_dead(threads: list[threading.Thread]) -> Callable[[], str]:
    def why() -> str:
        return ", ".join(f"the loop {thread.name} has ended" for thread in threads if not thread.is_alive())

    return why


def main() -> int:
    configure_logging()
    given = arguments().parse_args()
    os.umask(0o077)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        run(given, stop)
    except (SerinusError, OSError) as error:
        print(f"the gateway cannot start: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
