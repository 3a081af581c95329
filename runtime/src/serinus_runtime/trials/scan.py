"""The imports that loading an artifact's files would cause. Nothing is loaded.

    python -I -c "... from serinus_runtime.trials.scan import main; main()" ARTIFACT

prints {"pickles": [{"file", "imports": ["module.name", ..], "problem"?}], "other": [..]}: pickles wherever they are
(plain, compressed by joblib, in zip archives as torch and NumPy write them; skops lists its types in `schema.json`),
and the Python files that come with the model. An import that cannot be determined is `unresolved`.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import re
import resource
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO, Iterator

from serinus_runtime.isolation import confine, landlock
from serinus_runtime.isolation.pickles import UNRESOLVED, Machine, Refused

_SUFFIXES = frozenset(
    [".pkl", ".pickle", ".joblib", ".cloudpickle", ".dill", ".pt", ".pth", ".bin", ".npy", ".npz", ".skops", ".ckpt"]
)
_NAMED = re.compile(r"^\s+(?:pickled_model|python_model|model_path|data|model_file):\s*['\"]?([^'\"\n]+)", re.MULTILINE)
_MOST_FILES = 20_000
_MOST_UNPACKED = 1 << 30
_SECONDS = 60
_MEMORY = 4 << 30


def main() -> None:
    """Runs the scan."""
    artifact = Path(sys.argv[1]).resolve()
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
    if landlock.abi() > 0:
        confine.confine((artifact, *confine.own_directories()), None, (), _MEMORY)
    json.dump(scan(artifact), sys.stdout)


def scan(artifact: Path) -> dict[str, Any]:
    """See the module. Hostile files are reported with a `problem`, and take bounded time and memory."""
    pickles: list[dict[str, Any]] = []
    other: list[str] = []
    named = _named_files(artifact)
    for count, path in enumerate(_files(artifact)):
        name = path.relative_to(artifact).as_posix()
        if count >= _MOST_FILES:
            pickles.append(_finding(name, {UNRESOLVED}, f"more than {_MOST_FILES} files: the rest was not scanned"))
            break
        if path.is_symlink():
            pickles.append(_finding(name, {UNRESOLVED}, "a symbolic link, which is not followed"))
        elif path.suffix == ".py":
            other.append(name)
        elif path.suffix in _SUFFIXES or name in named or _looks_pickled(path):
            with path.open("rb") as file:
                pickles += _scan_stream(name, file, certain=path.suffix != ".bin" and name not in named)
    return {"pickles": pickles, "other": other}


def _files(root: Path) -> Iterator[Path]:
    for directory, names, files in os.walk(root):
        names.sort()
        for name in sorted(files):
            yield Path(directory) / name


def _named_files(artifact: Path) -> frozenset[str]:
    """Returns the files that MLmodel tells the flavors to load, whatever their extension."""
    try:
        text = (artifact / "MLmodel").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    return frozenset(match.strip() for match in _NAMED.findall(text))


def _looks_pickled(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(4)
    return (start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")) or start == b"PK\x03\x04"


def _finding(name: str, imports: set[str], problem: str = "") -> dict[str, Any]:
    finding: dict[str, Any] = {"file": name, "imports": sorted(imports)}
    if problem:
        finding["problem"] = problem
    return finding


def _scan_stream(name: str, file: BinaryIO, *, certain: bool = True) -> list[dict[str, Any]]:
    """Scans a stream. `certain`: its name is that of a pickle. Other files are ignored where they are not pickles."""
    start = file.read(8)
    file.seek(0)
    try:
        if start[:4] == b"PK\x03\x04":
            return list(_scan_zip(name, file))
        if start[:6] == b"\x93NUMPY":
            return _scan_numpy(name, file)
        return [_scan_pickle(name, _unpacked(file, start), certain)]
    except _NotPickled:
        return []
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, MemoryError) as error:
        return [_finding(name, {UNRESOLVED}, f"cannot be read: {type(error).__name__}")]


class _NotPickled(Exception):
    pass


def _scan_pickle(name: str, stream: BinaryIO, certain: bool = True) -> dict[str, Any]:
    machine = Machine(stream)
    try:
        machine.run()
    except Refused as error:
        if not certain and not machine.imports:
            raise _NotPickled from error
        return _finding(name, machine.imports | {UNRESOLVED}, str(error))
    return _finding(name, machine.imports)


def _unpacked(file: BinaryIO, start: bytes) -> BinaryIO:
    """Returns the stream, decompressed up to a limit where joblib has compressed it."""
    if start[:2] == b"\x1f\x8b":
        return _bounded(gzip.GzipFile(fileobj=file))
    if start[:3] == b"BZh":
        return _bounded(bz2.BZ2File(file))
    if start[:6] == b"\xfd7zXZ\x00" or start[:3] == b"\x5d\x00\x00":
        return _bounded(lzma.LZMAFile(file))
    if start[:1] == b"\x78" and len(start) > 1 and int.from_bytes(start[:2], "big") % 31 == 0:
        unpacker = zlib.decompressobj()
        content = unpacker.decompress(file.read(), _MOST_UNPACKED)
        if unpacker.unconsumed_tail:
            raise ValueError
        return io.BytesIO(content)
    return file


def _bounded(packed: Any) -> BinaryIO:
    content = packed.read(_MOST_UNPACKED + 1)
    if len(content) > _MOST_UNPACKED:
        raise ValueError
    return io.BytesIO(content)


def _scan_zip(name: str, file: BinaryIO) -> Iterator[dict[str, Any]]:
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist()[:_MOST_FILES]:
            inner = f"{name}:{entry.filename}"
            suffix = Path(entry.filename).suffix
            with archive.open(entry) as member:
                if entry.filename == "schema.json":
                    yield _scan_schema(inner, _bounded(member))
                elif suffix in _SUFFIXES:
                    yield from _scan_stream(inner, _bounded(member), certain=suffix != ".bin")


def _scan_numpy(name: str, file: BinaryIO) -> list[dict[str, Any]]:
    """Scans a .npy file, which holds a pickle only where its dtype is `object`."""
    head = file.read(12)
    long = head[6] >= 2
    length = int.from_bytes(head[8:12] if long else head[8:10], "little")
    file.seek(12 if long else 10)
    header = file.read(min(length, 1 << 20))
    return [_scan_pickle(name, file)] if b"O" in header.partition(b"descr")[2].partition(b",")[0] else []


def _scan_schema(name: str, file: BinaryIO) -> dict[str, Any]:
    """Scans a schema of skops, in which every node names its class."""
    imports: set[str] = set()
    waiting = [json.load(file)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if isinstance(node.get("__class__"), str):
                imports.add(f"{node.get('__module__', UNRESOLVED)}.{node['__class__']}")
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)
    return _finding(name, imports)
