"""A model that attacks, at load and at each prediction, from inside a real worker: everything it tries fails."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from serinus_runtime.isolation import landlock

pytestmark = pytest.mark.skipif(landlock.abi() < 1, reason="this kernel has no Landlock")

ATTACKS = """
import ctypes, json, os, pathlib, signal, socket, subprocess, sys, traceback

TARGET = json.loads(pathlib.Path(__file__).with_name("target.json").read_text())
HOME, PEER, PORT = pathlib.Path(TARGET["home"]), TARGET["peer"], TARGET["port"]
libc = ctypes.CDLL(None, use_errno=True)

def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")

def connect(family, kind, address):
    with socket.socket(family, kind) as stream:
        stream.connect(address)

def run_written():
    pathlib.Path("x").write_text("#!/bin/sh")
    os.chmod("x", 0o700)
    os.execv("x", ["x"])

def listen():
    with socket.socket() as stream:
        stream.bind(("127.0.0.1", 0))

ATTACKS = {
    "read the token": lambda: (HOME / "token").read_text(),
    "list the home": lambda: os.listdir(HOME),
    "write the store": lambda: (HOME / "store.db").open("ab").write(b"x"),
    "truncate the store": lambda: os.truncate(HOME / "store.db", 0),
    "remove the store": lambda: (HOME / "store.db").unlink(),
    "make a file at home": lambda: (HOME / "planted").write_text("x"),
    "link the token": lambda: os.link(HOME / "token", "stolen"),
    "read the token through a link": lambda: (os.symlink(HOME / "token", "s"), open("s").read()),
    "read another's scratch": lambda: (HOME / "scratch" / "other" / "rows").read_text(),
    "write its own artifact": lambda: pathlib.Path(__file__).write_text("x"),
    "write to /tmp": lambda: pathlib.Path("/tmp/serinus-planted").write_text("x"),
    "write to /dev/shm": lambda: pathlib.Path("/dev/shm/serinus-planted").write_text("x"),
    "signal a peer": lambda: os.kill(PEER, signal.SIGTERM),
    "probe a peer": lambda: os.kill(PEER, 0),
    "trace a peer": lambda: checked(libc.ptrace(16, PEER, 0, 0)),
    "read a peer's memory": lambda: open(f"/proc/{PEER}/mem", "rb").read(1),
    "read a peer's environment": lambda: open(f"/proc/{PEER}/environ", "rb").read(),
    "read a peer's memory by the call": lambda: checked(libc.process_vm_readv(PEER, None, 0, None, 0, 0)),
    "connect by TCP": lambda: connect(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", PORT)),
    "listen by TCP": listen,
    "send by UDP": lambda: connect(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", PORT)),
    "send by IPv6": lambda: connect(socket.AF_INET6, socket.SOCK_DGRAM, ("::1", PORT)),
    "reach an abstract socket": lambda: connect(socket.AF_UNIX, socket.SOCK_STREAM, TARGET["abstract"]),
    "have another program read it": lambda: subprocess.run(["cat", HOME / "token"], check=True, capture_output=True),
    "run what it wrote": run_written,
    "dump core": lambda: __import__("resource").setrlimit(4, (1, 1)),
    "take more descriptors": lambda: os.fstat(TARGET["descriptor"]),
    "find a secret in its environment": lambda: os.environ["SERINUS_SECRET"],
}

def attempt():
    succeeded = []
    for name, attack in ATTACKS.items():
        try:
            attack()
        except (OSError, KeyError, ValueError, subprocess.CalledProcessError):
            continue
        succeeded.append(name)
    return succeeded

AT_LOAD = attempt()

class Model:
    def predict(self, data, params=None):
        return [json.dumps([AT_LOAD, attempt(), len(ATTACKS)])] * len(data)

def _load_pyfunc(path):
    return Model()
"""


@pytest.fixture
def peer() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env={"SECRET": "s"})
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    (home / "scratch" / "other").mkdir(parents=True)
    for name in ("token", "store.db", "scratch/other/rows"):
        (home / name).write_text("secret")
    return home


@pytest.fixture
def hostile(make_artifact: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    def make(**target: Any) -> Path:
        artifact = make_artifact(tmp_path / "m", ATTACKS, columns=("amount:double",), example=(1.0,))
        (artifact / "code" / "target.json").write_text(json.dumps(target))
        return artifact

    return make


def test_nothing_that_a_hostile_model_tries_succeeds(
    hostile: Callable[..., Path],
    start_worker: Callable[..., Any],
    tmp_path: Path,
    home: Path,
    peer: subprocess.Popen[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SERINUS_SECRET", "s")
    abstract = f"\0serinus-{os.getpid()}"
    with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as unix:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        unix.bind(abstract)
        unix.listen()
        port = tcp.getsockname()[1]
        artifact = hostile(home=str(home), peer=peer.pid, port=port, abstract=abstract, descriptor=200)
        worker = start_worker(artifact)
        worker.wait_ready()
        answer = worker.client.invoke({"instances": [[1.0]]})
    at_load, at_predict, tried = json.loads(answer.json["predictions"][0])
    assert tried > 25
    assert at_load == []
    assert at_predict == []
    assert peer.poll() is None
    assert (home / "store.db").read_text() == "secret"
    assert sorted(entry.name for entry in home.iterdir()) == ["scratch", "store.db", "token"]


def test_the_same_attacks_succeed_unconfined_so_the_test_means_something(
    hostile: Callable[..., Path],
    start_worker: Callable[..., Any],
    tmp_path: Path,
    home: Path,
    peer: subprocess.Popen[bytes],
) -> None:
    artifact = hostile(home=str(home), peer=0, port=9, abstract="\0nobody-here", descriptor=1)
    code = next(path for path in (artifact / "code").glob("handmade_*.py"))
    harmless = ("read the token", "list the home", "make a file at home", "send by UDP", "have another program read it")
    code.write_text(
        code.read_text().replace("AT_LOAD =", f"ATTACKS = {{k: ATTACKS[k] for k in {harmless}}}\nAT_LOAD =")
    )
    worker = start_worker(artifact, confine=False)
    report = worker.wait_ready()
    assert report["confined"] is False
    assert any("not confined" in note for note in report["notes"])
    at_load, _, _ = json.loads(worker.client.invoke({"instances": [[1.0]]}).json["predictions"][0])
    assert sorted(at_load) == sorted(harmless)


def test_a_model_may_write_in_its_scratch_directory_up_to_its_memory_limit(
    make_artifact: Callable[..., Path], start_worker: Callable[..., Any], tmp_path: Path
) -> None:
    code = """
import os, tempfile, pathlib

class Model:
    def predict(self, data, params=None):
        pathlib.Path(tempfile.gettempdir(), "mine").write_text("x")
        if data["amount"][0] > 1:
            bytearray(8 << 30)
        return [float(os.environ["HOME"] == os.getcwd() == tempfile.gettempdir())] * len(data)

def _load_pyfunc(path):
    return Model()
"""
    worker = start_worker(
        make_artifact(tmp_path / "m", code, columns=("amount:double",), example=(1.0,)),
        settings={"memory_limit_bytes": 4 << 30},
    )
    worker.wait_ready()
    assert worker.client.invoke({"instances": [[1.0]]}).json == {"predictions": [1.0]}
    assert (worker.scratch / "mine").read_text() == "x"
    answer = worker.client.invoke({"instances": [[2.0]]})
    assert (answer.status, answer.json) == (500, {"error": "the model failed: MemoryError"})
    assert worker.client.invoke({"instances": [[1.0]]}).status == 200


def test_peers_of_the_same_user_cannot_look_into_a_worker(start_worker: Callable[..., Any], adds_up: Path) -> None:
    """Not dumpable: /proc/<pid> of a worker belongs to root, whoever runs it."""
    worker = start_worker(adds_up)
    worker.wait_ready()
    status = Path(f"/proc/{worker.process.pid}/status").read_text()
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t2" in status
    assert Path(f"/proc/{worker.process.pid}/environ").stat().st_uid == 0
    limits = Path(f"/proc/{worker.process.pid}/limits").read_text()
    assert [line.split()[4:6] for line in limits.splitlines() if line.startswith("Max core")] == [["0", "0"]]


CONFINES_ITSELF = """
import json, os, sys, threading
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from serinus_runtime.isolation import confine
end = threading.Event()
if sys.argv[3] == "several threads":
    threading.Thread(target=end.wait).start()
scratch = Path(sys.argv[2])
confine.prepare(scratch)
confine.confine(confine.own_directories(), scratch, None)
(scratch / "mine").write_text("x")
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
interfaces = [line.split(":")[0].strip() for line in Path("/proc/self/net/dev").read_text().splitlines()[2:]]
end.set()
print(json.dumps({
    "level": confine.level(), "user": os.getuid(), "owner": (scratch / "mine").stat().st_uid, "interfaces": interfaces,
    "rights": [int(status[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")],
}))
"""


@pytest.mark.parametrize("threads", ["one thread", "several threads"])
def test_a_process_has_no_rights_and_its_own_namespaces_where_it_may(tmp_path: Path, threads: str) -> None:
    """A process of several threads may not enter a user namespace on any machine: it does without."""
    source = Path(landlock.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-I", "-c", CONFINES_ITSELF, str(source), str(tmp_path / "scratch"), threads],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["rights"] == [0, 0, 0, 0]
    assert found["user"] == found["owner"] == os.getuid()
    apart = found["level"].endswith("user, network and IPC namespaces")
    assert apart or found["level"].endswith("no user namespaces")
    if threads == "several threads":
        assert not apart
    if apart:
        assert found["interfaces"] == ["lo"]
