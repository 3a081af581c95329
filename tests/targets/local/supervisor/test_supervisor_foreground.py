"""`up --foreground` as an init system sees it: by signals, exit codes and what comes over its socket."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from stages import FOR_EVER, Stage
from waiting import wait_until

from serinus.targets.local.supervisor import down, logs, state
from serinus.targets.local.supervisor.foreground import Follower
from serinus.targets.local.supervisor.notify import Notifier

STAY = """
import json, os, sys
STAY = sys.orig_argv[2]
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from stages import Stage
from serinus.core.home import Home
from serinus.core.errors import SerinusError
from serinus.targets.local.supervisor.foreground import Reload, Stopped, stay
from serinus.targets.local.supervisor.launching import Launch
from serinus.targets.local.supervisor.lifecycle import up
from serinus.targets.local.supervisor.notify import Notifier

home = Home(Path(sys.argv[2]))
launch = Launch(json.loads(sys.argv[3]), Stage(home).checks, lambda *_: ())
upgrade = [sys.executable, "-c", "import os, sys; sys.exit(int(open(sys.argv[1]).read()))", sys.argv[2] + "/code"]
reload = Reload(upgrade, [sys.executable, "-c", STAY, *sys.argv[1:]])
try:
    stay(home, lambda: up(home, launch=launch), print, Notifier.taken(), line=print, reload=reload)
except Stopped:
    sys.exit(143)
except SerinusError as error:
    print(error)
    sys.exit(1)
"""


@pytest.fixture
def listening(directory: Path) -> Iterator[socket.socket]:
    """The init system's socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as found:
        found.bind(str(directory / "notify"))
        found.settimeout(60)
        yield found


def begin(stage: Stage, listening: socket.socket) -> subprocess.Popen[str]:
    import json

    words = [sys.executable, "-c", STAY, str(Path(__file__).parent), str(stage.home.path)]
    return subprocess.Popen(
        [*words, json.dumps(stage.launch.command)],
        env={**os.environ, "NOTIFY_SOCKET": listening.getsockname(), "WATCHDOG_USEC": "300000"},
        stdout=subprocess.PIPE,
        text=True,
    )


def heard(listening: socket.socket, what: str) -> list[str]:
    """The messages until the one that says `what`."""
    found: list[str] = []
    while not any(what in one.splitlines() for one in found):
        found.append(listening.recv(4096).decode())
    return found


def test_it_says_that_it_is_ready_once_all_answers_and_stops_everything_at_sigterm(
    stage: Stage, listening: socket.socket
) -> None:
    stage.listens()
    stage.add("host", "print('a line of the host', flush=True);" + FOR_EVER)
    with begin(stage, listening) as process:
        said = heard(listening, "READY=1")
        assert "STATUS=starting" in said[0]
        assert not any("READY=1" in one for one in said[:-1])
        assert stage.checks(stage.home, _settings(stage))[0].answers()
        assert stage.pids().keys() == {"control", "host"}
        assert not any(b"NOTIFY_SOCKET" in Path(f"/proc/{pid}/environ").read_bytes() for pid in stage.pids().values())
        heard(listening, "WATCHDOG=1")
        process.send_signal(signal.SIGTERM)
        heard(listening, "STOPPING=1")
        assert process.wait(60) == 0
    assert stage.pids() == {}
    assert stage.pid("supervisor") is None


def _settings(stage: Stage):  # type: ignore[no-untyped-def]
    from serinus.targets.local.supervisor import settings

    return settings.load(stage.home)


def test_at_sighup_the_installed_version_takes_over_and_the_process_becomes_it(
    stage: Stage, listening: socket.socket
) -> None:
    stage.listens()
    with begin(stage, listening) as process:
        heard(listening, "READY=1")
        before, began = stage.pids(), Path(f"/proc/{process.pid}/stat").read_text().split()[21]
        (stage.home.path / "code").write_text("1")
        process.send_signal(signal.SIGHUP)
        heard(listening, "STATUS=replacing the processes of another version")
        assert "models are served" in "".join(heard(listening, f"STATUS=models are served at {_url(stage)}"))
        (stage.home.path / "code").write_text("0")
        process.send_signal(signal.SIGHUP)
        heard(listening, "READY=1")
        heard(listening, "WATCHDOG=1")
        assert Path(f"/proc/{process.pid}/stat").read_text().split()[21] == began, "the same process"
        assert stage.pids() == before
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert "did not take over; the processes of the version before keep running" in process.stdout.read()  # type: ignore[union-attr]
    assert stage.pids() == {}


