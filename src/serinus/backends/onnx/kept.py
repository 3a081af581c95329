"""Compiled models on disk: whole or not there at all, made once whoever asks at the same time.

<directory>/<digest>/      model.onnx, plan.json, MLmodel; `digest` over these
<directory>/asked/<question>.json   what became of a question: the digest, or why not, and the proof
<directory>/locks/<question>.lock   held by who answers it
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

FILES = ("MLmodel", "model.onnx", "plan.json")


class Kept:
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def path(self, digest: str) -> Path:
        return self._directory / digest

    def answer(self, question: str) -> Mapping[str, Any] | None:
        """What was answered before; None: nothing, or the files are gone."""
        try:
            answer: Mapping[str, Any] = json.loads(self._asked(question).read_text())
        except (FileNotFoundError, ValueError):
            return None
        digest = answer["digest"]
        return answer if digest is None or self.path(digest).is_dir() else None

    def keep(self, question: str, answer: Mapping[str, Any]) -> None:
        target = self._asked(question)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = target.with_suffix(f".{os.getpid()}.new")
        with new.open("w") as file:
            json.dump(answer, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(target)

    def add(self, source: Path) -> str:
        """Copies a compiled model; its digest."""
        contents = {name: (source / name).read_bytes() for name in FILES}
        digest = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in contents.values())).hexdigest()
        with self._locked("adding"):
            if not self.path(digest).is_dir():
                # Made aside and moved. What a killed process left there is of nobody: only one adds at a time.
                aside = self._directory / ".adding"
                shutil.rmtree(aside, ignore_errors=True)
                aside.mkdir(mode=0o700)
                for name, content in contents.items():
                    (aside / name).write_bytes(content)
                aside.rename(self.path(digest))
        return digest

    def answering(self, question: str) -> AbstractContextManager[None]:
        """One at a time, over all processes; a process that dies lets go."""
        return self._locked(question)

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        locks = self._directory / "locks"
        locks.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(locks / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _asked(self, question: str) -> Path:
        return self._directory / "asked" / f"{question}.json"
