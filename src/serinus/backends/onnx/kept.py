"""Compiled models on disk, which are always complete. Concurrent requests create a model once.

<directory>/<digest>/      model.onnx, plan.json, MLmodel; `digest` is over these
<directory>/asked/<question>.json   the result of a question: the digest, or the reason, and the proof
<directory>/locks/<question>.lock   held by the process that answers it
<directory>/condemned/<digest>      an empty file: this compiled model answers differently from its model
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from serinus_runtime.model.compiled import FILES, digest_of

from serinus.core.storage import Stored
from serinus.lib import files, locks

UNUSED_FOR = 86_400.0
"""Seconds for which a compiled model is kept after it was created or requested, even if it is not used yet."""
_DIGEST = re.compile("[0-9a-f]{64}")
_FILES_LOCK = "files"


class Kept:
    """Stores compiled models."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def path(self, digest: str) -> Path:
        """Returns the directory of a compiled model."""
        return self._directory / digest

    def answer(self, question: str) -> Mapping[str, Any] | None:
        """Returns the stored result. None: there is none, or its files are gone."""
        answer = _read(self._asked(question))
        if answer is None or answer["digest"] is None:
            return answer
        with self._locked(_FILES_LOCK):
            return answer if self._touch(answer["digest"]) else None

    def keep(self, question: str, answer: Mapping[str, Any]) -> None:
        """Stores a result."""
        target = self._asked(question)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.write(target, json.dumps(answer))

    def add(self, source: Path) -> str:
        """Copies a compiled model and returns its digest."""
        digest = digest_of(source)
        with self._locked(_FILES_LOCK):
            if not self._touch(digest):
                with self._aside() as aside:
                    aside.mkdir(mode=0o700)
                    for name in FILES:
                        shutil.copyfile(source / name, aside / name)
                    aside.rename(self.path(digest))
        return digest

    def condemn(self, digest: str) -> None:
        """Marks the compiled model as wrong, durably and permanently."""
        if not _DIGEST.fullmatch(digest):
            raise ValueError("no digest of a compiled model")
        marks = self._directory / "condemned"
        marks.mkdir(mode=0o700, parents=True, exist_ok=True)
        (marks / digest).touch(mode=0o600)
        files.sync_directory(marks)

    def condemned(self, digest: str) -> bool:
        """Whether the compiled model is wrong."""
        return (self._directory / "condemned" / digest).exists()

    def sweep(self, used: Collection[str], unused_for: float = UNUSED_FOR) -> None:
        """Removes compiled models that are not in `used` and were not requested in the last `unused_for` seconds, with
        their results."""
        before = time.time() - unused_for
        with self._locked(_FILES_LOCK):
            made = [path for path in self._directory.iterdir() if _DIGEST.fullmatch(path.name)]
            unused = [path for path in made if path.name not in used and path.stat().st_mtime < before]
            for path in unused:
                with self._aside() as aside:
                    path.rename(aside)
            if unused:
                self._forget({path.name for path in unused})

    def stored(self) -> Sequence[Stored]:
        found = []
        for path in self._directory.glob("*/"):
            with suppress(OSError):
                if _DIGEST.fullmatch(path.name):
                    found.append(Stored(path.name, (path,), path.stat().st_mtime))
        return found

    def remove(self, digest: str, since: float) -> bool:
        """See `core.storage.Storage.remove`."""
        path = self.path(digest)
        with self._locked(_FILES_LOCK):
            if not _DIGEST.fullmatch(digest) or not path.is_dir() or path.stat().st_mtime >= since:
                return False
            with self._aside() as aside:
                path.rename(aside)
            self._forget({digest})
        return True

    def _forget(self, digests: Collection[str]) -> None:
        for path in (self._directory / "asked").glob("*.json"):
            answer = _read(path)
            if answer is not None and answer["digest"] in digests:
                path.unlink()

    def _touch(self, digest: str) -> bool:
        """Marks it as requested. Returns whether it exists."""
        try:
            os.utime(self.path(digest))
        except FileNotFoundError:
            return False
        return True

    @contextmanager
    def _aside(self) -> Iterator[Path]:
        """Yields a path for creating or removing a directory, for the holder of the lock. Remains of a killed process
        are removed."""
        aside = self._directory / ".aside"
        shutil.rmtree(aside, ignore_errors=True)
        yield aside
        shutil.rmtree(aside, ignore_errors=True)

    def answering(self, question: str) -> AbstractContextManager[None]:
        """Locks the question across processes. The lock of a process that dies is released."""
        return self._locked(question)

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        directory = self._directory / "locks"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locks.held(directory / f"{name}.lock", mode=locks.WRITE_ONLY):  # Zygotes may read below this directory.
            yield

    def _asked(self, question: str) -> Path:
        return self._directory / "asked" / f"{question}.json"


def _read(path: Path) -> Mapping[str, Any] | None:
    try:
        answer: Mapping[str, Any] = json.loads(path.read_text())
    except (FileNotFoundError, ValueError, RecursionError):
        return None
    return answer
