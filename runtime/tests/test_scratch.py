"""What confined code leaves in its directory is measured and removed, whatever it does to that."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from serinus_runtime.isolation.scratch import Bounds, excess, remove

PLENTY = Bounds(1 << 30, 1000)


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    directory = tmp_path / "scratch"
    directory.mkdir()
    return directory


def nested(top: Path, levels: int) -> None:
    """Deeper than a path can be long."""
    here = os.open(top, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d" * 100, dir_fd=here)
        inner = os.open("d" * 100, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)


def test_nothing_is_exceeded_by_little_or_by_nothing(scratch: Path) -> None:
    (scratch / "a").mkdir()
    (scratch / "a" / "b").write_text("x")
    assert excess(scratch, PLENTY) == ""
    assert excess(scratch / "not there", PLENTY) == ""


def test_files_and_directories_are_counted_wherever_they_lie(scratch: Path) -> None:
    for name in ("a", "b"):
        (scratch / name / "c").mkdir(parents=True)
    assert excess(scratch, Bounds(1 << 30, 4)) == ""
    assert excess(scratch, Bounds(1 << 30, 3)) == "more than 3 files"
    assert excess(scratch, Bounds(1 << 30, 3), but={"a"}) == ""


def test_what_a_file_takes_on_the_disk_is_counted_and_not_how_long_it_says_it_is(scratch: Path) -> None:
    with (scratch / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    assert excess(scratch, Bounds(1 << 20, 10)) == ""
    (scratch / "a").write_bytes(bytes(2 << 20))
    assert excess(scratch, Bounds(1 << 20, 10)) == "more than 1 MiB"


def test_no_link_is_followed(scratch: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").write_bytes(bytes(1 << 20))
    (scratch / "link").symlink_to(elsewhere)
    (tmp_path / "itself").symlink_to(elsewhere)
    assert excess(scratch, Bounds(1 << 19, 10)) == ""
    assert excess(tmp_path / "itself", PLENTY) == "a directory that cannot be looked into"
    remove(scratch)
    remove(tmp_path / "itself")
    assert (elsewhere / "kept").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["elsewhere"]


def test_what_is_nested_beyond_any_path_is_too_much_and_is_removed(scratch: Path) -> None:
    nested(scratch, 300)
    assert excess(scratch, PLENTY) == "directories more than 64 deep"
    remove(scratch)
    assert not scratch.exists()


def test_a_directory_without_rights_is_too_much_and_is_removed(scratch: Path) -> None:
    (scratch / "a" / "b").mkdir(parents=True)
    (scratch / "a" / "b" / "c").touch()
    for path in (scratch / "a" / "b", scratch / "a", scratch):
        path.chmod(0)
    if os.geteuid():  # whoever may do everything can look into it
        assert excess(scratch, PLENTY) == "a directory that cannot be looked into"
    remove(scratch)
    assert not scratch.exists()


def test_the_directory_itself_and_named_entries_stay_where_they_are_to(scratch: Path) -> None:
    for name in ("stays", "goes"):
        (scratch / name).mkdir()
        (scratch / name / "file").touch()
    remove(scratch, but={"stays"})
    assert sorted(path.name for path in scratch.rglob("*")) == ["file", "stays"]
    remove(scratch, itself=False)
    assert list(scratch.iterdir()) == []
    remove(scratch / "not there")
