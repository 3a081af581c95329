"""`lib.directories`: a directory appears whole, or not at all, whoever else makes it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from serinus.lib import directories

_MAKES = """
import sys
from pathlib import Path
from serinus.lib import directories
with directories.appearing(Path(sys.argv[1])) as new:
    (new / "half").touch()
    print("ready", flush=True)
    sys.stdin.read()
    (new / "other half").touch()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "0123abcd"


def inside(directory: Path) -> list[str]:
    return sorted(one.name for one in directory.iterdir())


def maker(path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _MAKES, str(path)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def make(path: Path, *names: str) -> None:
    with directories.appearing(path) as new:
        for name in names:
            (new / name).touch()


def test_it_appears_with_all_that_is_in_it(path: Path) -> None:
    with directories.appearing(path) as new:
        (new / "deep").mkdir()
        (new / "deep" / "file").write_text("x")
        (new / "link").symlink_to("nowhere")
        assert not path.exists()
    assert inside(path) == ["deep", "link"]
    assert inside(path.parent) == [path.name]
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_an_exception_leaves_nothing(path: Path) -> None:
    with pytest.raises(ZeroDivisionError), directories.appearing(path):
        raise ZeroDivisionError
    assert inside(path.parent) == []


def test_who_is_first_stays(path: Path) -> None:
    child = maker(path)
    make(path, "ours")
    child.communicate()
    assert child.returncode == 0
    assert inside(path) == ["ours"]
    assert inside(path.parent) == [path.name]


def test_an_empty_directory_is_no_other_one(path: Path) -> None:
    path.mkdir()
    make(path, "ours")
    assert inside(path) == ["ours"]


def test_a_file_in_its_place_is_told(path: Path) -> None:
    path.touch()
    with pytest.raises(NotADirectoryError):
        make(path, "ours")
    assert path.is_file()
    assert inside(path.parent) == [path.name]


def test_what_a_killed_maker_has_left_is_removed_by_the_next_and_what_one_is_at_work_on_is_not(path: Path) -> None:
    killed, living = maker(path), maker(path)
    killed.kill()
    killed.communicate()
    assert len(inside(path.parent)) == 2
    other = path.with_name("4567")
    make(other, "another's")
    assert len(inside(path.parent)) == 3, "what is left of others is theirs"
    with directories.appearing(path) as new:
        assert len(inside(path.parent)) == 3
        (new / "ours").touch()
    living.communicate()
    assert living.returncode == 0
    assert inside(path) == ["ours"]
    assert inside(path.parent) == [path.name, other.name]


def test_a_passing_directory_goes_and_takes_those_of_killed_processes_with_it(path: Path) -> None:
    killed, working = maker(path), maker(path)
    killed.kill()
    killed.communicate()
    with directories.passing(path) as new:
        (new / "file").touch()
        assert stat.S_IMODE(new.stat().st_mode) == 0o700
        assert len(inside(path.parent)) == 2  # this one, and that of the one at work
    with pytest.raises(ValueError, match="x"), directories.passing(path):
        raise ValueError("x")
    working.communicate()
    assert inside(path.parent) == [path.name]


def test_content_is_on_disk_before_it_has_its_name(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, bool]] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        asked.append((Path(f"/proc/self/fd/{descriptor}").readlink().name, path.exists()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with directories.appearing(path) as new:
        (new / "deep").mkdir()
        (new / "deep" / "file").write_text("x")
    assert asked == [(new.name, False), ("file", False), ("deep", False), (path.parent.name, True)]


def test_no_descriptor_is_left_open(path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    make(path, "ours")
    make(path, "ours")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
