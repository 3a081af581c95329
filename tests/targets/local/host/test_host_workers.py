"""How a worker is started: what it is told, what it can see, where its output goes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from serinus.core.placement import PlacementState
from serinus.core.release import ServingSettings
from serinus.targets.local.host.logs import rotate
from serinus.targets.local.host.reach import readable
from serinus.targets.local.host.unix_http import call


@pytest.fixture
def told(shared):
    """What a worker of a running host was told and sees."""
    return shared.ask(shared.placed(settings=ServingSettings(timeout_ms=100, fallback_score=0.5))).body


def test_the_notes_of_a_ready_worker_are_its_reason(shared):
    assert shared.placed(notes=["no input example", "slow disk"]).reason == "no input example; slow disk"


def test_a_worker_is_told_the_releases_settings_and_no_way_to_the_collector(told, shared):
    config = told["config"]
    assert (config["release"], config["model"], config["confine"]) == ("fraud-1-aaaaaa", "card fraud", True)
    assert (config["settings"]["timeout_ms"], config["settings"]["fallback_score"]) == (100, 0.5)
    assert config["log"] is True
    assert str(shared.home.log_socket) not in json.dumps(config)


def test_a_worker_sees_no_variable_of_the_host_but_the_processor_type(told):
    environ = told["environ"]
    assert not {"SERINUS_TOKEN", "AWS_SECRET_ACCESS_KEY", "PYTHONDONTWRITEBYTECODE"} & set(environ)
    assert (environ["OPENBLAS_CORETYPE"], environ["OMP_NUM_THREADS"]) == ("Haswell", "1")


def test_a_worker_lives_in_a_scratch_directory_of_its_own(told, shared):
    scratch = shared.home.scratch / "own" / "fraud-1-aaaaaa"
    assert {told["cwd"], told["environ"]["HOME"], told["environ"]["TMPDIR"]} == {str(scratch)}
    assert scratch.stat().st_mode & 0o777 == 0o700


def test_a_worker_holds_no_descriptor_of_the_host_and_leads_its_own_session(told):
    opened = {str(entry.readlink()) for entry in Path(f"/proc/{told['pid']}/fd").iterdir()}
    assert not {name for name in opened if name.endswith(("lock", "host.log"))}
    assert os.getsid(told["pid"]) == told["pid"]


def test_descriptors_that_a_worker_keeps_on_their_way_leave_the_host_room_to_pass_its_own():
    """As an ordinary user where the tests run as root, for whom there is no such limit."""
    program = """
import errno, os, resource, socket
from serinus_runtime.process import starting

def fill():
    pairs = []
    while True:
        pairs.append(socket.socketpair())
        pairs[-1][0].setblocking(False)
        try:
            while True:
                socket.send_fds(pairs[-1][0], [b"x"], [0] * 200)
        except BlockingIOError:
            pass

if os.getuid() == 0:
    os.setuid(65533)
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
ours, theirs = socket.socketpair()
child = os.fork()
if child == 0:
    ours.close()
    theirs.recv(1)
    try:
        fill()
    except OSError as error:
        theirs.send(errno.errorcode[error.errno].encode())
        theirs.recv(1)
    os._exit(0)
starting.limit(child)
ours.send(b"x")
print(ours.recv(100).decode())
print(socket.send_fds(ours, [b"x"], [0]), flush=True)
os.wait()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == ["ETOOMANYREFS", "1"], done.stderr


def test_no_core_dump_of_a_worker_is_written(told):
    limits = Path(f"/proc/{told['pid']}/limits").read_text().splitlines()
    assert next(line for line in limits if line.startswith("Max core file size")).split()[4:6] == ["0", "0"]


def test_what_a_worker_prints_is_in_the_log_of_its_release(shared):
    shared.placed()
    assert "loading ok" in (shared.home.logs / "release-fraud-1-aaaaaa.log").read_text()


def test_unconfined_is_only_what_the_settings_say(hosted):
    hosted.home.settings.write_text('{"confined": false}')
    hosted.start()
    assert hosted.ask(hosted.placed()).body["config"]["confine"] is False


def test_the_last_part_of_a_large_log_is_kept_aside_and_it_begins_anew(tmp_path):
    log = tmp_path / "a.log"
    log.write_text("old lines")
    with log.open("a") as writer:
        rotate(log, largest=100)
        assert log.read_text() == "old lines"
        rotate(log, largest=5)
        writer.write("new lines")
    assert (log.read_text(), (tmp_path / "a.log.1").read_text()) == ("new lines", "lines")


def make(root: Path, *directories: str) -> None:
    for directory in directories:
        (root / directory).mkdir(parents=True)


def test_a_model_may_read_its_environment_its_files_and_the_system_and_nothing_else_of_the_home(tmp_path):
    make(tmp_path, "home/environments/a/bin", "home/environments/b", "home/artifacts/m", "python/bin", "python/lib")
    home, env = tmp_path / "home", tmp_path / "home/environments/a"
    (env / "bin/python").symlink_to(sys.executable)
    (env / "pyvenv.cfg").write_text(f"home = {tmp_path / 'elsewhere/bin'}\nversion = 3.11\n")
    (env / "environment.json").write_text(json.dumps({"interpreter": str(tmp_path / "python/bin/python")}))
    listed = readable(home, env / "bin/python", home / "artifacts/m")
    assert {path for path in listed if path.startswith(str(tmp_path))} == {
        str(tmp_path / part) for part in ("home/environments/a", "home/artifacts/m", "python/bin", "python/lib")
    }
    assert "/usr" in listed
    assert "/proc/self" in listed


def test_a_home_within_a_readable_tree_is_left_out_of_it(tmp_path):
    make(tmp_path, "tree/a", "tree/b/c", "tree/b/home/s")
    (tmp_path / "tree/link").symlink_to("/")
    listed = readable(tmp_path / "tree/b/home", Path(sys.executable), tmp_path / "tree")
    assert [path for path in listed if path.startswith(str(tmp_path))] == [
        str(tmp_path / "tree/a"),
        str(tmp_path / "tree/b/c"),
    ]


def test_the_control_refuses_whoever_does_not_know_the_secret(shared):
    placement = shared.placed()
    for headers in ({}, {"Authorization": "Bearer guess"}):
        for method, target in (("GET", "/releases"), ("DELETE", f"/releases/{placement.release}")):
            answer = call(shared.home.host_socket, method, target, None, headers, 5.0)
            assert answer.status == 401
            assert "secret" in answer.error
    assert shared.ask(placement).status == 200


def test_what_a_worker_has_proven_is_told_to_the_next_one_and_forgotten_with_the_host(hosted):
    hosted.start()
    first = hosted.placed(proven="matrix-0")
    assert hosted.ask(first).body["config"]["proven"] == ""
    os.kill(first.pid, signal.SIGKILL)
    second = hosted.until(first.release, PlacementState.READY, but=first.pid)
    assert hosted.ask(second).body["config"]["proven"] == "matrix-0"
    hosted.stop()
    hosted.start()
    assert hosted.ask(hosted.come_up(first.release)).body["config"]["proven"] == ""
