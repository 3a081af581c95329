"""Builds the programs with the Go client, each once.

A program has its name only when it is complete. One process builds at a time. The Go client holds the lock as well, so
that no second build joins one whose parent was killed.
"""

from __future__ import annotations

import collections
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from clusterlab import LabError
from clusterlab.modules import MODULES, Module, cache
from serinus.lib import locks

GO = "1.26.4"
"""The oldest Go that go.mod of all modules accepts."""
_PLACES = ("/usr/local/go/bin", "/usr/lib/go/bin")
_EVERY = 30.0
_MODULES_MISSING = (
    "They come from the Go module proxy, which has to be reachable: GOPROXY names another one. "
    "Run `make lab-build` again; what was downloaded stays."
)
_NOT_BUILT = "What was compiled stays in Go's build cache: `make lab-build` goes on from there."

Say = Callable[[str], None]


def missing(modules: Sequence[Module] | None = None) -> list[str]:
    """The programs that are not built. None: those of the lab."""
    chosen = MODULES if modules is None else modules
    return [name for module in chosen for name in module.programs if not (module.built / name).exists()] + [
        f"manifests/{name}"
        for module in chosen
        for name in module.manifests
        if not (module.built / "manifests" / name).exists()
    ]


def build(say: Say, modules: Sequence[Module] | None = None) -> None:
    """Builds what is missing. None: of the lab. Raises LabError; KeyboardInterrupt leaves nothing that would be taken
    for complete."""
    chosen = MODULES if modules is None else modules
    if not missing(chosen):
        return
    go = _go(chosen)
    cache().mkdir(parents=True, exist_ok=True)
    with _alone(say) as lock:
        for module in chosen:
            _build(module, Go(go, module.directory, lock), say)


class Go:
    """The Go client in the directory of one module."""

    def __init__(self, program: str, directory: Path, lock: int) -> None:
        self._program = program
        self._directory = directory
        self._lock = lock

    def run(self, *arguments: str, failed: str, hint: str, heard: Callable[[int], None] = lambda _: None) -> str:
        """What it prints; `heard` is called with the number of lines that it has reported so far.

        Raises LabError, with its last lines.
        """
        last: collections.deque[str] = collections.deque(maxlen=12)
        with subprocess.Popen(
            [self._program, *arguments],
            cwd=self._directory,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            pass_fds=[self._lock],
        ) as running:
            assert running.stdout is not None
            try:
                for number, line in enumerate(running.stdout, start=1):
                    last.append(line.rstrip())
                    heard(number)
            except BaseException:
                running.send_signal(signal.SIGINT)  # it ends its compilers
                raise
        if running.returncode:
            raise LabError(f"{failed}:\n" + "\n".join(f"  {line}" for line in last) + f"\n{hint}")
        return "\n".join(last)


def _go(modules: Sequence[Module]) -> str:
    """The path of the Go client. Raises LabError where there is none, or one that is too old."""
    found = shutil.which("go", path=os.pathsep.join([*os.get_exec_path(), *_PLACES]))
    if found is None:
        raise LabError(
            f"The lab is built with Go {GO} or newer, and there is no Go client on this machine. "
            "Install one from https://go.dev/dl/ (it is looked for in PATH and in /usr/local/go/bin)."
        )
    for module in modules:
        # Where GOTOOLCHAIN allows it, an older client fetches a newer one here.
        asked = subprocess.run(
            [found, "env", "GOVERSION"], cwd=module.directory, env=_environment(), capture_output=True, text=True
        )
        if asked.returncode:
            raise LabError(
                f"The lab is built with Go {GO} or newer: {asked.stderr.strip().splitlines()[-1]}. "
                "Install it from https://go.dev/dl/, or set GOTOOLCHAIN=auto to let Go fetch it."
            )
    return found


def _environment() -> dict[str, str]:
    """The caller's, without what would change what is built. Programs are static: images hold nothing else."""
    kept = {name: value for name, value in os.environ.items() if name not in ("GOOS", "GOARCH", "GOEXPERIMENT")}
    return {**kept, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false -trimpath", "GOWORK": "off"}


@contextmanager
def _alone(say: Say) -> Iterator[int]:
    path = cache() / "build.lock"
    lock = locks.take(path, seconds=0)
    if lock is None:
        say("another process is building; waiting for it")
        lock = locks.take(path)
        assert lock is not None
    try:
        yield lock
    finally:
        os.close(lock)


def _build(module: Module, go: Go, say: Say) -> None:
    todo = [name for name in module.programs if not (module.built / name).exists()]
    files = [name for name in module.manifests if not (module.built / "manifests" / name).exists()]
    if not (todo or files):
        return
    module.built.mkdir(parents=True, exist_ok=True)
    say(f"{module.name}: downloading modules")
    go.run("mod", "download", failed=f"The modules of {module.name} cannot be downloaded", hint=_MODULES_MISSING)
    flags = " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in module.variables.items())])
    for name in todo:
        new = module.built / f"{name}.new"
        began = time.monotonic()
        say(f"{name}: building")
        go.run(
            *("build", "-v", "-ldflags", flags, "-o", str(new), module.programs[name]),
            failed=f"{name} cannot be built",
            hint=_NOT_BUILT,
            heard=_progress(name, say),
        )
        new.replace(module.built / name)
        say(f"{name}: built in {time.monotonic() - began:.0f} s")
    for name in files:
        source = go.run(
            *("list", "-m", "-f", "{{.Dir}}", module.source),
            failed=f"The source of {module.name} is not found",
            hint=_MODULES_MISSING,
        )
        kept = module.built / "manifests" / name
        kept.parent.mkdir(parents=True, exist_ok=True)
        new = kept.with_name(f"{kept.name}.new")
        shutil.copyfile(Path(source) / "manifests" / name, new)
        new.replace(kept)


def _progress(name: str, say: Say) -> Callable[[int], None]:
    """A line now and then: the first program of a module takes minutes."""
    told = time.monotonic()

    def heard(number: int) -> None:
        nonlocal told
        if time.monotonic() - told >= _EVERY:
            told = time.monotonic()
            say(f"{name}: {number} packages compiled")

    return heard
