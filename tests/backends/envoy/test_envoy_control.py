"""How routings come into force, survive, and go: with a real Envoy."""

from __future__ import annotations

import resource
import socket
import subprocess
import threading
from pathlib import Path

import httpx
import pytest
from envoy_harness import Proxy, routing
from waiting import wait_until

from serinus.backends.envoy import admin_socket, command, names, prepare, xds
from serinus.backends.envoy.starting import bootstrap
from serinus.core.errors import NotFound, Unavailable
from serinus.core.home import Home
from serinus.core.routing import Role
from serinus.lib.files import update
from serinus.lib.plain_http import NO_TLS

CHAMPION = "fraud-1-aaaaaa"
CANARY = "fraud-2-bbbbbb"


def known_clusters(proxy: Proxy) -> set[str]:
    """As Envoy says, beside the one by which it asks itself."""
    with httpx.Client(transport=httpx.HTTPTransport(uds=admin_socket(proxy.home), verify=NO_TLS)) as client:
        return {line.split("::")[0] for line in client.get("http://envoy/clusters").text.splitlines()} - {"own"}


def test_the_bootstrap_is_valid_by_envoys_own_judgement(tmp_path: Path) -> None:
    for number, keys in enumerate((False, True)):
        home = Home(tmp_path / str(number))
        for directory in home.directories:
            directory.mkdir(parents=True)
        home.secret.write_text("s")
        prepare(home, port=1, api_keys="required" if keys else "made")
        check = subprocess.run([*command(home), "--mode", "validate"], capture_output=True, text=True, timeout=60)
        assert check.returncode == 0, check.stderr
        assert "deprecated" not in check.stderr.lower()


def test_a_missing_binary_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no-such-envoy"):
        command(Home(tmp_path), tmp_path / "no-such-envoy")


def test_the_admin_interface_is_for_its_owner_only(proxy: Proxy) -> None:
    assert Path(admin_socket(proxy.home)).stat().st_mode & 0o077 == 0


def test_after_kill_9_the_same_routing_comes_up(served: Proxy) -> None:
    served.releases.start(CANARY)
    asked = routing(served.arm(CHAMPION, 7_500), served.arm(CANARY, 2_500, Role.CANARY), split="s2")
    served.router.apply(asked)
    entities = [f"card-{number}" for number in range(100)]
    before = served.sides(entities)
    served.kill()
    with pytest.raises(Unavailable):
        served.router.in_force("fraud")
    served.start()
    assert served.router.in_force("fraud") == asked
    assert served.sides(entities) == before


def test_preparing_again_keeps_routings_and_keys(served: Proxy) -> None:
    served.router.admit("payments", "k1")
    asked = served.router.in_force("fraud")
    before = names.routes_file(served.home).read_text()
    prepare(served.home, port=served.port)
    assert names.routes_file(served.home).read_text() == before
    assert served.router.in_force("fraud") == asked


def test_envoy_starts_where_its_files_name_nothing(proxy: Proxy) -> None:
    assert xds.read_clusters(names.clusters_file(proxy.home)) == {}
    assert proxy.client.get("/v2/health/ready").status_code == 200
    assert proxy.ask().status_code == 404


def test_two_homes_do_not_disturb_each_other(served: Proxy, tmp_path: Path) -> None:
    # Deep, so that its sockets have to live elsewhere.
    other = Proxy(tmp_path / ("deep" * 30) / "home").start()
    try:
        other.releases.start("fraud-9-999999")
        other.router.apply(routing(other.arm("fraud-9-999999", 10_000)))
        assert served.ask().json()["release"] == CHAMPION
        assert other.ask().json()["release"] == "fraud-9-999999"
        other.kill()
        assert served.ask().json()["release"] == CHAMPION
    finally:
        other.close()


def test_a_routing_that_envoy_refuses_leaves_the_old_one_in_force_and_in_the_files(served: Proxy) -> None:
    before = served.router.in_force("fraud")
    file = names.routes_file(served.home).read_text()
    with pytest.raises(Unavailable, match="refused"):
        served.router.apply(routing(served.arm(CHAMPION, 10_000), timeout_ms=10**16, split="s2"))
    assert served.router.in_force("fraud") == before
    assert names.routes_file(served.home).read_text() == file
    served.router.apply(routing(served.arm(CHAMPION, 10_000), split="s3"))
    assert served.ask().json()["headers"]["x-serinus-split"] == "s3"


