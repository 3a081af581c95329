"""Detection of broken files: empty, truncated, of another type, or without files that belong to them.

Nothing is unpickled or imported, and only a few bytes of each file are read.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path

from serinus.backends.mlflow.files import walk

_PICKLES = frozenset({".pkl", ".pickle", ".joblib", ".cloudpickle", ".dill"})
_MODELS = frozenset(
    {".bin", ".bst", ".cbm", ".h5", ".hdf5", ".keras", ".lgb", ".onnx", ".pb", ".pt", ".pth", ".safetensors", ".skops"}
    | {".ubj", ".xgb", ".zip"}
)
_ZIPPED = b"PK\x03\x04"
_PICKLED = re.compile(rb"\x80[\x02-\x05]")
_ANSWERS = (b"<", b"{")
"""The beginnings of web pages and JSON. No pickle begins like this, compressed or not."""
_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<all>\d{5})(?P<suffix>\..+)?")


def broken_files(root: Path, loaded: Collection[Path]) -> list[str]:
    """Returns a few words about each broken file of the artifact at `root`. `loaded` are the files and directories that
    its flavor reads."""
    return [*_unreadable(root, loaded), *_tensorflow(root), *_shards(root)]


def _unreadable(root: Path, loaded: Collection[Path]) -> Iterator[str]:
    for path in sorted(walk(root)):
        name, read = path.relative_to(root).as_posix(), path in loaded
        size = path.stat().st_size
        beside = path.suffix in _MODELS and any(parent in loaded for parent in path.parents)
        if size == 0 and (read or beside or path.suffix in _PICKLES):
            yield f"{name} is empty"
        elif size and (read or path.suffix in _PICKLES):
            with path.open("rb") as file:
                start = file.read(4)
                file.seek(-1, 2)
                last = file.read(1)
            if path.suffix in _PICKLES and start.startswith(_ANSWERS):
                yield f"{name} is text instead of a pickle, such as an error message of the artifact store"
            elif why := _cut_off(path, size, start, last):
                yield f"{name} is cut off: {why}"


def _cut_off(path: Path, size: int, start: bytes, last: bytes) -> str:
    if start == _ZIPPED:
        return "" if zipfile.is_zipfile(path) else "the directory of the zip archive is missing"
    if path.suffix in _PICKLES and size < 3:
        return f"a pickle of {size} bytes"
    # Every pickle ends with its instruction to stop. Old files of torch, which are not zipped, have data after that.
    if _PICKLED.match(start) and path.suffix in _PICKLES and last != b".":
        return "the pickle ends too early"
    return ""


def _tensorflow(root: Path) -> Iterator[str]:
    """Yields errors of a SavedModel of TensorFlow 2, which must have variables beside its graph."""
    for graph in sorted(root.rglob("saved_model.pb")):
        folder = graph.parent
        newer = any((folder / name).is_file() for name in ("fingerprint.pb", "keras_metadata.pb"))
        variables = folder / "variables"
        named = (variables / "variables.index").relative_to(root).as_posix()
        if (newer or variables.is_dir()) and not (variables / "variables.index").is_file():
            yield f"{named} is missing"
        elif (variables / "variables.index").is_file() and not any(variables.glob("variables.data-*")):
            yield f"{variables.relative_to(root).as_posix()} has no variables.data-..."


def _shards(root: Path) -> Iterator[str]:
    """Yields missing parts of files such as `variables.data-00000-of-00002` or `model-00001-of-00003.safetensors`."""
    groups: dict[tuple[Path, str, str, str], set[int]] = {}
    for path in walk(root):
        if found := _SHARD.fullmatch(path.name):
            key = (path.parent, found["stem"], found["all"], found["suffix"] or "")
            groups.setdefault(key, set()).add(int(found["number"]))
    for (folder, stem, many, suffix), there in sorted(groups.items()):
        first = 0 if 0 in there or stem.endswith(".data") else 1
        wanted = range(first, first + min(int(many), 10_000))
        if (lost := next((number for number in wanted if number not in there), None)) is not None:
            yield f"{(folder / f'{stem}-{lost:05d}-of-{many}{suffix}').relative_to(root).as_posix()} is missing"
