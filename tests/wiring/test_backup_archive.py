"""The file of a backup: whole or not there, and nothing in it is trusted."""

from __future__ import annotations

import io
import json
import os
import signal
import stat
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from serinus.core.errors import InvalidInput, Refused
from serinus.wiring.backup import archive

Change = Callable[[tarfile.TarInfo], None]


def write(path: Path, *names: str) -> None:
    with archive.written(path) as writer:
        for name in names:
            source = path.with_name("source")
            source.write_text(f"content of {name}")
            with source.open("rb") as file:
                writer.add(name, file)
        writer.end(archive.Manifest(archive.FORMAT, "1", "today", "/h", "/h/s", writer.files))


def read(path: Path, into: Path) -> archive.Manifest:
    into.mkdir()
    return archive.extracted(path, into, lambda name: name.startswith("a"))


def hostile(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> None:
    with tarfile.open(path, "w:gz") as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def named(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write(tmp_path / "b", "a", "a-directory/within/é")
    manifest = read(tmp_path / "b", tmp_path / "to")
    assert (tmp_path / "to/a-directory/within/é").read_text() == "content of a-directory/within/é"
    assert set(manifest.files) == {"a", "a-directory/within/é"}
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "to/a").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "member",
    [
        named("../escaped"),
        named("a/../../escaped"),
        named("/tmp/escaped"),
        named("a//b"),
        named("./a"),
        named("a\nb"),
        named("a" * 5000),
        named("strange"),
        named("a", tarfile.SYMTYPE, "/etc/passwd"),
        named("a", tarfile.LNKTYPE, "../escaped"),
        named("a", tarfile.CHRTYPE),
        named("a", tarfile.FIFOTYPE),
        named("a", tarfile.DIRTYPE),
    ],
    ids=lambda member: f"{member.name[:20]!a}-{member.type.decode()}",
)
def test_what_is_no_file_of_a_home_is_refused(tmp_path: Path, member: tarfile.TarInfo) -> None:
    hostile(tmp_path / "b", (member, b""))
    with pytest.raises(InvalidInput, match="not a backup of Serinus"):
        read(tmp_path / "b", tmp_path / "to")
    assert not (tmp_path / "escaped").exists()
    assert list((tmp_path / "to").iterdir()) == []


def test_a_link_that_comes_first_leads_nowhere(tmp_path: Path) -> None:
    hostile(tmp_path / "b", (named("a", tarfile.SYMTYPE, str(tmp_path)), b""), (named("a/escaped"), b"x"))
    with pytest.raises(InvalidInput):
        read(tmp_path / "b", tmp_path / "to")
    assert not (tmp_path / "escaped").exists()


@pytest.mark.parametrize("names", [("a", "a"), ("a", "a/b"), ("a/b", "a")])
def test_names_that_contradict_each_other_are_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    hostile(tmp_path / "b", *((named(name), b"x") for name in names))
    with pytest.raises(InvalidInput, match="not a backup of Serinus"):
        read(tmp_path / "b", tmp_path / "to")


def test_every_cut_that_loses_something_is_noticed(tmp_path: Path) -> None:
    write(tmp_path / "b", "a", "a2")
    whole = (tmp_path / "b").read_bytes()
    needed = next(length for length in range(len(whole)) if b"manifest.json" in _content(whole[:length]))
    for length in [*range(0, needed, 23), needed]:
        (tmp_path / "cut").write_bytes(whole[:length])
        with pytest.raises(InvalidInput, match="not a complete backup"):
            read(tmp_path / "cut", tmp_path / f"to-{length}")


def _content(compressed: bytes) -> bytes:
    return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(compressed)


def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    write(tmp_path / "b", "a")
    with tarfile.open(tmp_path / "b") as tar:
        manifest = json.loads((tar.extractfile(archive.MANIFEST) or io.BytesIO()).read())
    hostile(tmp_path / "b", (named("a"), b"changed"), (named(archive.MANIFEST), json.dumps(manifest).encode()))
    with pytest.raises(InvalidInput, match="not those that its manifest names"):
        read(tmp_path / "b", tmp_path / "to")


def test_a_newer_one_is_refused_by_the_version_that_wrote_it(tmp_path: Path) -> None:
    said = {"format": archive.FORMAT + 1, "version": "99"}
    hostile(tmp_path / "b", (named(archive.MANIFEST), json.dumps(said).encode()))
    with pytest.raises(Refused, match="newer version of Serinus, '99'"):
        read(tmp_path / "b", tmp_path / "to")


@pytest.mark.parametrize("content", [b"[]", b"{", b'{"format": "x"}', b"[" * 100_000])
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    hostile(tmp_path / "b", (named(archive.MANIFEST), content))
    with pytest.raises(InvalidInput):
        read(tmp_path / "b", tmp_path / "to")


def test_a_failure_leaves_the_backup_before_as_it_is_and_nothing_beside_it(tmp_path: Path) -> None:
    write(tmp_path / "b", "a")
    before = (tmp_path / "b").read_bytes()
    (tmp_path / "source").unlink()
    with pytest.raises(OSError, match="full"), archive.written(tmp_path / "b"):
        raise OSError("full")
    assert (tmp_path / "b").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_only_one_backup_is_written_to_a_file_at_a_time(tmp_path: Path) -> None:
    with (
        archive.written(tmp_path / "b"),
        pytest.raises(Refused, match="another backup"),
        archive.written(tmp_path / "b"),
    ):
        pass


KILLED = """
import sys, time
from pathlib import Path
from serinus.wiring.backup import archive
with archive.written(Path(sys.argv[1])) as writer:
    with open(sys.argv[2], "rb") as file:
        writer.add("a", file)
    print("within", flush=True)
    time.sleep(60)
"""


def test_a_kill_leaves_no_half_archive_and_the_next_one_is_whole(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(os.urandom(1 << 20))
    words = [sys.executable, "-c", KILLED, str(tmp_path / "b"), str(tmp_path / "large")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "within\n"
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "b").exists()
    write(tmp_path / "b", "a")
    read(tmp_path / "b", tmp_path / "to")
    assert not (tmp_path / "b.new").exists()


def test_what_is_appended_while_it_is_read_is_left_out(tmp_path: Path) -> None:
    growing = tmp_path / "growing"
    growing.write_text("first")

    def append() -> None:
        with growing.open("a") as more:
            more.write("second")

    with archive.written(tmp_path / "b") as writer:
        with growing.open("rb") as file:
            writer.add("a", _Appending(file, append))
        writer.end(archive.Manifest(archive.FORMAT, "1", "today", "/h", "/h/s", writer.files))
    read(tmp_path / "b", tmp_path / "to")
    assert (tmp_path / "to/a").read_text() == "first"


class _Appending(io.BufferedIOBase):
    def __init__(self, file: io.BufferedReader, then: Callable[[], object]) -> None:
        self._file, self._then = file, then

    def fileno(self) -> int:
        return self._file.fileno()

    def read(self, size: int | None = -1) -> bytes:
        self._then()
        return self._file.read(size)
