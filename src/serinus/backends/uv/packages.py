"""The Packages port on uv: installs what an environment was locked to, for a platform that may differ from this
machine's.

The lock has the hashes of all files of each version, including those for other platforms. So uv takes the right files
and no others. It unpacks wheels and runs nothing.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path

from serinus.backends.uv.accelerators import LOCK as ACCELERATORS
from serinus.backends.uv.building import LOCK, MARKER
from serinus.backends.uv.bytecode import Bytecode
from serinus.backends.uv.command import Uv
from serinus.backends.uv.interpreters import Interpreter
from serinus.backends.uv.locking import normalised
from serinus.backends.uv.words import NoWheel
from serinus.core.errors import InvalidInput, Unavailable, Unbuildable
from serinus.core.ports import LockedEnvironment, LockedPackage

_PLATFORMS = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}
"""The platform of an image -> its name in uv."""
_GLIBC = "2.28"
"""The oldest version that a base image may have."""
_DIGEST = re.compile("[0-9a-f]+")
_ENTRY = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?\s*(?:==\s*([^\s;\\]+)|@)")
_OF_THIS_MACHINE = frozenset({"direct_url.json", "uv_cache.json"})
"""Files that say where and when a wheel was found."""


class UvPackages:
    """Implements `core.ports.Packages` for the environments that are kept below `environments`.

    `indexes` are addresses of package indexes in addition to the one that uv is configured with, with the credentials
    that they need. `confined` says whether the compiler of their bytecode is confined as models are.
    """

    def __init__(
        self, environments: Path, *, indexes: Collection[str] = (), uv: Path | None = None, confined: bool = True
    ) -> None:
        self._uv = Uv(uv)
        self._bytecode = Bytecode(environments / "bytecode" / "images", confined)
        self._environments = environments
        self._indexes = tuple(indexes)

    @property
    def accelerators(self) -> str:
        return hashlib.sha256(ACCELERATORS.read_bytes()).hexdigest()

    def locked(self, environment: str) -> LockedEnvironment:
        directory = self._directory(environment)
        try:
            facts = json.loads((directory / MARKER).read_text())
            text = (directory / LOCK).read_text()
        except FileNotFoundError as error:
            raise _gone(environment) from error
        found = (_ENTRY.match(line) for line in text.splitlines())
        packages = tuple(LockedPackage(normalised(one[1]), one[2] or "") for one in found if one)
        return LockedEnvironment(environment, facts["python"], Path(facts["interpreter"]), packages)

    def install(self, environment: str, platform: str, target: Path, say: Callable[[str], None]) -> None:
        locked = self.locked(environment)
        version = tuple(map(int, locked.python_version.split(".")))
        say(f"installing the packages of environment {environment[:12]} for {platform}")
        try:
            self.install_lock(self._directory(environment) / LOCK, locked.python_version, platform, target, say)
        except NoWheel as error:
            raise Unbuildable(
                f"The image of the model for {platform} cannot be built: {error.message}.",
                hint="Pin a version that has a wheel for this platform and Python, and log the model again.",
            ) from error
        # Bytecode is the same on every platform. A container cannot write it and would compile at every start.
        self._bytecode.provide_reproducibly(target, Interpreter(locked.interpreter, version, platform))

    def install_accelerators(
        self, python_version: str, platform: str, target: Path, say: Callable[[str], None]
    ) -> bool:
        try:
            self.install_lock(ACCELERATORS, python_version, platform, target, say)
        except Unbuildable as error:
            say(f"goes without accelerators: {error.message}")
            return False
        return True

    def install_lock(
        self,
        lock: Path,
        python_version: str,
        platform: str,
        target: Path,
        say: Callable[[str], None],
        glibc: str = _GLIBC,
        programs: Collection[str] = (),
    ) -> None:
        """Installs the packages in `lock`, each file by its hash, for `platform` into the directory `target`. `glibc`
        is the oldest version that the image has. `programs` are those in `bin/` that are kept, which must not be
        scripts. Raises NoWheel and Unavailable."""
        with (
            tempfile.TemporaryDirectory(prefix="serinus-") as scratch,
            tempfile.NamedTemporaryFile("w", suffix=".txt", dir=scratch) as options,  # 0600: it may hold credentials
        ):
            options.write("".join(f"--extra-index-url {index}\n" for index in self._indexes))
            options.flush()
            # The index does not matter, since the hashes determine the files. uv asks the interpreter only how files
            # are laid out, which `--target` does not determine.
            self._uv.run(
                "pip", "install", "--target", target, "--python", sys.executable, "--no-python-downloads",
                "--python-platform", f"{_known(platform)}-manylinux_{glibc.replace('.', '_')}",
                "--python-version", python_version,
                "--only-binary", ":all:", "--require-hashes", "--index-strategy", "unsafe-best-match",
                "--link-mode", "hardlink", "--requirements", options.name, "--requirements", lock, say=say,
            )  # fmt: skip
        _forget_this_machine(target, programs)

    def _directory(self, environment: str) -> Path:
        if not _DIGEST.fullmatch(environment):
            raise InvalidInput("The digest of an environment has hexadecimal digits alone.")
        return self._environments / environment


def _forget_this_machine(target: Path, programs: Collection[str]) -> None:
    """Removes what depends on the place and the time of the installation: scripts, which name the interpreter that uv
    was given and which nothing that serves runs, and records of the packages' origin. `programs` are no scripts, and
    stay."""
    for package in target.glob("*.dist-info"):
        gone = {f"{package.name}/{name}" for name in _OF_THIS_MACHINE}
        for name in _OF_THIS_MACHINE:
            (package / name).unlink(missing_ok=True)
        record = package / "RECORD"
        if record.is_file():
            text = record.read_text(encoding="utf-8", errors="surrogateescape")
            kept = [row for row in csv.reader(io.StringIO(text)) if row and _stays(row[0], gone)]
            record.unlink()  # The cache of uv has it under another name.
            with record.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows(sorted(kept))
    staying = {name: target / f".{name}" for name in programs if (target / "bin" / name).is_file()}
    for name, aside in staying.items():
        (target / "bin" / name).rename(aside)
    shutil.rmtree(target / "bin", ignore_errors=True)
    for name, aside in staying.items():
        (target / "bin").mkdir(exist_ok=True)
        aside.rename(target / "bin" / name)
    (target / ".lock").unlink(missing_ok=True)


def _stays(name: str, gone: Collection[str]) -> bool:
    return name not in gone and not name.startswith(("bin/", "../"))


def _known(platform: str) -> str:
    try:
        return _PLATFORMS[platform]
    except KeyError:
        raise InvalidInput(
            f"Images are not built for the platform {platform}.", hint=f"There are: {', '.join(_PLATFORMS)}."
        ) from None


def _gone(environment: str) -> Unavailable:
    return Unavailable(
        f"The environment {environment[:12]} is not on this machine any more.",
        hint="Deploy the version again, which builds it anew.",
    )
