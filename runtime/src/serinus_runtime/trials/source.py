"""The `[build-system]` of a source archive, read in a confined process without running code of the archive.

    python -I -S -c "... from serinus_runtime.trials.source import main; main()" config.json

config: {"archive", "readable", "scratch", "confine"}. The answer: {"requires": [..], "backend": "module:object",
"backend_path": [..]}, with the defaults of PEP 517 and 518. Needs Python 3.11.
"""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any, Mapping

from serinus_runtime.base.errors import StartFailure
from serinus_runtime.isolation import trial

_LEGACY: Mapping[str, Any] = {
    "requires": ["setuptools>=40.8.0", "wheel"],
    "backend": "setuptools.build_meta:__legacy__",
    "backend_path": [],
}
_MOST_FILES, _MOST_BYTES = 100_000, 2 << 30
_LONGEST_SETTINGS = 1 << 20


def main() -> None:
    """Reads the archive."""
    trial.run(_described)


def _described(config: Mapping[str, Any]) -> Mapping[str, Any]:
    archive = Path(config["archive"])
    trial.confined(config, archive)
    file = unpacked(archive, Path("source")) / "pyproject.toml"
    if not file.is_file():
        return _LEGACY
    with file.open("rb") as stream:
        content = stream.read(_LONGEST_SETTINGS + 1)
    if len(content) > _LONGEST_SETTINGS:
        raise StartFailure("its pyproject.toml is longer than 1 MiB")
    return _build_system(content)


def _build_system(content: bytes) -> Mapping[str, Any]:
    import tomllib

    try:
        table: Any = tomllib.loads(content.decode()).get("build-system")
    except (ValueError, RecursionError) as error:
        raise StartFailure(f"its pyproject.toml cannot be read ({type(error).__name__})") from error
    if table is None:
        return _LEGACY
    if not isinstance(table, dict):
        raise StartFailure("the [build-system] of its pyproject.toml is not a table")
    found: dict[str, Any] = {
        "requires": table.get("requires", []),
        "backend": table.get("build-backend", _LEGACY["backend"]),
        "backend_path": table.get("backend-path", []),
    }
    if "build-backend" not in table:
        found["requires"] = [*found["requires"], *_LEGACY["requires"]]
    return found


def unpacked(archive: Path, target: Path) -> Path:
    """Unpacks a `.tar.gz` or `.zip` below `target`, and returns its directory. Raises StartFailure where it is not a
    source archive, or too large.

    The process must be confined: an entry may name any path and be a link to any other.
    """
    try:
        if archive.name.endswith(".zip"):
            with zipfile.ZipFile(archive) as zipped:
                _check([one.file_size for one in zipped.infolist()])
                zipped.extractall(target)  # noqa: S202  confined
        else:
            with tarfile.open(archive, "r:*") as tar:
                members = tar.getmembers()
                _check([one.size for one in members])
                # Interpreters before the security releases of 2023 have no filters.
                how: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
                tar.extractall(target, members, **how)  # noqa: S202
    except (tarfile.TarError, zipfile.BadZipFile, ValueError, EOFError, NotImplementedError) as error:
        raise StartFailure(f"it cannot be unpacked ({type(error).__name__})") from error
    directories = sorted(path for path in target.iterdir() if path.is_dir() and not path.is_symlink())
    if len(directories) != 1:
        raise StartFailure(f"it holds {len(directories)} directories where a source archive holds one")
    return directories[0]


def _check(sizes: list[int]) -> None:
    if len(sizes) > _MOST_FILES or sum(sizes) > _MOST_BYTES:
        raise StartFailure(f"it holds more than {_MOST_FILES} files or {_MOST_BYTES >> 30} GiB")


def inside(directory: Path, names: list[str]) -> list[str]:
    """Returns the directories of `backend-path`. Raises StartFailure where one leads out of the source."""
    if any(PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts for name in names):
        raise StartFailure("its backend-path leads out of it")
    return [str(directory / name) for name in names]
