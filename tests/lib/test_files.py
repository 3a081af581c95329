"""`lib.files`: a file is replaced in one step, by several writers, on a full disk, and where the writer is killed."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from serinus.lib import files, locks


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "settings.json"


def _child(text: str, *arguments: object) -> subprocess.Popen[str]:
    """Runs `text`, and returns once it has printed `ready`."""
    command = [sys.executable, "-c", text, *map(str, arguments)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def _beside(path: Path) -> list[str]:
    return sorted(one.name for one in path.parent.iterdir())


_WRITES = """
import sys
from pathlib import Path
from serinus.lib import files
with files.replacing(Path(sys.argv[1])) as file:
    file.write(b"from the child")
    file.flush()
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_the_file_is_whole_and_alone(path: Path) -> None:
    files.write(path, "grüße")
    files.write(path, b"new")
    assert path.read_bytes() == b"new"
    assert _beside(path) == [path.name]


def test_text_is_utf8(path: Path) -> None:
    files.write(path, "grüße")
    assert path.read_bytes() == "grüße".encode()


@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_the_mode_is_the_one_asked_for_whatever_the_umask(path: Path, mode: int) -> None:
    path.touch(0o644)
    with files.umask(0o077):
        files.write(path, "x", mode=mode)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_without_a_mode_the_umask_decides(path: Path) -> None:
    with files.umask(0o027):
        files.write(path, "x", mode=None)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_nothing_is_readable_by_others_before_it_has_its_mode(path: Path) -> None:
    with files.umask(0), files.replacing(path) as file:
        assert stat.S_IMODE(Path(file.name).stat().st_mode) == 0o600


def test_an_exception_leaves_the_old_file_and_nothing_beside_it(path: Path) -> None:
    def half() -> None:
        with files.replacing(path) as file:
            file.write(b"half")
            file.flush()
            raise ZeroDivisionError

    files.write(path, "old")
    with pytest.raises(ZeroDivisionError):
        half()
    assert path.read_text() == "old"
    assert _beside(path) == [path.name]


def test_a_full_disk_leaves_the_old_file(path: Path) -> None:
    """/dev/full answers ENOSPC to every write, as a full disk does."""

    def half() -> None:
        with files.replacing(path) as file, Path("/dev/full").open("wb", buffering=0) as full:
            file.write(b"half")
            file.flush()
            full.write(b"the other half")

    files.write(path, "old")
    with pytest.raises(OSError) as raised:
        half()
    assert raised.value.errno == errno.ENOSPC
    assert path.read_text() == "old"
    assert _beside(path) == [path.name]


def test_a_file_that_may_not_grow_leaves_the_old_one(path: Path) -> None:
    """The error comes from the kernel, on the flush that `write` does itself."""
    text = """
import resource, signal, sys
from pathlib import Path
from serinus.lib import files
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    files.write(Path(sys.argv[1]), b"x" * 100_000)
except OSError as error:
    sys.exit(error.errno)
"""
    files.write(path, "old")
    ended = subprocess.run([sys.executable, "-c", text, str(path)], check=False)
    assert ended.returncode == errno.EFBIG
    assert path.read_text() == "old"
    assert _beside(path) == [path.name]


def test_a_writer_that_is_killed_leaves_the_old_file_and_the_next_one_clears_up(path: Path) -> None:
    files.write(path, "old")
    child = _child(_WRITES, path)
    child.kill()
    child.communicate()
    assert path.read_text() == "old"
    assert _beside(path) == [path.name, f"{path.name}.new"]
    files.write(path, "x")
    assert path.read_text() == "x", "nothing of the killed one's longer content is left"
    assert _beside(path) == [path.name]


def test_of_two_writers_the_last_one_wins_and_neither_waits(path: Path) -> None:
    child = _child(_WRITES, path)
    files.write(path, "from the parent")
    assert path.read_text() == "from the parent"
    child.communicate()
    assert child.returncode == 0
    assert path.read_text() == "from the child"
    assert _beside(path) == [path.name]


def test_a_writer_that_wants_to_be_alone_is_told_of_another(path: Path) -> None:
    child = _child(_WRITES, path)
    with pytest.raises(BlockingIOError), files.replacing(path, alone=True):
        pytest.fail("two write it")
    child.communicate()
    assert path.read_text() == "from the child"
    with files.replacing(path, alone=True) as file:
        file.write(b"alone")
    assert path.read_text() == "alone"


def test_many_writers_never_show_a_part(path: Path) -> None:
    contents = [str(number).encode() * 20_000 for number in range(8)]
    files.write(path, contents[0])
    wrong: list[int] = []

    def write(content: bytes) -> None:
        for _ in range(40):
            files.write(path, content, durable=False)
            if path.read_bytes() not in contents:
                wrong.append(len(content))

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert _beside(path) == [path.name]


def test_who_only_holds_the_lock_of_what_is_left_stops_nobody(path: Path) -> None:
    left = path.with_name(f"{path.name}.new")
    left.write_text("left")
    descriptor = os.open(left, os.O_RDONLY)
    try:
        assert locks.try_lock(descriptor)
        files.write(path, "new")
    finally:
        os.close(descriptor)
    assert path.read_text() == "new"


@pytest.mark.parametrize("what", ["link", "hard link", "pipe"])
def test_what_is_no_file_of_ours_is_not_written_to(path: Path, what: str) -> None:
    other, new = path.with_name("other"), path.with_name(f"{path.name}.new")
    other.write_text("other")
    if what == "link":
        new.symlink_to(other)
    elif what == "hard link":
        new.hardlink_to(other)
    else:
        os.mkfifo(new)
    files.write(path, "new")
    assert path.read_text() == "new"
    assert not path.is_symlink()
    assert other.read_text() == "other"
    assert _beside(path) == sorted({"other", path.name, new.name}), "what lay there is left"


def _synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What `os.fsync` is asked for, with what is at the path then."""
    asked: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        asked.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return asked


def test_content_and_name_are_on_disk_on_return(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _synced(monkeypatch)
    files.write(path, "x")
    assert asked == [f"{path}.new", str(path.parent)], "the content before it has its name, the name after"
    files.write(path, "y", durable=False)
    assert len(asked) == 2


def test_no_descriptor_is_left_open(path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    files.write(path, "x")
    with pytest.raises(ZeroDivisionError), files.replacing(path):
        raise ZeroDivisionError
    os.mkfifo(path.with_name(f"{path.name}.new"))
    files.write(path, "x")
    with pytest.raises(OSError):
        files.write(path / "below a file", "x")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
