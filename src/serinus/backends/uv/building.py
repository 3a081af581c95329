"""Locks into virtual environments: built once, whoever asks at the same time; whole or not there at all."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from serinus.backends.uv import own_files
from serinus.backends.uv.accelerators import Accelerators
from serinus.backends.uv.bytecode import Bytecode
from serinus.backends.uv.command import Uv
from serinus.backends.uv.locking import Lock, Wanted
from serinus.core.home import ENVIRONMENT_FACTS
from serinus.core.release import Environment
from serinus.core.storage import Stored
from serinus.lib import files, locks

MARKER = ENVIRONMENT_FACTS
"""Written last, so an environment that has it is whole."""
LOCK = "requirements.lock"
_BUILDING = ".building"
_DIGEST = re.compile("[0-9a-f]+")


class Builder:
    """Keeps environments below `directory`, each by the digest of its lock.

    An environment is built beside its place and moved there when it is whole. Who builds holds a file lock on its
    digest, which uv inherits: after a kill, by which uv ends as well, the next builder waits for that and starts over.
    """

    def __init__(self, uv: Uv, directory: Path, *, accelerate: bool = True, confined: bool = True) -> None:
        """`accelerate`: whether environments get a link to what makes workers quicker. `confined`: whether what reads
        packages, or builds them, is confined as models are."""
        self._uv = uv
        self._directory = directory
        self._bytecode = Bytecode(directory / "bytecode", confined)
        self._accelerators = Accelerators(uv, directory, self._bytecode) if accelerate else None

    def build(self, lock: Lock, wanted: Wanted, say: Callable[[str], None]) -> Environment:
        """The environment of `lock`. Raises Unbuildable (a package does not install), Unavailable, or OSError."""
        place = self._directory / lock.digest
        with self._locked(lock.digest, say) as descriptor:
            if not _whole(place):
                started = time.monotonic()
                what = f"Python {lock.interpreter.text}, {len(lock.packages)} packages"
                say(f"building environment {lock.digest[:12]}: {what}")
                self._make(place, lock, wanted, say, descriptor)
                say(f"environment {lock.digest[:12]} is built, in {time.monotonic() - started:.1f} s")
            os.utime(place)  # asked for: who makes room leaves it
            if self._accelerators is not None:
                self._accelerators.link(place, lock.interpreter, say, (descriptor,))
        return Environment(digest=lock.digest, python_version=lock.interpreter.text)

    def place(self, environment: Environment) -> Path:
        """The directory of the environment, whether or not it exists."""
        return self._directory / environment.digest

    def sweep(self) -> None:
        """Removes what a killed builder left behind."""
        for left in self._directory.glob(f"*{_BUILDING}"):
            with self._try_locked(left.name.removesuffix(_BUILDING)) as mine:
                if mine:
                    shutil.rmtree(left, ignore_errors=True)

    def stored(self) -> Sequence[Stored]:
        """Environments that are whole."""
        found = []
        for place in self._directory.glob("*/"):
            with suppress(OSError):
                if _DIGEST.fullmatch(place.name) and (place / MARKER).is_file():
                    found.append(Stored(place.name, (place,), place.stat().st_mtime))
        return found

    def remove(self, digest: str, since: float) -> bool:
        """See `core.storage.Storage.remove`. The environment is moved aside under the lock of who builds it, as if its
        building had failed."""
        self.sweep()
        if not _DIGEST.fullmatch(digest):
            return False
        place = self._directory / digest
        aside = place.with_name(place.name + _BUILDING)
        with self._try_locked(digest) as mine:
            if not mine or not (place / MARKER).is_file() or place.stat().st_mtime >= since:
                return False
            place.rename(aside)
            shutil.rmtree(aside, ignore_errors=True)
        return True

    def _make(self, place: Path, lock: Lock, wanted: Wanted, say: Callable[[str], None], descriptor: int) -> None:
        temporary = place.with_name(place.name + _BUILDING)
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            self._install(temporary, lock, wanted, say, descriptor)
            self._compile(temporary, lock, say, descriptor)
            own_files.protect(temporary)
            _mark(temporary / MARKER, lock)
            shutil.rmtree(place, ignore_errors=True)  # one whose interpreter is gone
            temporary.rename(place)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _install(
        self, temporary: Path, lock: Lock, wanted: Wanted, say: Callable[[str], None], descriptor: int
    ) -> None:
        self._uv.run(
            "venv", temporary, "--python", lock.interpreter.path, "--relocatable", "--no-project",
            "--no-python-downloads", keep_open=(descriptor,),
        )  # fmt: skip
        made = own_files.made(temporary)
        with (
            tempfile.TemporaryDirectory(prefix="serinus-") as scratch,
            tempfile.NamedTemporaryFile("w", suffix=".txt", dir=scratch) as options,  # 0600: it may hold credentials
        ):
            options.write("\n".join(wanted.sources))
            options.flush()
            locked, links = Path(scratch, LOCK), Path(scratch, "built")
            links.mkdir()
            locked.write_text(lock.text)
            hashes = "--verify-hashes" if lock.unhashed else "--require-hashes"
            self._uv.run(
                "pip", "sync", options.name, locked, "--python", temporary / "bin" / "python", hashes,
                "--no-python-downloads", *wanted.links(links), say=say, keep_open=(descriptor,),
            )  # fmt: skip
        own_files.check(temporary, made)
        own_files.write(temporary, lock.interpreter)
        (temporary / LOCK).write_text(lock.text)

    def _compile(self, temporary: Path, lock: Lock, say: Callable[[str], None], descriptor: int) -> None:
        """A confined worker cannot write bytecode, so what is not compiled now is compiled at every start."""
        say("compiling bytecode")  # of a large environment it takes a minute
        (packages,) = temporary.glob("lib/python*/site-packages")
        files, compiled = self._bytecode.provide(packages, lock.interpreter, (descriptor,))
        say(f"bytecode of {files} files: {compiled} compiled, the others shared with other environments")

    @contextmanager
    def _locked(self, digest: str, say: Callable[[str], None]) -> Iterator[int]:
        with self._try_locked(digest) as mine:
            if mine:
                yield mine
                return
        say(f"environment {digest[:12]} is being built by another process: waiting for it")
        with locks.held(self._lock_file(digest)) as descriptor:
            assert descriptor is not None
            yield descriptor

    def _try_locked(self, digest: str) -> AbstractContextManager[int | None]:
        """The lock's file descriptor, or None where somebody else holds it."""
        return locks.held(self._lock_file(digest), seconds=0)

    def _lock_file(self, digest: str) -> Path:
        directory = self._directory / "locks"
        directory.mkdir(parents=True, exist_ok=True)
        return directory / f"{digest}.lock"


def _whole(place: Path) -> bool:
    """Its marker is there, and the interpreter that it points to still is."""
    return (place / MARKER).exists() and (place / "bin" / "python").exists()


def _mark(marker: Path, lock: Lock) -> None:
    facts: dict[str, Any] = {
        "digest": lock.digest,
        "interpreter": str(lock.interpreter.path),
        "python": lock.interpreter.text,
        "platform": lock.interpreter.platform,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "packages": lock.packages,
    }
    files.write(marker, json.dumps(facts, indent=1))
