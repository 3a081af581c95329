"""Gateways on loopback: real Envoys with real agents, and between them and the control plane a board in memory."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from envoy_harness import Releases
from waiting import free_port, wait_until

from serinus.backends.envoy import admin_socket, bootstrap, configure
from serinus.core.home import Home
from serinus.core.keys import ROUTER_HEADER, router_key
from serinus.core.routing import Arm, Role
from serinus.lib.plain_http import NO_TLS
from serinus.targets.kubernetes.gateway.agent import Agent
from serinus.targets.kubernetes.gateway.board import Board, GatewayBoard, Stale, Stored
from serinus.targets.kubernetes.gateway.counting import Pod, Report
from serinus.targets.kubernetes.gateway.instance import Instance, begin
from serinus.targets.kubernetes.gateway.proxy import command
from serinus.targets.kubernetes.gateway.publication import Publication, Wanted, parse
from serinus.targets.kubernetes.gateway.router import ClusterRouter, Patience
from serinus.targets.kubernetes.gateway.slices import members

SECRET = "secret of the control plane"


def key_of(release: str) -> str:
    return router_key(SECRET, release)


class MemoryBoard:
    """As `ClusterBoard`, without an API server. `away`: nobody is answered."""

    def __init__(self) -> None:
        self.stored: Stored | None = None
        self.kept_pods: Callable[[], Sequence[Pod]] = tuple
        self.kept_reports: dict[str, Report] = {}
        self.slices: list[Mapping[str, Any]] = []
        self._lock = threading.Lock()
        self._followers: list[Callable[[], None]] = []
        self._numbers = itertools.count(1)

    def read(self) -> Stored | None:
        return self.stored

    def publish(self, publication: Publication, revision: str | None) -> Stored:
        with self._lock:
            if (self.stored.revision if self.stored else None) != revision:
                raise Stale
            self.stored = Stored(publication, str(next(self._numbers)))
            stored = self.stored
        self.tell()
        return stored

    def pods(self) -> Sequence[Pod]:
        return self.kept_pods()

    def reports(self) -> Sequence[Report]:
        return list(self.kept_reports.values())

    def members(self, endpoints: Sequence[str]) -> Mapping[str, Sequence[str]]:
        return members(endpoints, self.slices)

    def put_slices(self, slices: Sequence[Mapping[str, Any]]) -> None:
        self.slices = list(slices)
        self.tell()

    def tell(self) -> None:
        for follower in tuple(self._followers):
            follower()

    def unknowing(self) -> MemoryGatewayBoard:
        """Of a gateway that starts while the API server is away."""
        board = self.of_gateway()
        board.away = True
        return board

    def of_gateway(self) -> MemoryGatewayBoard:
        return MemoryGatewayBoard(self, self._followers)


class PromptBoard(MemoryBoard):
    """With one gateway, which runs whatever is published at once."""

    def __init__(self) -> None:
        super().__init__()
        self.before_publishing: Callable[[], None] = lambda: None
        pod = Pod(name="gateway-1", uid="1", ready=True, going=False, ours=True)
        self.kept_pods = lambda: [pod]

    def publish(self, publication: Publication, revision: str | None) -> Stored:
        before, self.before_publishing = self.before_publishing, lambda: None
        before()
        stored = super().publish(publication, revision)
        self.kept_reports["gateway-1"] = Report("gateway-1", "1", publication.version, "", "", publication.number)
        return stored

    @property
    def splits(self) -> set[str]:
        assert self.stored is not None
        return {one.split for one in self.wanted.routes.routings.values()}

    @property
    def wanted(self) -> Wanted:
        """What is published."""
        assert self.stored is not None
        return parse(self.stored.publication.document).wanted


class MemoryGatewayBoard:
    """`away`: the API server does not answer this gateway, which goes on with what it saw before."""

    def __init__(self, board: MemoryBoard, followers: list[Callable[[], None]]) -> None:
        self._board, self._followers = board, followers
        self._changed: Callable[[], None] = lambda: None
        self._seen: tuple[Publication | None, Sequence[Mapping[str, Any]] | None] = (None, None)
        self.away = False
        self.mute = False
        """Its reports do not arrive."""
        self.behind: Sequence[Mapping[str, Any]] | None = None
        """What its watch of EndpointSlices has come to; None: as far as they are."""

    def start(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._followers.append(changed)
        changed()

    def publication(self) -> Publication | None:
        return self._look()[0]

    def slices(self) -> Sequence[Mapping[str, Any]] | None:
        return self._look()[1] if self.behind is None else self.behind

    def report(self, report: Report) -> None:
        if not self.away and not self.mute:
            self._board.kept_reports[report.pod] = report

    def close(self) -> None:
        if self._changed in self._followers:
            self._followers.remove(self._changed)

    def _look(self) -> tuple[Publication | None, Sequence[Mapping[str, Any]] | None]:
        if not self.away:
            stored = self._board.stored
            self._seen = (stored.publication if stored else self._seen[0], self._board.slices)
        return self._seen


class Gateway:
    """A pod: an Envoy as a process, and its agent in threads. `connect` makes the agent's board. `uid`: None: some."""

    def __init__(
        self, directory: Path, name: str, connect: Callable[[], Any], uid: str | None = None, **settings: Any
    ) -> None:
        self.name, self.uid = name, uid or f"uid-of-{name}"
        self.home = Home(directory)
        for needed in (self.home.path, self.home.sockets, self.home.envoy):
            needed.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.port, self.probe_port = free_port(), free_port()
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=10, verify=NO_TLS)
        self.going = False
        self.connect = connect
        self._process: subprocess.Popen[bytes] | None = None
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        certificates = settings.pop("certificates", None)
        made = bootstrap(self.home, port=self.port, probe_port=self.probe_port, **settings)
        configure(self.home, made, certificates)
        begin(self.home)
        self.start_agent()

    def start_agent(self) -> None:
        self._stop = threading.Event()
        self.board: Any = self.connect()
        instance = Instance(self.home, admin_socket(self.home), drain=0.3)
        self.agent = Agent(instance, self.board, self.name, self.uid, lag=0.5)
        loops = (self.agent.run, self.agent.report)
        stopped = self._stop.is_set
        self._threads = [threading.Thread(target=loop, args=(stopped,), daemon=True) for loop in loops]
        for thread in self._threads:
            thread.start()

    def stop_agent(self) -> None:
        self._stop.set()
        self.agent.wake()
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()
        self.board.close()

    def start(self) -> None:
        log = (self.home.path / "envoy.log").open("ab")
        self._process = subprocess.Popen(command(self.home, 1), stdout=log, stderr=log)
        log.close()

    def ready(self) -> bool:
        return self._process is not None and self._process.poll() is None and not self.agent.ready()

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait(10)

    def clusters(self) -> Mapping[str, Sequence[str]]:
        """Release -> the addresses that Envoy has for it, as it says."""
        with httpx.Client(transport=httpx.HTTPTransport(uds=admin_socket(self.home), verify=NO_TLS)) as client:
            dump = client.get("http://envoy/clusters?format=json").json()
        return {
            one["name"]: sorted(_text(host["address"]) for host in one.get("host_statuses", ()))
            for one in dump["cluster_statuses"]
            if one["name"] != "own"
        }

    def close(self) -> None:
        self.stop_agent()
        self.client.close()
        if self._process is not None and self._process.poll() is None:
            self.signal(signal.SIGTERM)
            self._process.wait(10)


