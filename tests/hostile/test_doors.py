"""Sockets: a worker reaches none but those that it was given, whoever listens and however the path is written."""

from __future__ import annotations

import os
import socket
import socketserver
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hostile_models import mlmodel
from hostile_serinus import Attacked, Shell, fresh, shared
from servers import ServerThread
from whole_load import wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]

CONNECTS = """
import os, socket
def connects(address, family=socket.AF_UNIX, kind=socket.SOCK_STREAM):
    try:
        with socket.socket(family, kind) as stream:
            stream.settimeout(5)
            stream.connect(address)
            stream.sendall(b"GET /server_info HTTP/1.1\\r\\nhost: x\\r\\n\\r\\n")
            return "reached"
    except OSError as error:
        return type(error).__name__
"""


class _Runs(socketserver.StreamRequestHandler):
    """As tmux, an agent, a session bus or a container engine: whoever connects has the user's rights."""

    def handle(self) -> None:
        self.server.asked.append(self.rfile.readline())  # type: ignore[attr-defined]


@pytest.fixture
def server(serinus: Attacked) -> Iterator[tuple[Path, list[bytes]]]:
    """A socket of this user with mode 0600, and what it was asked."""
    path = serinus.directory / f"{fresh('run')}.sock"
    with ServerThread(socketserver.ThreadingUnixStreamServer(str(path), _Runs)) as listening:
        listening.asked = []  # type: ignore[attr-defined]
        path.chmod(0o600)
        yield path, listening.asked  # type: ignore[attr-defined]


@pytest.mark.parametrize("way", ["its path", "a link in the scratch", "through /proc", "relative", "a datagram"])
def test_a_server_of_the_same_user_is_not_reached(shell: Shell, server: tuple[Path, list[bytes]], way: str) -> None:
    path, asked = server
    ways = {
        "its path": "connects(PATH)",
        "a link in the scratch": "(os.path.lexists('l') or os.symlink(PATH, 'l'), connects('l'), os.unlink('l'))[1]",
        "through /proc": "connects('/proc/self/root' + PATH)",
        "relative": "connects(os.path.relpath(PATH))",
        "a datagram": "connects(PATH, kind=socket.SOCK_DGRAM)",
    }
    assert shell.run(f"{CONNECTS}\nprint({ways[way]})", PATH=str(path)).strip() == "PermissionError"
    assert asked == []


def test_a_server_with_an_abstract_name_is_not_reached(shell: Shell) -> None:
    name = f"\0{fresh('abstract')}"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(name)
        listening.listen()
        assert shell.run(f"{CONNECTS}\nprint(connects(NAME))", NAME=name).strip() == "PermissionError"


@pytest.mark.parametrize("name", ["envoy", "host", "hold", "log", "api", "probe"])
def test_no_socket_of_the_home_is_reached(shell: Shell, name: str) -> None:
    path = shell.serinus.home.sockets / f"{name}.sock"
    assert path.is_socket()
    assert shell.run(f"{CONNECTS}\nprint(connects(PATH))", PATH=str(path)).strip() == "PermissionError"


@pytest.mark.parametrize("name", ["api", "envoy", "mlflow"])
def test_no_port_is_reached(shell: Shell, name: str) -> None:
    address = urlsplit(getattr(shell.serinus.addresses, name))
    told = shell.run(f"{CONNECTS}\nprint(connects(AT, socket.AF_INET))", AT=(address.hostname, address.port))
    assert told.strip() == "PermissionError"


@pytest.mark.parametrize(
    "wanted",
    [
        "socket.AF_INET, socket.SOCK_DGRAM",
        "socket.AF_INET6, socket.SOCK_STREAM",
        "socket.AF_NETLINK, socket.SOCK_RAW",
        "socket.AF_PACKET, socket.SOCK_RAW",
        "socket.AF_VSOCK, socket.SOCK_STREAM",
        "socket.AF_ALG, socket.SOCK_SEQPACKET",
        "socket.AF_UNIX, socket.SOCK_STREAM",
        "socket.AF_UNIX, socket.SOCK_SEQPACKET",
    ],
)
def test_no_socket_of_any_family_is_made(shell: Shell, wanted: str) -> None:
    code = (
        f"import socket\ntry:\n    socket.socket({wanted})\n    print('made')\nexcept OSError as e:\n    print(e.errno)"
    )
    assert int(shell.run(code)) in (1, 13, 97)  # EPERM, EACCES, EAFNOSUPPORT


def test_a_child_and_another_thread_of_the_worker_reach_no_more(shell: Shell, server: tuple[Path, list[bytes]]) -> None:
    path, asked = server
    code = (
        CONNECTS
        + """
import sys, threading
seen = []
thread = threading.Thread(target=lambda: seen.append(connects(PATH)))
thread.start()
thread.join()
read, write = os.pipe()
if os.fork() == 0:
    os.write(write, connects(PATH).encode())
    os._exit(0)
os.wait()
print(seen[0], os.read(read, 100).decode())
"""
    )
    assert shell.run(code, PATH=str(path)).split() == ["PermissionError"] * 2
    assert asked == []


