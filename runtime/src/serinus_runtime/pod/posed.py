"""The question that a container is asked, in files that are mounted into it.

The variable SERINUS_QUESTION holds {"parts": number, "sha256": digest of the question, "paths"?}. The question itself
is compressed JSON in the files `part-0`, `part-1`, ...; its key is in the file `key`:

    {"module": "trials.reference", "config": {..} or null, "files": {field: {..}},
     "directories": {field: {name: content in base64}}, "returned": name, "confinement": as of a release,
     "limits": {"seconds", "memory_bytes", "file_bytes", "written_bytes", "written_files", "printed_bytes"}}

Without a configuration the process is told where the artifact is, and has no packages. Files and directories are
written, and their paths are the values of these fields of the configuration. The files of the directory `returned` of
the scratch are a part of the answer, unless it is empty.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Mapping

from serinus_runtime.isolation.scratch import Bounds
from serinus_runtime.pod.release import Paths
from serinus_runtime.process.watching import QuestionLimits

VARIABLE = "SERINUS_QUESTION"
KEY = "key"
LARGEST = 64 << 20
"""The number of bytes of a question before it is compressed."""
_LIMITS = ("seconds", "memory_bytes", "file_bytes", "printed_bytes")


class InvalidQuestion(ValueError):
    """The question cannot be read. The message contains nothing of it."""


@dataclass(frozen=True)
class QuestionPaths(Paths):
    """The paths of files in the image and in the container."""

    question: Path = Path("/question")


@dataclass(frozen=True)
class Posed:
    """A question, as it was posed."""

    module: str
    config: Mapping[str, Any] | None
    files: Mapping[str, Any]
    directories: Mapping[str, Mapping[str, str]]
    returned: str
    confinement: str
    limits: QuestionLimits
    digest: str
    """The digest of the question."""
    key: bytes
    """The key with which its answer is signed."""
    paths: QuestionPaths


def packed(document: Mapping[str, Any]) -> bytes:
    """Returns a question as the content of its parts. Raises InvalidQuestion where it is too large."""
    content = json.dumps(document).encode()
    if len(content) > LARGEST:
        raise InvalidQuestion(f"it has {len(content) >> 20} MiB of {LARGEST >> 20}")
    return zlib.compress(content, 6)


def digest_of(content: bytes) -> str:
    """Returns the digest of a packed question."""
    return hashlib.sha256(content).hexdigest()


def part(number: int) -> str:
    """Returns the name of the file of a part."""
    return f"part-{number}"


def read(variables: Mapping[str, str]) -> Posed:
    """Reads the question. Raises InvalidQuestion."""
    try:
        told = json.loads(variables[VARIABLE])
        known = {one.name for one in fields(QuestionPaths)}
        paths = QuestionPaths(**{name: Path(path) for name, path in told.get("paths", {}).items() if name in known})
        content = b"".join((paths.question / part(number)).read_bytes() for number in range(told["parts"]))
        key = (paths.question / KEY).read_bytes()
    except (KeyError, ValueError, TypeError, AttributeError, OSError) as error:
        raise InvalidQuestion(f"the question cannot be read ({type(error).__name__})") from None
    if digest_of(content) != told.get("sha256"):
        raise InvalidQuestion("the question is not the one that was posed: its digest is another one")
    document = json.loads(zlib.decompress(content))
    limits = document["limits"]
    return Posed(
        document["module"],
        document["config"],
        document["files"],
        document["directories"],
        document["returned"],
        document["confinement"],
        QuestionLimits(
            written=Bounds(limits["written_bytes"], limits["written_files"]),
            **{name: limits[name] for name in _LIMITS},
        ),
        told["sha256"],
        key,
        paths,
    )
