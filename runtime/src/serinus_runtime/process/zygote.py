"""A zygote: it imports the libraries of one environment once, and forks workers on request.

    python -I -S -c "... from serinus_runtime.process.zygote import main; main()" config.json

config: {"control_fd", "modules": [..], "artifact"?, "readable": [..], "scratch", "confine", "landlock_required"?}.
`artifact` is a model whose libraries are imported before `modules`. `control_fd` is a socket that preserves message
boundaries (SOCK_SEQPACKET). The zygote first sends `{"threads": [names..], "imported": n, "skipped": n}`. It answers
every message, which carries descriptors (`CARRIED`), with `{"error": text}`, or with `{"pid": n}` and, when the host
has looked at that process and closed its end of the last of the pipes, with `{"left": true}`. The process is then a
child of the host. The zygote ends when the host does.

It is confined like a worker, but may read the files of all models of its environment, whose code it never runs. Each
worker then restricts itself to its own. Forking is only safe from a process with one thread. Where the imports leave
more, the zygote says so and ends.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import gc
import importlib
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

from serinus_runtime.artifact.loading import libraries_of
from serinus_runtime.base import accelerators
from serinus_runtime.base.config import Config
from serinus_runtime.base.libraries import uncollected
from serinus_runtime.isolation import confine, permitted
from serinus_runtime.process.forking import end_with, part_from_zygote
from serinus_runtime.process.wire import received
from serinus_runtime.process.worker import serve_one
from serinus_runtime.process.zygote_protocol import CARRIED

_LONGEST_MESSAGE = 4096


def main() -> None:
    """Runs the zygote."""
    config = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    serve(config, lambda: [*_libraries(config.get("artifact")), *config["modules"]], _answer)


def _libraries(artifact: str | None) -> Sequence[str]:
    return () if artifact is None else libraries_of(Path(artifact))


Answer = Callable[[socket.socket, bytes, Sequence[int]], Mapping[str, Any]]
"""Answers a message with its descriptors on the socket."""


def serve(config: Mapping[str, Any], modules: Callable[[], Sequence[str]], answer: Answer) -> None:
    """Imports `modules()`, then forks on request until the other side closes. It ends at once where threads are
    left."""
    control = socket.socket(fileno=config["control_fd"])
    _confine(config)
    confine.with_packages()
    accelerators.find()
    names = modules()
    skipped = _import(names)
    gc.freeze()
    threads = _other_threads()
    tell(control, threads=threads, imported=len(names) - skipped, skipped=skipped)
    if threads:
        return
    with contextlib.suppress(ConnectionError):  # The other side has closed.
        while request := _received(control):
            message, descriptors = request
            told = answer(control, message, descriptors)
            for descriptor in descriptors:
                os.close(descriptor)
            tell(control, **told)


def _confine(config: Mapping[str, Any]) -> None:
    scratch = Path(config["scratch"])
    confine.prepare(scratch / ".zygote")
    if config["confine"]:
        # All of /proc, because /proc/self is a different directory in every worker. A worker restricts it to its own.
        readable = [Path("/proc"), *map(Path, config["readable"]), *confine.own_directories()]
        required = config.get("landlock_required", True)
        confine.confine(readable, scratch, (config["control_fd"],), kind=permitted.ZYGOTE, required=required)


def _other_threads() -> list[str]:
    """Returns the names of other threads."""
    return [
        (task / "comm").read_text(encoding="utf-8", errors="replace").strip()
        for task in Path("/proc/self/task").iterdir()
        if task.name != str(os.getpid())
    ]


def _import(names: Sequence[str]) -> int:
    """Imports modules. Returns how many failed. A worker that needs one of them may then fail by itself."""
    skipped = 0
    with uncollected():
        for name in names:
            try:
                importlib.import_module(name)
            except Exception:  # noqa: BLE001, PERF203  a library may raise anything
                skipped += 1
    gc.collect()
    return skipped


def tell(control: socket.socket, **words: Any) -> None:
    """Sends a message."""
    control.send(json.dumps(words).encode())


def _received(control: socket.socket) -> tuple[bytes, list[int]] | None:
    """Returns the next request and its descriptors. None: the other side has closed."""
    message, descriptors = received(control, _LONGEST_MESSAGE, len(CARRIED))
    return (message, descriptors) if descriptors else None


def _answer(control: socket.socket, _: bytes, descriptors: Sequence[int]) -> Mapping[str, Any]:
    imported = next(reversed(sys.modules))
    try:
        worker, between = _fork(control, descriptors, imported)
    except OSError as error:
        return {"error": f"cannot fork: {error.strerror}"}
    tell(control, pid=worker)
    os.waitpid(between, 0)
    return {"left": True}


def _fork(control: socket.socket, descriptors: Sequence[int], imported: str) -> tuple[int, int]:
    """Returns the process ids of the worker and of its parent.

    The parent ends when the host has verified whose child the worker is. The worker then becomes a child of the host
    (PR_SET_CHILD_SUBREAPER), which can wait for it.
    """
    receiver, sender = os.pipe()
    between = os.fork()
    if between == 0:
        os.close(receiver)
        end_with(lambda: _leave_to_the_host(control, sender, descriptors, imported))
    os.close(sender)
    with os.fdopen(receiver, "rb") as stream:
        said = stream.read()
    if not said:
        os.waitpid(between, 0)
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return int(said), between


def _leave_to_the_host(control: socket.socket, sender: int, descriptors: Sequence[int], imported: str) -> int:
    worker = os.fork()
    if worker == 0:
        os.close(sender)
        control.close()
        return _worker(*descriptors, imported=imported)
    os.write(sender, b"%d" % worker)
    os.close(sender)
    os.read(descriptors[-1], 1)
    return 0


def _worker(listening: int, reporting: int, config: int, output: int, held: int, *, imported: str) -> int:
    """Runs the worker, and returns the exit status."""
    os.setsid()
    os.close(held)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    part_from_zygote()
    told = Config.read(f"/proc/self/fd/{config}")
    os.close(config)
    serve_one(dataclasses.replace(told, listen_fd=listening, report_fd=reporting), None, imported)
    return 0