class Gateways:
    """A control plane's router and two gateways, with the same releases behind."""

    def __init__(self, directory: Path, *, number: int = 2, patience: float = 10.0, **settings: Any) -> None:
        self.home = Home(directory / "releases")
        (self.home.sockets / "r").mkdir(parents=True)
        self.releases = Releases(self.home)
        self.board: Any = self.meeting_place()
        self.all = [
            Gateway(directory / name, name, self.board.of_gateway, uid, **settings)
            for name, uid in self.identities(number)
        ]
        self.router = self.control_plane(patience)
        self._turn = itertools.cycle(range(number))

    def meeting_place(self) -> Any:
        """Of the control plane and the gateways."""
        board = MemoryBoard()
        board.kept_pods = self.pods
        return board

    def identities(self, number: int) -> Sequence[tuple[str, str | None]]:
        """Names and uids of the pods."""
        return [(f"gateway-{index}", None) for index in range(number)]

    def control_plane(self, patience: float = 10.0) -> ClusterRouter:
        """A new one, which knows what the board says."""
        probes = f"127.0.0.1:{self.all[0].probe_port}"
        return ClusterRouter(self.board, key_of, probes, Patience(patience, poll=0.005))

    def start(self) -> Gateways:
        for gateway in self.all:
            gateway.start()
        self.router.gateways()  # publishes that nothing is routed
        for gateway in self.all:
            wait_until(gateway.ready, what=f"{gateway.name} ready")
        return self

    def pods(self) -> Sequence[Pod]:
        # As the kubelet: one look that fails does not make a pod unready.
        return [Pod(one.name, one.uid, one.ready() or one.ready(), one.going, ours=True) for one in self.all]

    def trace(self) -> object:
        """What is another one whenever routes were written for an Envoy. Clusters go by themselves after a while."""
        return [(one.home.envoy / "xds" / "routes.json").stat().st_ino for one in self.all]

    def arm(self, release: str, weight: int, role: Role = Role.CHAMPION) -> Arm:
        return Arm(release, weight, role, str(self.home.release_socket(release)))

    def ask(self, model: str = "fraud", path: str = "infer", **headers: str) -> httpx.Response:
        """Of one gateway after the other."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        client = self.all[next(self._turn)].client
        return client.post(f"/v2/models/{model}/{path}", json={"inputs": []}, headers=names)

    def sides(self, entities: Iterable[str]) -> dict[str, str]:
        return {entity: self.ask(x_entity_id=entity).json()["release"] for entity in entities}

    @contextmanager
    def probing(self, address: str, release: str) -> Iterator[httpx.Client]:
        shown = {ROUTER_HEADER: key_of(release)}
        with httpx.Client(base_url=f"http://{address}", headers=shown, timeout=10, verify=NO_TLS) as client:
            yield client

    def close(self) -> None:
        for gateway in self.all:
            gateway.close()
        self.releases.close()


def slice_of(release: str, *addresses: str, port: int = 8080, **changes: Any) -> dict[str, Any]:
    """An EndpointSlice of ready pods."""
    return {
        "metadata": {
            "name": f"{release}-x1",
            "namespace": "serinus",
            "labels": {"kubernetes.io/service-name": release},
        },
        "addressType": "IPv4",
        "endpoints": [
            {"addresses": [address], "conditions": {"ready": True, "serving": True, "terminating": False}}
            for address in addresses
        ],
        "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
        **changes,
    }


def _text(address: Mapping[str, Any]) -> str:
    if "pipe" in address:
        return str(address["pipe"]["path"])
    found = address["socket_address"]
    return f"{found['address']}:{found['port_value']}"


def boards() -> tuple[type[Board], type[GatewayBoard]]:
    """That the boards in memory are boards is checked by their types."""
    board: type[Board] = MemoryBoard
    of_gateway: type[GatewayBoard] = MemoryGatewayBoard
    return board, of_gateway


def logged(gateway: Gateway) -> Sequence[Mapping[str, Any]]:
    """What Envoy had to answer itself."""
    file = gateway.home.envoy / "local.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