FORGES = (
    CONNECTS
    + """
body = b'{"dataframe_records":[{"amount":1.0}]}'
answered = []
try:
    with socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(5)
        stream.connect(PATH)
        for n in range(5):
            head = [f"POST /models/{MODEL}/invocations HTTP/1.1", "host: x", "content-type: application/json",
                    f"x-request-id: forged-{n}", "x-entity-id: card-1", f"x-serinus-split: steady.{RELEASE}",
                    "x-serinus-role: champion", "x-serinus-start: 1.0", f"content-length: {len(body)}"]
            stream.sendall("\\r\\n".join(head).encode() + b"\\r\\n\\r\\n" + body)
            answered.append(stream.recv(4000)[9:12].decode())
except OSError as error:
    answered.append(type(error).__name__)
print(*answered)
"""
)


@pytest.fixture(scope="module")
def victim(serinus: Attacked) -> tuple[str, str]:
    """A model and its release, with a column `amount`."""
    name = fresh("victim")
    inputs = [{"type": "double", "name": "amount", "required": True}]
    files = {"MLmodel": mlmodel(inputs=inputs, outputs=[{"type": "double", "name": "score"}])}
    return name, serinus.promoted(serinus.register(name, files, shared()))


def _records(serinus: Attacked, release: str) -> list[str]:
    found = serinus.log.read().collect()
    return [str(row) for row in found.filter(found["release"] == release)["request_id"].to_list()]


def test_a_worker_writes_no_record_of_another_release(shell: Shell, victim: tuple[str, str]) -> None:
    model, release = victim
    serinus = shell.serinus
    told = shell.run(FORGES, PATH=str(serinus.home.release_socket(release)), MODEL=model, RELEASE=release)
    assert told.split() == ["PermissionError"]
    answer = serinus.infer(model, [{"amount": 1.0}], headers={"x-request-id": "real"})
    assert answer.status_code == 200, answer.text
    wait_until(lambda: "real" in _records(serinus, release), 20, "the record of a real request")
    assert not [name for name in _records(serinus, release) if name.startswith("forged-")]


@pytest.mark.parametrize("more", [{}, {"x-serinus-split": "s", "x-serinus-role": "champion", "x-serinus-start": "1.0"}])
def test_who_reaches_a_workers_socket_and_is_not_the_router_leaves_no_record(
    serinus: Attacked, victim: tuple[str, str], more: dict[str, str]
) -> None:
    """As another program of the same user, which nothing confines."""
    model, release = victim
    name = fresh("forged")
    with socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(10)
        stream.connect(str(serinus.home.release_socket(release)))
        body = b'{"dataframe_records":[{"amount":1.0}]}'
        head = {"host": "x", "content-type": "application/json", "x-request-id": name, **more}
        lines = [f"POST /models/{model}/invocations HTTP/1.1", *(f"{key}: {value}" for key, value in head.items())]
        stream.sendall("\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body)
        status = stream.recv(4000)[9:12]
    assert status == b"401"
    serinus.infer(model, [{"amount": 1.0}], headers={"x-request-id": f"after-{name}"}).raise_for_status()
    wait_until(lambda: f"after-{name}" in _records(serinus, release), 20, "the record of a real request")
    assert name not in _records(serinus, release)


def test_a_caller_says_nothing_that_only_the_router_may_say(serinus: Attacked, victim: tuple[str, str]) -> None:
    model, release = victim
    name = fresh("caller")
    headers = {"x-serinus-split": "made-up", "x-serinus-role": "candidate", "x-serinus-start": "1.0"}
    answer = serinus.infer(model, [{"amount": 1.0}], headers={"x-request-id": name, **headers})
    assert answer.status_code == 200, answer.text
    wait_until(lambda: name in _records(serinus, release), 20, "its record")
    found = serinus.log.read().collect().filter(serinus.log.read().collect()["request_id"] == name)
    [(split, role)] = found.select("split", "role").rows()
    assert (split != "made-up", role) == (True, "champion")


def test_the_host_holds_no_body_of_who_has_no_secret(serinus: Attacked) -> None:
    """Of a program that nothing confines."""
    pid = int((serinus.home.host / "lock").read_text())
    before = _resident(pid)
    with socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(10)
        stream.connect(str(serinus.home.host_socket))
        size = 64 << 20
        stream.sendall(f"PUT /releases/x HTTP/1.1\r\nhost: x\r\ncontent-length: {size + 1}\r\n\r\n".encode())
        try:
            for _ in range(size >> 20):
                stream.sendall(b"[" * (1 << 20))
        except OSError:
            pass  # it was hung up on
        during = _resident(pid)
    assert during - before < 10


def _resident(pid: int) -> int:
    """MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) >> 10 for line in lines if line.startswith("VmRSS"))


def test_the_sockets_of_the_home_belong_to_its_user_alone(serinus: Attacked) -> None:
    found = [path for path in serinus.home.sockets.rglob("*") if path.is_socket()]
    assert len(found) >= 6
    assert [path for path in found if path.stat().st_mode & 0o077 or path.stat().st_uid != os.geteuid()] == []
    assert serinus.home.sockets.stat().st_mode & 0o077 == 0


def test_other_users_of_the_machine_see_no_secret_in_the_arguments_of_processes(serinus: Attacked) -> None:
    secrets = [path.read_text().strip() for path in (serinus.home.token, serinus.home.secret)]
    listed = subprocess.run(["ps", "-ww", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(serinus.home.path) in listed
    assert not [secret for secret in secrets if secret in listed]
