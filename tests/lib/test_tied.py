"""`lib.tied`: what a process has started ends with it, however it goes and whatever that has done to get away."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from descent import descendants
from waiting import wait_until

from serinus.lib import files, guardian, processes, tied

SECONDS = 5.0
"""Within which nothing is left."""

LEAVES = """
import ctypes, os, signal, sys, time
directory = sys.argv[1]

def here(name):
    open(f"{directory}/{name}.part", "w").write(str(os.getpid()))
    os.rename(f"{directory}/{name}.part", f"{directory}/{name}")

for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)  # PR_SET_PDEATHSIG: none
here("first")
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.setsid()
        here("daemon")
        if os.fork() == 0:
            here("child-of-daemon")
        time.sleep(600)
    os._exit(0)
if os.fork() == 0:
    os.setpgid(0, 0)
    here("group")
time.sleep(600)
"""
STARTED = ("first", "daemon", "child-of-daemon", "group")

WRITES = """
import os, sys
open(sys.argv[1] + "/first.part", "w").write(str(os.getpid()))
os.rename(sys.argv[1] + "/first.part", sys.argv[1] + "/first")
"""

KEEPS_LEAVING = f"""{WRITES}
if os.fork() == 0:
    while True:
        os.setsid()
        if os.fork():
            os._exit(0)
os.waitpid(-1, 0)
import time
time.sleep(600)
"""
"""One process at a time, never for longer than it takes to start the next one in a session of its own."""

ASKS = """
import sys, threading, time
from serinus.lib import tied

kept = []

def ask():
    kept.append(tied.start([sys.executable, "-c", *sys.argv[1:]]))

asking = threading.Thread(target=ask)
asking.start()
asking.join()
{then}
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Where processes write their pids, which are ended after the test."""
    place = tmp_path / "pids"
    place.mkdir()
    yield place
    for pid in alive(place):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def alive(place: Path) -> list[int]:
    pids = [int(file.read_text()) for file in place.iterdir() if file.suffix != ".part"]
    return [pid for pid in pids if processes.look(pid) is not None]


@pytest.fixture
def asker(place: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """asker(code, then): a process that starts `code` in a thread that ends at once, and does `then`."""
    started: list[subprocess.Popen[bytes]] = []

    def start(code: str, then: str = "time.sleep(600)") -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", ASKS.format(then=then), code, str(place)]
        started.append(subprocess.Popen(command, start_new_session=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def all_of_it(place: Path, names: tuple[str, ...] = STARTED) -> None:
    wait_until(lambda: all((place / name).exists() for name in names), what=f"the start of {names}")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_nothing_is_left_of_it_when_the_process_that_asked_for_it_is_gone(
    place: Path, asker: Callable[..., subprocess.Popen[bytes]], number: int
) -> None:
    process = asker(LEAVES)
    all_of_it(place)
    assert len(alive(place)) == len(STARTED)
    process.send_signal(number)
    wait_until(lambda: not alive(place), SECONDS, "the end of all that was started")


def test_nothing_is_left_of_it_when_the_process_that_asked_for_it_ends_by_itself(
    place: Path, asker: Callable[..., subprocess.Popen[bytes]]
) -> None:
    until = f"import os\nwhile not os.path.exists({str(place / 'group')!r}): time.sleep(0.01)"
    process = asker(LEAVES, then=until)
    assert process.wait(60) == 0
    wait_until(lambda: not alive(place), SECONDS, "the end of all that was started")


def test_it_goes_on_when_the_thread_that_asked_for_it_has_ended(
    place: Path, asker: Callable[..., subprocess.Popen[bytes]]
) -> None:
    asker(LEAVES)
    all_of_it(place)
    assert len(alive(place)) == len(STARTED)


def forks_guardians(asking: int) -> int:
    """The process from which the guardians of `asking` are forked."""
    (found,) = [
        pid
        for pid in descendants(asking)
        if processes.parent(pid) == asking and b"/guardian.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    return found


def test_the_process_that_guardians_are_forked_from_ends_with_the_process_that_asked(
    place: Path, asker: Callable[..., subprocess.Popen[bytes]]
) -> None:
    process = asker(WRITES)
    all_of_it(place, ("first",))
    forks = forks_guardians(process.pid)
    process.kill()
    wait_until(lambda: processes.look(forks) is None, SECONDS, "the end of the process that guardians are forked from")


def test_commands_go_on_without_the_process_that_their_guardians_were_forked_from(
    place: Path,
) -> None:
    with tied.start([sys.executable, "-c", LEAVES, str(place)]):
        all_of_it(place)
        before = forks_guardians(os.getpid())
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: processes.look(before) is None, SECONDS)
        assert tied.run(["sh", "-c", "exit 5"], timeout=60).returncode == 5
        assert forks_guardians(os.getpid()) != before
        assert len(alive(place)) == len(STARTED)
    assert alive(place) == []


def test_a_process_that_was_forked_starts_commands_of_its_own(tmp_path: Path) -> None:
    """They end with it, and neither process disturbs the other."""
    forks = f"""
