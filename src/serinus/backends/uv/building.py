"""Builds virtual environments from locks. Concurrent calls build once, and an environment is complete or missing."""

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
"""The file that is written last, so an environment with it is complete."""
LOCK = "requirements.lock"
_BUILDING = ".building"
_DIGEST = re.compile("[0-9a-f]+")


class Builder:
    """Keeps environments below `directory`, each by the digest of its lock.

    An environment is built beside its path and moved there when complete. The builder locks the digest by a file, and
    uv inherits the lock. After a kill, uv ends as well. The next builder waits for that and starts over.
    """

    def __init__(self, uv: Uv, directory: Path, *, accelerate: bool = True, confined: bool = True) -> None:
        """`accelerate`: environments get a link to the libraries that make workers faster. `confined`: processes that
        read or build packages are confined as models are."""
        self._uv = uv
        self._directory = directory
        self._bytecode = Bytecode(directory / "bytecode", confined)
        self._accelerators = Accelerators(uv, directory, self._bytecode) if accelerate else None

    def build(self, lock: Lock, wanted: Wanted, say: Callable[[str], None]) -> Environment:
        """Returns the environment of `lock`. Raises Unbuildable (a package cannot be installed), Unavailable and
        OSError."""
        place = self._directory / lock.digest
        with self._locked(lock.digest, say) as descriptor:
            if not _whole(place):
                started = time.monotonic()
                what = f"Python {lock.interpreter.text}, {len(lock.packages)} packages"
                say(f"building environment {lock.digest[:12]}: {what}")
                self._make(place, lock, wanted, say, descriptor)
                say(f"environment {lock.digest[:12]} is built, in {time.monotonic() - started:.1f} s")
            os.utime(place)  # It counts as requested, so that it is not removed.
            if self._accelerators is not None:
                self._accelerators.link(place, lock.interpreter, say, (descriptor,))
        return Environment(digest=lock.digest, python_version=lock.interpreter.text)

    def place(self, environment: Environment) -> Path:
        """Returns the directory of the environment, which need not exist."""
        return self._directory / environment.digest

    def sweep(self) -> None:
        """Removes the remains of killed builders."""
        for left in self._directory.glob(f"*{_BUILDING}"):
            with self._try_locked(left.name.removesuffix(_BUILDING)) as mine:
                if mine:
                    shutil.rmtree(left, ignore_errors=True)

    def stored(self) -> Sequence[Stored]:
        """Returns the environments that are complete."""
        found = []
        for place in self._directory.glob("*/"):
            with suppress(OSError):
                if _DIGEST.fullmatch(place.name) and (place / MARKER).is_file():
                    found.append(Stored(place.name, (place,), place.stat().st_mtime))
        return found

    def remove(self, digest: str, since: float) -> bool:
        """See `core.storage.Storage.remove`. The environment is moved aside under its builder's lock."""
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
            shutil.rmtree(place, ignore_errors=True)  # The interpreter of the environment no longer exists.
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
            # 0600, because it may contain credentials.
            tempfile.NamedTemporaryFile("w", suffix=".txt", dir=scratch) as options,
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
        """Compiles all packages to bytecode. A confined worker cannot write it and would compile them again at every
        start."""
        say("compiling bytecode")  # It takes a minute for a large environment.
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
        """Yields the descriptor of the lock, or None where somebody else holds it."""
        return locks.held(self._lock_file(digest), seconds=0)

    def _lock_file(self, digest: str) -> Path:
        directory = self._directory / "locks"
        directory.mkdir(parents=True, exist_ok=True)
        return directory / f"{digest}.lock"


def _whole(place: Path) -> bool:
    """Whether the marker and the interpreter that it names exist."""
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
