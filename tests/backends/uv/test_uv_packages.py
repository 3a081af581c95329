"""The packages of an environment, installed for the platform of an image by real uv."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from serinus.backends.uv import UvPackages
from serinus.core.errors import InvalidInput, Unavailable, Unbuildable
from serinus.core.ports import LockedPackage
from serinus.lib import files

pytestmark = pytest.mark.long

MINOR = f"{sys.version_info.major}{sys.version_info.minor}"
ENTRY_POINTS = {"scorer-1.0.dist-info/entry_points.txt": "[console_scripts]\nscore = scorer:main\n"}
CODE = "NAMES = {'a', 'b', 'c'}\ndef main(x='a'):\n    return x in {'one', 'two', 'three', 'four'}\n"


@pytest.fixture
def packages(home: Path, index: Any) -> UvPackages:
    return UvPackages(home, indexes=[index.url])


def platform_wheel(index: Any, name: str, version: str, tag: str, day: str = "2023-01-01") -> None:
    """A wheel for one platform only, with a file that says which."""
    index.add(name, version, day, more={f"{name}_platform.py": f"platform = {tag!r}\n"})
    made = index.folder / f"{name}-{version}-py3-none-any.whl"
    named = made.with_name(f"{name}-{version}-cp{MINOR}-cp{MINOR}-{tag}.whl")
    made.rename(named)
    index.uploaded[named.name] = index.uploaded.pop(made.name)


def contents(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


def test_what_was_locked_is_told(index: Any, prepare: Any, packages: UvPackages) -> None:
    index.add("scorer", "1.0", "2023-01-01", "Numbers_2>=1")
    index.add("numbers_2", "1.5+cpu", "2023-01-01")
    environment = prepare("scorer==1.0")
    locked = packages.locked(environment.digest)
    assert locked.packages == (LockedPackage("numbers-2", "1.5+cpu"), LockedPackage("scorer", "1.0"))
    assert locked.python_version == environment.python_version
    assert locked.interpreter.is_file()


def test_wheels_of_the_images_platform_are_installed_and_not_this_machines(
    index: Any, prepare: Any, packages: UvPackages, tmp_path: Path
) -> None:
    for tag in ("manylinux_2_28_x86_64", "manylinux_2_28_aarch64"):
        platform_wheel(index, "scorer", "1.0", tag)
    environment = prepare("scorer==1.0")
    for platform, tag in (("linux/amd64", "manylinux_2_28_x86_64"), ("linux/arm64", "manylinux_2_28_aarch64")):
        target = tmp_path / platform
        packages.install(environment.digest, platform, target, lambda _: None)
        assert tag in (target / "scorer_platform.py").read_text()


def test_the_same_lock_makes_the_same_files_wherever_and_whoever_installs_it(
    index: Any, prepare: Any, packages: UvPackages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.add("scorer", "1.0", "2023-01-01", "numbers2", more=ENTRY_POINTS, code=CODE)
    index.add("numbers2", "1.5", "2023-01-01")
    environment = prepare("scorer==1.0")
    packages.install(environment.digest, "linux/amd64", tmp_path / "one", lambda _: None)
    for path in (tmp_path / "one").rglob("*.py"):
        os.utime(path, (1, 1))  # when an archive is unpacked
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "another-cache"))
    with files.umask(0o077):
        packages.install(environment.digest, "linux/amd64", tmp_path / "deep" / "two", lambda _: None)
    found = contents(tmp_path / "one")
    assert found == contents(tmp_path / "deep" / "two")
    bytecode = f"__pycache__/scorer.cpython-{MINOR}.pyc"
    assert {"scorer.py", "numbers2.py", "scorer-1.0.dist-info/METADATA", bytecode} <= set(found)
    place = str(tmp_path / "one")
    asked = f"import sys; sys.path.append({place!r}); import scorer; print(scorer.main.__code__.co_filename)"
    told = subprocess.run([sys.executable, "-I", "-v", "-c", asked], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == str(tmp_path / "one" / "scorer.py")
    assert f"matches {tmp_path / 'one' / 'scorer.py'}" in told.stderr  # the bytecode was good
    assert not [name for name in found if name.startswith("bin") or name == ".lock"]
    record = (tmp_path / "one" / "scorer-1.0.dist-info" / "RECORD").read_text()
    assert "scorer.py," in record
    assert "bin/" not in record


def test_a_package_without_a_wheel_for_the_platform_is_named(
    index: Any, prepare: Any, packages: UvPackages, tmp_path: Path
) -> None:
    platform_wheel(index, "scorer", "1.0", "manylinux_2_28_x86_64")
    environment = prepare("scorer==1.0")
    packages.install(environment.digest, "linux/amd64", tmp_path / "amd64", lambda _: None)
    with pytest.raises(Unbuildable, match=r"for linux/arm64 cannot be built: scorer==1.0 has no wheel") as caught:
        packages.install(environment.digest, "linux/arm64", tmp_path / "arm64", lambda _: None)
    assert "allow-builds" not in str(caught.value)


def test_a_package_that_only_another_platform_needs_is_named(
    index: Any, prepare: Any, packages: UvPackages, tmp_path: Path
) -> None:
    index.add("scorer", "1.0", "2023-01-01", "numbers2; platform_machine == 'aarch64'")
    index.add("numbers2", "1.5", "2023-01-01")
    environment = prepare("scorer==1.0")
    with pytest.raises(Unbuildable, match=r"numbers2 is needed for this platform, and the lock .* does not have it"):
        packages.install(environment.digest, "linux/arm64", tmp_path / "arm64", lambda _: None)


def test_a_file_that_was_replaced_in_the_index_is_refused(
    index: Any, prepare: Any, packages: UvPackages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.add("scorer", "1.0", "2023-01-01")
    environment = prepare("scorer==1.0")
    index.add("scorer", "1.0", "2023-01-01", code="version = 'evil'\n")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "another-cache"))
    with pytest.raises(Unbuildable):
        packages.install(environment.digest, "linux/amd64", tmp_path / "amd64", lambda _: None)
    assert not (tmp_path / "amd64" / "scorer.py").exists()


def test_the_credentials_of_an_index_are_in_no_message_and_no_file(
    index: Any, prepare: Any, packages: UvPackages, tmp_path: Path
) -> None:
    index.add("scorer", "1.0", "2023-01-01")
    environment = prepare("scorer==1.0")
    said: list[str] = []
    packages.install(environment.digest, "linux/amd64", tmp_path / "amd64", said.append)
    assert said
    assert "secret-token" not in "".join(said)
    assert not [
        path for path in (tmp_path / "amd64").rglob("*") if path.is_file() and b"secret-token" in path.read_bytes()
    ]


def test_an_unknown_platform_and_an_environment_that_is_gone_are_said(packages: UvPackages, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="The environment dddddddddddd is not on this machine any more"):
        packages.install("d" * 64, "linux/amd64", tmp_path / "x", lambda _: None)
    with pytest.raises(InvalidInput, match="hexadecimal"):
        packages.locked("../x")
    with pytest.raises(InvalidInput, match="for the platform windows/amd64"):
        packages.install_accelerators("3.11.7", "windows/amd64", tmp_path / "x", lambda _: None)


@pytest.mark.parametrize(("platform", "machine"), [("linux/amd64", 62), ("linux/arm64", 183)])
@pytest.mark.parametrize("version", ["3.8.18", "3.13.0"])
def test_accelerators_are_those_of_the_platform_and_the_python(
    home: Path, tmp_path: Path, platform: str, machine: int, version: str
) -> None:
    """From the package index that this machine is set up with, for a Python that need not be here."""
    packages = UvPackages(home)
    assert packages.install_accelerators(version, platform, tmp_path / "made", lambda _: None)
    (library,) = (tmp_path / "made" / "orjson").glob("*.so")
    with library.open("rb") as file:
        assert int.from_bytes(file.read(20)[18:], "little") == machine
    assert f"cpython-{''.join(version.split('.')[:2])}-" in library.name


def test_numpy_for_arm64_holds_aarch64_files(home: Path, tmp_path: Path) -> None:
    """A lock of this machine, from the package index that it is set up with."""
    from serinus.backends.uv import UvEnvironments
    from serinus.core.release import Requirements

    made = UvEnvironments(home, interpreters=[Path(sys.executable)], always=(), accelerate=False)
    version = ".".join(map(str, sys.version_info[:3]))
    environment = made.prepare(Requirements(("numpy==2.2.6",), version), lambda _: None, lambda _: None)
    UvPackages(home).install(environment.digest, "linux/arm64", tmp_path / "made", lambda _: None)
    libraries = list((tmp_path / "made" / "numpy").rglob("*.so"))
    assert len(libraries) > 10
    machines = set()
    for library in libraries:
        with library.open("rb") as file:
            machines.add(int.from_bytes(file.read(20)[18:], "little"))
    assert machines == {183}
    assert json.loads((home / environment.digest / "environment.json").read_text())["digest"] == environment.digest