import os, sys, time
from serinus.lib import tied
assert tied.run(["true"], timeout=60).returncode == 0
child = os.fork()
if child == 0:
    process = tied.start(["sleep", "600"])
    open({str(tmp_path / "pid.part")!r}, "w").write(str(process.pid))
    os.rename({str(tmp_path / "pid.part")!r}, {str(tmp_path / "pid")!r})
    time.sleep(600)
while not os.path.exists({str(tmp_path / "pid")!r}): time.sleep(0.01)
assert tied.run(["sh", "-c", "exit 3"], timeout=60).returncode == 3
os.kill(child, 9)
os.waitpid(child, 0)
"""
    subprocess.run([sys.executable, "-c", forks], check=True, timeout=60)
    started = int((tmp_path / "pid").read_text())
    wait_until(lambda: processes.look(started) is None, SECONDS, "the end of what the child has started")


def test_what_keeps_leaving_its_session_is_ended(place: Path, asker: Callable[..., subprocess.Popen[bytes]]) -> None:
    process = asker(KEEPS_LEAVING)
    all_of_it(place, ("first",))
    mine = session_parents(int((place / "first").read_text()))
    process.kill()
    wait_until(lambda: not any(map(processes.look, mine)), SECONDS, "the end of it and its guardian")


def session_parents(pid: int) -> list[int]:
    """It and its guardian, which ends when there is nothing left that it has to end."""
    guard = processes.parent(pid)
    assert guard is not None
    return [pid, guard]


def test_what_it_leaves_when_it_ends_by_itself_is_ended_before_that_is_told(place: Path) -> None:
    ends = LEAVES.rpartition("time.sleep(600)")[0] + textwrap.dedent(f"""
        if os.getpid() == int(open({str(place / "first")!r}).read()):
            while not all(os.path.exists(f"{{directory}}/{{name}}") for name in {STARTED!r}): time.sleep(0.01)
            sys.exit(3)
        time.sleep(600)
    """)
    with tied.start([sys.executable, "-c", ends, str(place)]) as process:
        assert process.wait(60) == 3
    all_of_it(place)
    assert alive(place) == []


def test_killed_it_ends_with_all_that_it_has_started(place: Path) -> None:
    process = tied.start([sys.executable, "-c", LEAVES, str(place)])
    with process:
        all_of_it(place)
        process.kill()
        assert process.wait(SECONDS) == -signal.SIGKILL
    assert alive(place) == []


def test_it_ends_with_its_guardian_as_well(place: Path) -> None:
    code = f"{WRITES}\nimport time\ntime.sleep(600)"
    with tied.start([sys.executable, "-c", code, str(place)]) as process:
        all_of_it(place, ("first",))
        guard = processes.parent(process.pid)
        assert guard is not None
        os.kill(guard, signal.SIGKILL)
        assert process.wait(SECONDS) == -signal.SIGKILL
        wait_until(lambda: processes.look(process.pid) is None, SECONDS)


def test_one_that_undoes_that_is_ended_by_the_process_that_asked_for_it(place: Path) -> None:
    with tied.start([sys.executable, "-c", LEAVES, str(place)]) as process:
        all_of_it(place)
        guard = processes.parent(process.pid)
        assert guard is not None
        os.kill(guard, signal.SIGKILL)
        assert process.wait(SECONDS) == -signal.SIGKILL
        wait_until(lambda: processes.look(process.pid) is None, SECONDS)


def test_it_gets_the_first_signal_before_it_is_killed(place: Path, tmp_path: Path) -> None:
    tidies = f"""
import signal, time
def tidy(*_):
    open(sys.argv[1] + "/tidied.part", "w").close()
    os._exit(0)
