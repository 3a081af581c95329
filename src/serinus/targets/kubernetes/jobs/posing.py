"""Questions as a pod reads them, and their answers as it writes them."""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from serinus_runtime.pod import frame, posed
from serinus_runtime.pod.frame import NoAnswer

from serinus.core.errors import Unavailable, Unbuildable
from serinus.targets.kubernetes.jobs.settings import JobSettings
from serinus.targets.trials import Answer, Ended, Failed, Question, document_of

_PART_BYTES = 768 << 10
"""Of one Secret. Kubernetes takes 1 MiB."""
_MOST_PARTS = 16
_FILE_BYTES = 1 << 30
_WRITTEN_FILES = 100_000
_PRINTED_BYTES = 64 << 20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""The name of a file that a model has written."""


@dataclass(frozen=True, slots=True)
class Posed:
    """One question, to be asked once."""

    parts: tuple[bytes, ...]
    digest: str
    key: bytes
    """Signs its answer. It is made for this question."""


def pose(question: Question, settings: JobSettings) -> Posed:
    """Raises Unbuildable where the question is too large for the cluster."""
    document = {
        "module": question.module,
        "config": None if question.environment is None else question.config({}),
        "files": dict(question.files),
        "directories": {
            field: {name: base64.b64encode(content).decode() for name, content in files.items()}
            for field, files in question.directories.items()
        },
        "returned": question.returned,
        "confinement": settings.confinement,
        "limits": {
            "seconds": settings.seconds,
            "memory_bytes": settings.model_bytes,
            "file_bytes": min(_FILE_BYTES, settings.scratch_bytes),
            "written_bytes": settings.scratch_bytes,
            "written_files": _WRITTEN_FILES,
            "printed_bytes": _PRINTED_BYTES,
        },
    }
    try:
        content = posed.packed(document)
    except posed.InvalidQuestion as error:
        raise _too_large(str(error)) from error
    parts = tuple(content[at : at + _PART_BYTES] for at in range(0, len(content), _PART_BYTES))
    if len(parts) > _MOST_PARTS:
        size, most = len(content) >> 20, _MOST_PARTS * _PART_BYTES >> 20
        raise _too_large(f"it has {size} MiB when it is compressed, of {most}")
    return Posed(parts, posed.digest_of(content), secrets.token_bytes(32))


def _too_large(why: str) -> Unbuildable:
    return Unbuildable(
        f"What the model is to be asked is too large to be sent into the cluster: {why}.",
        hint="Log fewer rows: a sample of them is enough.",
    )


def answer_in(log: Iterable[str], asked: Posed) -> Answer:
    """The answer to a question, from the log of its container. Raises Failed where the model gave none, and Unavailable
    where the log does not hold it."""
    try:
        said = frame.read(log, asked.key, asked.digest)
    except NoAnswer as error:
        raise Unavailable(f"An answer of a model has not arrived: {error}.") from error
    if said["stopped"]:
        raise Failed(str(said["stopped"]), environment=False)
    document = document_of(Ended(said["code"], said["said"], said["complained"]))
    files = {name: base64.b64decode(content) for name, content in said["files"].items() if _NAME.fullmatch(name)}
    return Answer(document, float(said["seconds"]), files)
