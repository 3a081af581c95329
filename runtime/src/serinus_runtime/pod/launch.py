"""Starts the processes of the container that run a model's code or import its libraries."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Mapping, Sequence

import serinus_runtime
from serinus_runtime.isolation import landlock
from serinus_runtime.pod.children import Child, Children
from serinus_runtime.pod.output import Output, Printed
from serinus_runtime.pod.release import REQUIRED, Release
from serinus_runtime.process import starting
from serinus_runtime.process.in_memory import in_memory

OF_THE_IMAGE = ("LD_LIBRARY_PATH",)
"""Variables of the container that interpreters need. They name where the image has the shared library of Python."""
# The prefix makes `site` find the packages of the environment. The process asks `site` for them after it is confined.
_ENTRY = (
    "import sys; sys.path.insert(0, {runtime!r}); sys.prefix = sys.exec_prefix = {environment!r}; "
    "from serinus_runtime.{module} import main; main()"
)

RUNTIME = Path(str(serinus_runtime.__file__)).parent.parent
"""The directory that holds this package."""


def command(environment: Path | None, module: str, argument: str) -> Sequence[str]:
    """Returns the command that runs `serinus_runtime.<module>` with the interpreter of this process and the packages of
    `environment`. None: it has no packages."""
    prefix = sys.prefix if environment is None else str(environment)
    entry = _ENTRY.format(runtime=str(RUNTIME), environment=prefix, module=module)
    return [sys.executable, "-I", "-S", "-u", "-X", "faulthandler", "-c", entry, argument]


class Launcher:
    """Starts the processes of one release."""

    def __init__(self, release: Release, children: Children, output: Output) -> None:
        self.release = release
        self.children = children
        self.output = output
        self.landlock = landlock.abi()
        """The ABI of the kernel's Landlock, or 0 if it has none."""

    @property
    def zygote_scratch(self) -> Path:
        """The only directory that the zygote may write to. It contains the directory of the forked workers."""
        return self.release.paths.scratch / "zygote"

    @property
    def scratches(self) -> Sequence[Path]:
        """The directories that workers may have written to."""
        return self.zygote_scratch, self.release.paths.scratch / "own"

    def worker_config(self, *, forked: bool, proven: str, descriptors: tuple[int, int]) -> Mapping[str, Any]:
        """Returns what `base.config.Config` reads. `descriptors` are the listening socket and the worker's wire."""
        release = self.release
        return {
            "release": release.release,
            "model": release.model,
            "version": release.version,
            "artifact": str(release.paths.artifact),
            "compiled": str(release.paths.graph) if release.compiled else None,
            "digest": release.digest,
            "listen_fd": descriptors[0],
            "report_fd": descriptors[1],
            "log": release.collectors is not None,
            "router": release.router,
            "settings": asdict(release.settings),
            "scratch": str(self.zygote_scratch / "worker" if forked else self.scratches[1]),
            "readable": self._readable(),
            "landlock_required": self._landlock_required,
            "proven": "" if release.long else proven,
            "long": release.long,
            "heartbeat": True,
        }

    def zygote_config(self, modules: Sequence[str], control: int) -> Mapping[str, Any]:
        """Returns the configuration of a zygote. `modules` are imported in addition to those that loading the model
        needs."""
        return {
            "control_fd": control,
            "artifact": None if self.release.compiled else str(self.release.paths.artifact),
            "modules": modules,
            "readable": self._readable(),
            "scratch": str(self.zygote_scratch),
            "confine": True,
            "landlock_required": self._landlock_required,
        }

    def start(self, module: str, config: Mapping[str, Any], printed: Printed, passed: Sequence[int]) -> Child:
        """Starts `serinus_runtime.<module>` with `config`. It inherits the descriptors `passed`. Raises OSError."""
        python, told = Path(sys.executable), in_memory(config)
        try:
            process = starting.start(
                command(self.release.paths.environment, module, f"/proc/self/fd/{told}"),
                python,
                Path(config["scratch"]),
                printed.end,
                printed.end,
                (told, *passed),
                OF_THE_IMAGE,
            )
        finally:
            os.close(told)
        child = self.children.add(process.pid)
        process.returncode = 0  # so that `subprocess` never waits for it: it is reaped here
        starting.limit(child.pid)
        return child

    def _readable(self) -> Sequence[str]:
        paths = self.release.paths
        graph = [str(paths.graph)] if self.release.compiled else []
        return [str(RUNTIME), str(paths.artifact), *graph, "/etc/ssl"]

    @property
    def _landlock_required(self) -> bool:
        """If the kernel has Landlock, no process may start without it, whatever the release says."""
        return self.landlock > 0 or self.release.confinement == REQUIRED