signal.signal(signal.SIGTERM, tidy)
{WRITES}
time.sleep(600)
"""
    with tied.start([sys.executable, "-c", tidies, str(place)], first=signal.SIGTERM) as process:
        all_of_it(place, ("first",))
        process.kill()
        assert process.wait(SECONDS) == 0
    assert (place / "tidied.part").exists()


def test_one_that_ignores_the_first_signal_is_killed(place: Path) -> None:
    with tied.start([sys.executable, "-c", LEAVES, str(place)], first=signal.SIGTERM) as process:
        all_of_it(place)
        process.kill()
        assert process.wait(SECONDS) == -signal.SIGKILL
    assert alive(place) == []


@pytest.mark.parametrize(
    ("code", "expected"),
    [("", 0), ("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 11)", -signal.SIGSEGV),
     ("import os; os.kill(os.getpid(), 9)", -signal.SIGKILL), ("import os; os.abort()", -signal.SIGABRT)],
)  # fmt: skip
def test_its_exit_status_is_the_commands_own(code: str, expected: int) -> None:
    assert tied.run([sys.executable, "-c", code], timeout=60).returncode == expected


def test_its_processor_time_includes_what_it_has_started_in_other_sessions() -> None:
    burns = """
import os, time
read, write = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while time.process_time() < 0.3: pass
        os.write(write, b".")
    os._exit(0)
