"""Start, state and end of the lab, as seen from the machine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clusterlab import ROOT, LabError, building, cgroups, configuration, machine, network, place, rooms
from clusterlab.place import Place, Registered
from serinus.lib import files, locks, processes

INIT = "clusterlab.init"
_END_SECONDS = 30.0
_NAMESPACES = ("--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
_HIDDEN = ", ".join(map(str, rooms.HIDDEN))
_LONGEST_PATH = 60
"""Characters of the directory: a Unix socket below it has a path of at most 107."""

Say = Callable[[str], None]


@files.umask(0o022)
def up(wanted: Path | None, owner: str | None, say: Say) -> None:
    """Starts the lab and waits until all of it is ready; where it runs already, that is said.

    `wanted`: the directory; None: the one that the running lab has, or the default one. `owner`: the user who may read
    the kubeconfig. Raises LabError, and leaves nothing running then.
    """
    machine.check()
    building.build(say)
    with _alone():
        running = place.registered()
        if running is not None and running.alive:
            _check_same(running, wanted)
            say(f"The lab runs already, in {running.place.directory}")
            if status()["state"] != "up":  # who started it was killed
                _follow(running, say)
            return
        made = Place(_directory(wanted))
        _clear()
        try:
            _follow(_start(made, owner), say)
        except BaseException:
            _end()
            raise


def down(say: Say) -> None:
    """Ends the lab and removes all that it left, also of one that was killed. Raises LabError."""
    if os.geteuid() != 0:
        raise LabError("Only root can end the lab, which root has started: run `sudo make lab-down`.")
    if not place.RUN.exists():
        say("No lab runs on this machine.")
        return
    with _alone():
        if (cleared := _clear()) is not None:
            say(f"The lab in {cleared} is ended and removed.")
        place.RUN.rmdir()


@contextmanager
def running(say: Say) -> Iterator[dict[str, Any]]:
    """Where the lab is reached, as `status` says it. Where it does not run it is started, and ended afterwards. Raises
    LabError."""
    started = status()["state"] != "up"
    try:
        if started:
            up(None, None, say)
        yield status()
    finally:
        if started and os.geteuid() == 0:
            down(say)


def status() -> dict[str, Any]:
    """`state`: none, starting, up, failed or ended (all of its processes are gone, but it was not removed); and where
    it is reached."""
    running = place.registered()
    if running is None:
        return {"state": "none"}
    told = place.read_state()
    if not running.alive and told["state"] != "failed":
        told["state"] = "ended"
    return {**told, "pid": running.pid, "directory": str(running.place.directory), **addresses()}


def addresses() -> dict[str, str]:
    return {
        "kubeconfig": str(place.KUBECONFIG),
        "api": place.API,
        "registry": place.REGISTRY,
        "git": place.GIT,
        "repositories": str(place.REPOSITORIES),
        "node": place.NODE,
        "machine": place.MACHINE,
        "pods": place.PODS,
        "services": place.SERVICES,
    }


def proxies() -> list[str]:
    """The variables of the environment that send requests to a proxy. What is in the lab is reached without one."""
    return [name for name in os.environ if name.lower().endswith("_proxy")]


@contextmanager
def _alone() -> Iterator[None]:
    """Holds the lock of the lab's directory in /run, which may have been removed while it was opened."""
    while True:
        place.RUN.mkdir(mode=0o755, exist_ok=True)
        descriptor = os.open(place.RUN, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if not locks.try_lock(descriptor):
                raise LabError("Another process starts or ends the lab at this moment. Try again when it has finished.")
            if place.RUN.exists() and os.path.samestat(place.RUN.stat(), os.fstat(descriptor)):
                yield
                return
        finally:
            os.close(descriptor)


def _check_same(running: Registered, wanted: Path | None) -> None:
    if wanted is not None and wanted.resolve() != running.place.directory:
        raise LabError(
            f"A lab runs already, in {running.place.directory}, and a machine can have one. "
            "Use it, or end it by `make lab-down`."
        )


def _directory(wanted: Path | None) -> Path:
    """An absolute path that may be made, and removed at the end. Raises LabError."""
    directory = (wanted or place.default_directory()).resolve()
    if any(directory.is_relative_to(hidden) for hidden in rooms.HIDDEN):
        raise LabError(f"The lab cannot be in {directory}: {_HIDDEN} are its own there. Choose another --dir.")
    if len(str(directory)) > _LONGEST_PATH or not set(str(directory)).isdisjoint(' :,\\"\n'):
        raise LabError(
            f"The lab's directory {directory} must be at most {_LONGEST_PATH} characters long, without blanks, quotes, "
            "colons and commas. Choose another one by --dir."
        )
    if directory.exists() and any(directory.iterdir()) and not Place(directory).marker.exists():
        raise LabError(f"{directory} holds something else, and `down` would remove it. Choose another --dir.")
    return directory


def _start(made: Place, owner: str | None) -> Registered:
    network.check_free()
    _write(made, owner)
    command = ["unshare", *_NAMESPACES, sys.executable, "-m", INIT, str(made.directory)]
    with made.log("init").open("wb") as log:
        init = subprocess.Popen(
            command,
            cwd=ROOT,
            env={name: value for name, value in os.environ.items() if name not in proxies()},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    assert init.stdin is not None
    assert init.stdout is not None
    started = place.register(made, init.pid)
    if init.stdout.readline() != "here\n":
        raise LabError(f"The namespaces of the lab cannot be made: {made.log('init').read_text().strip()}")
    network.connect(init.pid)
    init.stdin.write("go\n")
    init.stdin.close()
    return started


def _write(made: Place, owner: str | None) -> None:
    """The lab's directory, with its configuration, and the files by which it is found."""
    if made.directory.exists():
        shutil.rmtree(made.directory)
    made.directory.mkdir(mode=0o755, parents=True)
    made.marker.touch()
    made.logs.mkdir()
    made.progress.touch()
    for name, content in configuration.files(made).items():
        path = made.etc / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.write(path, content, durable=False)
    place.write_state({"state": "starting", "problem": "", "programs": {}})
    place.REPOSITORIES.mkdir(mode=0o755, exist_ok=True)
    files.write(place.KUBECONFIG, made.kubeconfig("admin").read_bytes(), durable=False)
    if owner is not None:
        try:
            shutil.chown(place.KUBECONFIG, owner)
            shutil.chown(place.REPOSITORIES, owner)
        except LookupError:
            raise LabError(f"There is no user {owner} on this machine, who should own the kubeconfig.") from None


def _follow(started: Registered, say: Say) -> None:
    """Says what goes on until the lab is up. Raises LabError where it does not come up."""
    made = started.place
    with made.progress.open() as progress:
        while True:
            ended = not started.alive
            state = place.read_state()
            for line in progress:
                if state["state"] != "failed":
                    say(line.rstrip())
            if state["state"] == "up":
                return
            if ended:
                problem = state["problem"] or made.log("init").read_text().strip() or "it was killed"
                raise LabError(f"The lab did not start: {problem}\nAll logs are in {made.logs}, until the next start.")
            time.sleep(0.1)


def _clear() -> Path | None:
    """Ends what runs and removes what is left, of any earlier lab. The directory of that lab; None: there was none."""
    running = place.registered()
    _end()
    if running is not None and running.place.marker.exists():
        shutil.rmtree(running.place.directory)
    for entry in place.RUN.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    return None if running is None else running.place.directory


def _end() -> None:
    """All but the files. Raises LabError."""
    _end_processes()
    network.disconnect()
    cgroups.remove()


def _end_processes() -> None:
    """Its first process is killed, and the kernel ends the others. Raises LabError where it does not end."""
    running = place.registered()
    if running is None:
        return
    deadline = time.monotonic() + _END_SECONDS
    inside = _children(running.pid) if running.alive else []
    while running.alive:
        os.kill(running.pid, signal.SIGKILL)
        _reap(running.pid)
        if time.monotonic() >= deadline:
            raise LabError(f"The process {running.pid} of the lab does not end.")
        time.sleep(0.02)
    # The kernel reports the first process inside as ended after all others.
    while any(processes.look(pid) is not None for pid in inside):
        if time.monotonic() >= deadline:
            raise LabError(f"Processes of the lab do not end: {', '.join(map(str, inside))}.")
        time.sleep(0.02)


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def _reap(pid: int) -> None:
    """Where this process has started it."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def as_text(told: Mapping[str, Any]) -> str:
    """`status` for a person."""
    if told["state"] == "none":
        return "No lab runs on this machine. `make lab-up` starts it."
    lines = [f"{name:14}{told[name]}" for name in ("state", "directory", *addresses())]
    if told["problem"]:
        lines.append(told["problem"])
    for name, program in told["programs"].items():
        if program["ended"]:
            lines.append(f"{name} {program['ended']}, and was started again; see {told['directory']}/log/{name}.log")
    return "\n".join(lines)


def as_json(told: Mapping[str, Any]) -> str:
    return json.dumps(told, indent=2)