def _url(stage: Stage) -> str:
    return str(_settings(stage).public_url("envoy"))


def test_ctrl_c_stops_everything_too(stage: Stage, listening: socket.socket) -> None:
    stage.listens()
    with begin(stage, listening) as process:
        heard(listening, "READY=1")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert stage.pids() == {}


def test_a_sigterm_while_it_starts_undoes_what_was_started(stage: Stage, listening: socket.socket) -> None:
    stage.add("control", FOR_EVER)  # it never answers
    with begin(stage, listening) as process:
        wait_until(lambda: stage.pids())
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143
    assert stage.pids() == {}


def test_what_cannot_start_is_told_by_the_exit_code(stage: Stage, listening: socket.socket) -> None:
    stage.add("control", "import sys; sys.exit('no room')")
    with begin(stage, listening) as process:
        assert process.wait(60) == 1
        assert "no room" in process.stdout.read()  # type: ignore[union-attr]
    assert stage.pids() == {}


def test_it_ends_when_it_is_stopped_elsewhere(stage: Stage, listening: socket.socket) -> None:
    stage.listens()
    with begin(stage, listening) as process:
        heard(listening, "READY=1")
        down(stage.home)
        assert process.wait(60) == 0


def test_a_killed_supervisor_ends_it_with_1_and_the_next_one_takes_over_what_runs(
    stage: Stage, listening: socket.socket
) -> None:
    stage.listens()
    with begin(stage, listening) as process:
        heard(listening, "READY=1")
        before = stage.pids()
        os.kill(stage.pid("supervisor") or 0, signal.SIGKILL)
        assert process.wait(60) == 1
    assert stage.pids() == before
    with begin(stage, listening) as process:
        heard(listening, "READY=1")
        assert stage.pids() == before
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert stage.pids() == {}


def test_what_processes_log_is_passed_on_line_by_line_from_now_on(stage: Stage) -> None:
    for path in stage.home.directories:
        path.mkdir(parents=True, exist_ok=True)
    state.write(stage.home, state.ProcessRecord("control", state.RUNNING))
    log = logs.path(stage.home, "control")
    log.write_text("long ago\n")
    (stage.home.logs / "card-1.log").write_text("of a model\n")
    follower = Follower(stage.home)
    said: list[str] = []
    with log.open("a") as file:
        file.write("one\nhalf")
    follower.pass_on(said.append)
    assert said == ["control    one"]
    with log.open("a") as file:
        file.write(" a line\n")
    follower.pass_on(said.append)
    assert said[1:] == ["control    half a line"]
    log.write_text("new\n")  # turned over
    follower.pass_on(said.append)
    assert said[2:] == ["control    new"]


def test_nobody_who_listens_and_one_who_is_gone_are_no_trouble(tmp_path: Path) -> None:
    Notifier().say(READY=1)
    Notifier(str(tmp_path / "nobody")).say(READY=1)
    assert Notifier.taken({"NOTIFY_SOCKET": "vsock:2:1"}) == Notifier()
    assert Notifier.taken({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}).watchdog == 0
    environment = {"NOTIFY_SOCKET": "@abstract", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}
    assert Notifier.taken(environment) == Notifier("@abstract", 3.0)
    assert environment == {}


def test_an_abstract_socket_is_reached_and_a_message_stays_on_its_line() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as found:
        name = f"serinus-test-{os.getpid()}-{time.monotonic_ns()}"
        found.bind(f"\0{name}")
        found.settimeout(10)
        Notifier(f"@{name}").say(STATUS="one\nREADY=1")
        assert found.recv(100) == b"STATUS=one READY=1"