os.read(read, 1)
"""
    with tied.start([sys.executable, "-c", burns]) as process:
        assert process.wait(60) == 0
    assert process.cpu_seconds >= 0.3


def test_to_look_whether_it_has_ended_does_not_end_it() -> None:
    with tied.start(["sh", "-c", "read line; exit 3"], stdin=subprocess.PIPE) as process:
        for seconds in (0, 0.01):
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(seconds)
        process.communicate(b"go on\n")
        assert process.wait() == 3


def test_what_it_is_given_and_what_it_prints_pass_through() -> None:
    code = "import sys; text = sys.stdin.read(); print(text.upper()); print(len(text), file=sys.stderr)"
    done = tied.run([sys.executable, "-c", code], given=b"x" * 1_000_000, timeout=60)
    assert (done.stdout.strip(), done.stderr.strip()) == (b"X" * 1_000_000, b"1000000")


def test_it_has_the_environment_descriptors_and_signals_of_any_child() -> None:
    """No more and no less than `subprocess` gives it."""
    shows = ["sh", "-c", "cat /proc/self/environ; grep 'SigIgn\\|SigBlk' /proc/self/status; ls /proc/self/fd; pwd"]
    read, write = os.pipe()
    environment = {"WORD": "a b", "EMPTY": "", "BYTES": "\udcff"}
    how = {"env": environment, "pass_fds": [read], "stdin": subprocess.DEVNULL}
    known = subprocess.run(shows, **how, capture_output=True, check=True)  # type: ignore[call-overload]
    with tied.start(shows, **how, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:  # type: ignore[arg-type]
        assert process.communicate(timeout=60) == (known.stdout, known.stderr)
    assert b"WORD=a b" in known.stdout
    os.close(read)
    os.close(write)


def test_it_has_the_umask_and_the_directory_of_the_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, mask in enumerate((0o077, 0o002)):
        directory = tmp_path / str(number)
        directory.mkdir()
        monkeypatch.chdir(directory)
        with files.umask(mask):
            done = tied.run(["sh", "-c", "umask; pwd"], timeout=60)
        assert done.stdout.split() == [b"%04o" % mask, bytes(directory)]


def test_it_inherits_streams_and_descriptors_under_their_numbers_also_where_they_cross(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "abcd"]
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(path.open("wb")).fileno() for path in paths]
        code = "import os, sys\nfor word in sys.argv[1:]: os.write(int(word), word.encode())"
        command = [sys.executable, "-c", code, "1", "2", str(opened[2]), str(opened[3])]
        with tied.start(command, stdout=opened[1], stderr=opened[0], pass_fds=opened[:1:-1]) as process:
            assert process.wait(60) == 0
    assert [path.read_text() for path in paths] == ["2", "1", str(opened[2]), str(opened[3])]


def test_a_command_that_reads_nothing_of_what_it_is_given_is_no_error() -> None:
    assert tied.run(["sh", "-c", "exec <&-; sleep 0.2; exit 4"], given=b"x" * 1_000_000, timeout=60).returncode == 4


def test_it_begins_in_its_directory_after_it_was_prepared(tmp_path: Path) -> None:
    seen: list[bool] = []

    def prepare(pid: int) -> None:
        seen.append((tmp_path / "began").exists())
        assert os.getsid(pid) == pid
        os.setpriority(os.PRIO_PROCESS, pid, 19)

    code = "import os; print(os.getpriority(os.PRIO_PROCESS, 0), file=open('began', 'w'))"
    with tied.start([sys.executable, "-c", code], cwd=tmp_path, prepare=prepare) as process:
        assert process.wait(60) == 0
    assert seen == [False]
    assert (tmp_path / "began").read_text() == "19\n"


def test_one_that_could_not_be_prepared_never_begins(tmp_path: Path) -> None:
    pids: list[int] = []

    def prepare(pid: int) -> None:
        pids.append(pid)
        raise ValueError("no limits")

    with pytest.raises(ValueError, match="no limits"):
        tied.start([sys.executable, "-c", "open('began', 'w')"], cwd=tmp_path, prepare=prepare)
    assert processes.look(pids[0]) is None
    assert not (tmp_path / "began").exists()


def test_a_command_that_cannot_be_started_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        tied.run(["no-such-program"], env={"PATH": "/usr/bin:/bin"}, timeout=60)
    (tmp_path / "text").write_text("")
    with pytest.raises(PermissionError):
        tied.run([tmp_path / "text"], timeout=60)
    with pytest.raises(FileNotFoundError):
        tied.start([sys.executable], cwd=tmp_path / "none")


def test_one_that_takes_too_long_is_ended_with_all_that_it_has_started(place: Path) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        tied.run([sys.executable, "-c", LEAVES, str(place)], timeout=2.0)
    assert alive(place) == []


def test_many_threads_start_and_end_them_at_once() -> None:
    codes: list[int] = []

    def some() -> None:
        codes.extend(tied.run(["sh", "-c", "exit 5"], timeout=60).returncode for _ in range(5))

    before = len(list(Path("/proc/self/fd").iterdir()))
    threads = [threading.Thread(target=some) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [5] * 30
    assert len(list(Path("/proc/self/fd").iterdir())) == before


SOURCES = Path(tied.__file__).parents[1]
OUTLIVING = {
    "lib/tied.py": "the process that guardians are forked from, which ends by itself",
    "predictions/table/roller.py": "ends with its standard input, after what it is at, and holds the lock until then",
    "targets/local/supervisor/foreground.py": "an upgrade that the service manager has ordered",
    "targets/local/supervisor/launching.py": "the supervisor",
    "targets/local/supervisor/leaving.py": "what tells an Envoy to go, whoever has asked for it",
    "targets/local/supervisor/process_manager.py": "the processes of Serinus, and what is done before they stop",
}
"""Modules that start processes which are to go on without who has started them, each with the reason."""
_STARTS = re.compile(r"subprocess\.(run|call|check_call|check_output|Popen)\(|create_subprocess_|os\.(posix_)?spawn")


def test_whatever_else_starts_a_process_has_it_end_with_itself() -> None:
    """A module that is new here either uses `lib.tied`, or says why not."""
    found = {
        str(file.relative_to(SOURCES))
        for file in SOURCES.rglob("*.py")
        if _STARTS.search(file.read_text()) or re.search(r"^\s*os\.fork\(|= os\.fork\(", file.read_text(), re.MULTILINE)
    }
    assert found == {*OUTLIVING, "lib/guardian.py"}


def test_a_command_finds_the_libraries_of_an_interpreter_that_was_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guardian could not start otherwise."""
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/python/lib")
    monkeypatch.setenv("TOKEN", "secret")
    done = tied.run(["env"], env={"LANG": "C"}, timeout=SECONDS)
    assert set(done.stdout.decode().split()) >= {"LANG=C", "LD_LIBRARY_PATH=/opt/python/lib"}
    assert b"TOKEN" not in done.stdout


def test_a_version_of_before_that_asks_in_its_own_way_is_told_at_once_that_it_gets_no_guardian() -> None:
    """As while a new version is installed over a running one. It would wait for ever otherwise."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        command = [sys.executable, "-I", "-S", guardian.__file__, str(theirs.fileno()), "9", "true"]
        done = subprocess.run(command, pass_fds=[theirs.fileno()], stderr=subprocess.PIPE, check=False, timeout=60)
        theirs.close()
        assert done.returncode != 0
        assert ours.recv(1) == b""