def test_a_release_that_is_no_longer_routed_is_forgotten_after_the_drain(served: Proxy) -> None:
    served.releases.start(CANARY)
    served.router.apply(routing(served.arm(CANARY, 10_000), split="s2"))
    assert known_clusters(served) == {CHAMPION, CANARY}
    wait_until(lambda: known_clusters(served) == {CANARY}, 5)
    served.router.remove("fraud")
    wait_until(lambda: known_clusters(served) == set(), 5)


def test_a_release_of_weight_0_stays_known(served: Proxy) -> None:
    served.releases.start(CANARY)
    asked = routing(served.arm(CHAMPION, 10_000), served.arm(CANARY, 0, Role.CANARY), split="s2")
    served.router.apply(asked)
    assert set(served.sides([f"card-{number}" for number in range(50)]).values()) == {CHAMPION}
    served.router.apply(asked)
    assert known_clusters(served) == {CHAMPION, CANARY}


def test_what_a_crash_between_the_two_files_left_is_swept_by_the_next_apply(served: Proxy) -> None:
    endpoints = xds.read_clusters(names.clusters_file(served.home))
    update(names.clusters_file(served.home), xds.render_clusters({**endpoints, "left-1-eeeeee": "/tmp/left.sock"}))
    wait_until(lambda: "left-1-eeeeee" in known_clusters(served), 5)
    served.router.apply(routing(served.arm(CHAMPION, 10_000)))
    wait_until(lambda: known_clusters(served) == {CHAMPION}, 5)
    assert served.ask().status_code == 200


def test_a_routing_whose_file_was_lost_is_written_again(served: Proxy) -> None:
    asked = served.router.in_force("fraud")
    assert asked is not None
    names.routes_file(served.home).unlink()
    served.router.apply(asked)
    served.kill()
    served.start()
    assert served.router.in_force("fraud") == asked


def test_a_release_whose_socket_is_replaced_is_served_from_the_new_one(served: Proxy) -> None:
    assert served.ask().status_code == 200
    served.releases.stop(CHAMPION)
    served.releases.start(CHAMPION)
    assert [served.ask().status_code for _ in range(20)] == [200] * 20


def test_what_is_in_force_is_asked_of_envoy_where_the_file_is_not_what_was_written(served: Proxy) -> None:
    file = names.routes_file(served.home)
    asked = served.router.in_force("fraud")
    assert asked is not None
    edited = file.read_text().replace("x-serinus-split", "x-serinus-other").replace('\\"s1\\"', '\\"by-hand\\"')
    update(file, edited)
    wait_until(lambda: served.router.in_force("fraud") != asked, 5)
    served.router.apply(asked)
    assert served.router.in_force("fraud") == asked
    assert served.ask().json()["headers"]["x-serinus-split"] == "s1"


def test_a_release_that_only_listens_yet_is_waited_for_within_the_time_limit(served: Proxy) -> None:
    """As one that sleeps, until the host has woken it."""
    served.releases.stop(CHAMPION)
    waking = socket.socket(socket.AF_UNIX)
    waking.bind(str(served.home.release_socket(CHAMPION)))
    waking.listen(4096)
    answers: list[int] = []
    callers = [threading.Thread(target=lambda: answers.append(served.ask().status_code)) for _ in range(8)]
    for caller in callers:
        caller.start()
    connections = [waking.accept()[0] for _ in callers]
    for connection in connections:
        assert connection.recv(65536).startswith(b"POST /v2/models/fraud/infer")
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    for caller in callers:
        caller.join(5)
    for connection in (*connections, waking):
        connection.close()
    assert answers == [200] * 8


@pytest.mark.parametrize(("files", "callers"), [(4_096, 1_792), (1 << 20, 10_000)])
def test_no_more_callers_are_taken_than_the_limit_of_open_files_has_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: int, callers: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: (1_024, files))
    monitor, _ = bootstrap(Home(tmp_path), port=1)["overload_manager"]["resource_monitors"]
    assert monitor["typed_config"]["max_active_downstream_connections"] == callers
