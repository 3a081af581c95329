"""Local replies of a real Envoy arrive in the log of a collector on another machine."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from envoy_harness import routing
from gateway_harness import Gateway, Gateways, logged
from remote_collector import NAME, RemoteCollector
from waiting import wait_until

from serinus.backends.envoy import names
from serinus.core.ports import Writer
from serinus.core.routing import WHOLE
from serinus.predictions.counts.ledger import RouterReplies
from serinus.predictions.paths import segments_path, table_path
from serinus.predictions.queries.reading import read_predictions
from serinus.predictions.table.places import Directory
from serinus.targets.kubernetes.gateway import replies
from serinus.targets.kubernetes.gateway.__main__ import arguments
from serinus.targets.kubernetes.gateway.manifests import deployment
from serinus.targets.kubernetes.gateway.settings import GatewaySettings
from serinus.targets.kubernetes.manifests import Collectors

RELEASE = "fraud-1-aaaaaa"
USUAL = ["--home", "/h", "--namespace", "n", "--models", "m", "--pod", "p", "--uid", "u", "--port", "1"]
PORTS = ["--probe-port", "2", "--health-port", "3"]


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[RemoteCollector]:
    found = RemoteCollector(tmp_path, {"of the gateway": Writer(gateway="serinus-gateway", holder="pod-1")})
    found.open()
    yield found
    found.close()


def told(collector: RemoteCollector, files: Path) -> argparse.Namespace:
    """The arguments of an agent, and the files that are mounted for it."""
    files.mkdir(exist_ok=True)
    (files / "authority.pem").write_bytes(collector.authority.read_bytes())
    (files / "token").write_text("of the gateway\n")
    where = ["--collectors", "127.0.0.1:9", f"127.0.0.1:{collector.port}", "--collectors-name", NAME]
    mounted = ["--collectors-authority", str(files / "authority.pem"), "--collectors-token", str(files / "token")]
    return arguments().parse_args([*USUAL, *PORTS, *where, *mounted])


@contextmanager
def forwarding(gateway: Gateway, given: argparse.Namespace) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=replies.forward, args=(gateway.home, replies.collectors(given), stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive()


def answered(collector: RemoteCollector) -> int:
    home = collector.home
    found = read_predictions(Directory(table_path(home)), segments_path(home), RouterReplies()).collect()
    return len(found.filter(found["release"] == RELEASE))


def test_each_local_reply_is_in_the_log_once_whoever_is_restarted(tmp_path: Path, collector: RemoteCollector) -> None:
    gateways = Gateways(tmp_path / "g", number=1).start()
    (gateway,) = gateways.all
    given = told(collector, tmp_path / "mounted")
    try:
        gateways.router.apply(routing(gateways.arm(RELEASE, WHOLE)))  # nobody answers there
        with forwarding(gateway, given):
            assert [gateways.ask().status_code for _ in range(5)] == [503] * 5
            wait_until(lambda: answered(collector) == 5, 20)
        assert gateways.ask().status_code == 503  # while nobody sends
        collector.close()
        with forwarding(gateway, given):
            assert gateways.ask().status_code == 503  # while nobody takes it
            collector.open()
            wait_until(lambda: answered(collector) == 7, 30)
        assert len(logged(gateway)) == 7
        assert names.local_answers_file(gateway.home).with_name("sent.json").exists()
    finally:
        gateways.close()


def test_addresses_may_be_of_ipv6() -> None:
    where = ["--collectors", "[fd00::9]:7443", "c.n.svc:7443", "--collectors-name", NAME]
    found = replies.collectors(arguments().parse_args([*USUAL, *PORTS, *where]))
    assert found.addresses == (("fd00::9", 7443), ("c.n.svc", 7443))


def test_the_agent_reads_the_manifest() -> None:
    image = "registry.example/serinus/gateway@sha256:" + "a" * 64
    known = Collectors(("10.0.0.9:7443",), "the authority's PEM")
    spec = deployment(GatewaySettings(image, "n", collectors=known))["spec"]["template"]["spec"]
    (agent,) = spec["initContainers"]
    command = agent["command"]
    given = arguments().parse_args(command[command.index("serinus.targets.kubernetes.gateway") + 1 :])
    assert replies.collectors(given).addresses == (("10.0.0.9", 7443),)
    (volume,) = [one for one in spec["volumes"] if one["name"] == "collectors"]
    (where,) = [one["mountPath"] for one in agent["volumeMounts"] if one["name"] == "collectors"]
    token, authority = volume["projected"]["sources"]
    assert given.collectors_token == Path(where, token["serviceAccountToken"]["path"])
    assert given.collectors_authority == Path(where, authority["configMap"]["items"][0]["path"])
