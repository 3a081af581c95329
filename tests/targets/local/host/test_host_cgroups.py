"""Control groups of workers: what is asked of the kernel, and, where this machine lets us, what it then does."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

from serinus.core.placement import PlacementState
from serinus.core.release import Scale
from serinus.targets.local.host.cgroups import Groups, claim

ALL = frozenset({"cpu", "memory", "pids"})


def written(group: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in group.iterdir()}


def test_a_worker_is_put_under_its_limits_before_it_is_put_in_its_group(tmp_path):
    Groups(tmp_path, ALL).put(17, Scale(memory_limit_bytes=2**30, cpu_limit=1.5))
    assert written(tmp_path / "serinus-worker-17") == {
        "cpu.max": "15000 10000",
        "memory.max": str(2**30),
        "memory.oom.group": "1",
        "pids.max": "512",
        "cgroup.procs": "17",
    }


def test_a_small_share_of_a_processor_is_not_less_than_the_kernel_takes(tmp_path):
    Groups(tmp_path, ALL).put(17, Scale(cpu_limit=0.05))
    assert (tmp_path / "serinus-worker-17" / "cpu.max").read_text() == "1000 10000"


def test_what_was_not_asked_for_or_is_not_there_is_not_limited(tmp_path):
    Groups(tmp_path, ALL).put(17, Scale())
    assert written(tmp_path / "serinus-worker-17") == {"pids.max": "512", "cgroup.procs": "17"}
    Groups(tmp_path, frozenset()).put(18, Scale(memory_limit_bytes=2**30, cpu_limit=2))
    assert written(tmp_path / "serinus-worker-18") == {"cgroup.procs": "18"}


def test_a_limit_of_processors_that_is_not_kept_is_said():
    limited = Scale(cpu_limit=0.5)
    assert "Delegate=yes" in Groups().missing(limited)
    assert Groups(Path("/x"), ALL).missing(limited) == Groups().missing(Scale()) == ""


def test_the_hosts_log_says_which_release_runs_without_its_limit(shared):
    placement = shared.placed(scale=Scale(cpu_limit=0.5))
    assert "Delegate=yes" in placement.reason
    assert (
        f"{placement.release} is ready, pid {placement.pid}: {placement.reason}"
        in (shared.home.logs / "host.log").read_text()
    )


@pytest.mark.parametrize(("events", "killed"), [("low 0\noom 1\noom_kill 2\n", True), ("oom 3\noom_kill 0\n", False)])
def test_who_was_killed_for_want_of_memory_is_known(tmp_path, events, killed):
    groups = Groups(tmp_path, ALL)
    groups.put(17, Scale(memory_limit_bytes=1))
    (tmp_path / "serinus-worker-17" / "memory.events").write_text(events)
    assert groups.end(17) is killed


def test_a_group_that_is_not_empty_yet_is_removed_when_another_is_made(tmp_path):
    groups = Groups(tmp_path, frozenset())
    groups.put(17, Scale())
    groups.end(17)  # its files are in the way here as its processes are there
    for file in (left := tmp_path / "serinus-worker-17").iterdir():
        file.unlink()
    (others := tmp_path / "serinus-worker-99").mkdir()
    groups.put(18, Scale())
    assert (left.exists(), others.exists()) == (False, True)


def test_a_group_that_cannot_be_made_is_no_trouble_for_the_worker(tmp_path, caplog):
    (tmp_path / "serinus-worker-17").write_text("in the way")
    Groups(tmp_path, ALL).put(17, Scale())
    assert "worker 17 is in no control group" in caplog.text


def process_in(mount, group, tmp_path):
    """A stand-in for /proc/self of a process in `group`."""
    proc = tmp_path / "proc"
    proc.mkdir()
    (proc / "cgroup").write_text(f"3:cpuset:/\n0::/{group}\n")
    (proc / "mountinfo").write_text(f"30 23 0:26 / {mount} rw,nosuid shared:4 - cgroup2 cgroup2 rw\n")
    return proc


def test_nothing_is_taken_that_was_not_delegated(tmp_path):
    own = tmp_path / "fs" / "user.slice" / "session-1.scope"
    own.mkdir(parents=True)
    assert claim(process_in(tmp_path / "fs", "user.slice/session-1.scope", tmp_path)) == Groups()
    assert list(own.iterdir()) == []


def test_what_was_delegated_to_somebody_further_up_is_not_taken(tmp_path):
    session = tmp_path / "fs" / "user.service"
    (session / "app.slice" / "terminal.scope").mkdir(parents=True)
    for file in ("cgroup.procs", "cgroup.controllers", "cgroup.subtree_control"):
        (session / file).touch()
    try:
        os.setxattr(session, "user.delegate", b"1")
    except OSError as error:
        pytest.skip(f"no such attributes on this file system: {error}")
    assert claim(process_in(tmp_path / "fs", "user.service/app.slice/terminal.scope", tmp_path)) == Groups()
    assert [one.name for one in session.iterdir() if one.is_dir()] == ["app.slice"]


def test_a_machine_without_control_groups_of_version_2_has_none(tmp_path):
    assert claim(tmp_path) == Groups()


# --- by the kernel ----------------------------------------------------------------------------------------


def mount_point() -> Path | None:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return next((Path(line.split()[4]) for line in lines if " - cgroup2 " in line), None)


@pytest.fixture
def delegated(wait_until):
    """A group as systemd delegates one."""
    mount = mount_point()
    if mount is None or not os.access(mount / "cgroup.procs", os.W_OK):
        pytest.skip("this user may not make control groups here")
    group = mount / f"serinus-test-{os.getpid()}"
    try:
        group.mkdir()
        os.setxattr(group, "user.delegate", b"1")
    except OSError as error:
        pytest.skip(f"control groups cannot be delegated here: {error}")
    yield group
    (group / "cgroup.kill").write_text("1")
    for directory in (*(one for one in group.iterdir() if one.is_dir()), group):
        wait_until(lambda one=directory: "populated 0" in (one / "cgroup.events").read_text())
        directory.rmdir()


@contextmanager
def within(group: Path):
    """What is started meanwhile is in that group."""
    mount, before = mount_point(), own_group("self")
    assert mount is not None
    (group / "cgroup.procs").write_text(str(os.getpid()))
    try:
        yield
    finally:
        (mount / before.lstrip("/") / "cgroup.procs").write_text(str(os.getpid()))


def own_group(pid) -> str:
    return next(line[3:] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines() if line.startswith("0::"))


@pytest.mark.root
def test_each_worker_has_a_group_of_its_own_for_as_long_as_it_lives(delegated, hosted, wait_until):
    with within(delegated):
        hosted.start()
    first, second = hosted.placed(), hosted.placed("other-1-bbbbbb")
    for one in (first, second):
        assert own_group(one.pid) == f"/{delegated.name}/serinus-worker-{one.pid}"
    assert hosted.process is not None
    assert own_group(hosted.process.pid) == f"/{delegated.name}/serinus-others"
    hosted.target.remove(first.release)
    wait_until(lambda: not (delegated / f"serinus-worker-{first.pid}").exists())
    hosted.stop()
    wait_until(lambda: not list(delegated.glob("serinus-worker-*")))


@pytest.mark.root
def test_a_worker_keeps_its_group_when_its_host_is_another_one(delegated, hosted, wait_until):
    with within(delegated):
        hosted.start()
    first = hosted.placed()
    hosted.kill()
    assert own_group(first.pid).endswith(f"serinus-worker-{first.pid}")
    with within(delegated / "serinus-others"):
        hosted.start()
    second = hosted.until(first.release, PlacementState.READY, but=first.pid)
    assert own_group(second.pid) == f"/{delegated.name}/serinus-worker-{second.pid}"
    hosted.stop()


@pytest.mark.root
def test_what_a_worker_has_left_ends_with_it(delegated):
    left, next_one = (subprocess.Popen(["sleep", "3600"], start_new_session=True) for _ in range(2))
    groups = Groups(delegated)
    groups.put(left.pid, Scale())
    groups.end(left.pid)
    assert left.wait(10) == -signal.SIGKILL
    groups.put(next_one.pid, Scale())  # tidies up what was still ending then
    assert [group.name for group in delegated.iterdir() if group.is_dir()] == [f"serinus-worker-{next_one.pid}"]
    groups.end(next_one.pid)
    assert next_one.wait(10) == -signal.SIGKILL
