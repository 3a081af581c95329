"""Layers: the same bytes from the same content, and nothing else of the machine in them."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import socket
import stat
import subprocess
import tarfile
import threading
import zlib
from pathlib import Path
from typing import Any

import pytest

from serinus.core.errors import Unavailable, Unbuildable
from serinus.lib import files
from serinus.targets.kubernetes.images import contents, layers, trees
from serinus.targets.kubernetes.images.layers import Layer, Layers
from serinus.targets.kubernetes.images.trees import Entry


def written(entries: object) -> tuple[bytes, Layer]:
    file = io.BytesIO()
    layer = layers.write(entries, file)  # type: ignore[arg-type]
    return file.getvalue(), layer


def members(content: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(content), errors="surrogateescape", encoding="utf-8") as archive:
        return {one.name: one for one in archive}


def make(root: Path, names: list[str]) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"content of {name}")
    return root


NAMES = ["MLmodel", "data/model.pkl", "data/a-b", "data/a/b", "data/ä/ö", "x" * 200 + "/" + "y" * 200]


def test_the_bytes_depend_on_neither_directory_nor_umask_nor_time_nor_order(tmp_path: Path) -> None:
    first = make(tmp_path / "first", NAMES)
    with files.umask(0o077):
        second = make(tmp_path / "somewhere" / "else", NAMES[::-1])
    for path in second.rglob("*"):
        os.utime(path, (1, 1))
    (a, layer), (b, other) = written(contents.model(first)), written(contents.model(second))
    assert a == b
    assert layer == other


def test_digests_and_size_are_those_of_the_bytes(tmp_path: Path) -> None:
    content, layer = written(contents.model(make(tmp_path, NAMES)))
    assert layer.digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert layer.diff_id == f"sha256:{hashlib.sha256(gzip.decompress(content)).hexdigest()}"
    assert layer.size == len(content)
    assert content[:10] == b"\x1f\x8b\x08\x00" + b"\0" * 4 + b"\x00\x03"  # no name, no time


def test_everything_is_there_below_its_place_and_belongs_to_root(tmp_path: Path) -> None:
    found = members(written(contents.model(make(tmp_path, NAMES)))[0])
    assert {f"opt/model/{name}" for name in NAMES} <= set(found)
    assert {(one.uid, one.gid, one.uname, one.mtime) for one in found.values()} == {(0, 0, "", 315532800)}
    assert {one.mode for one in found.values() if one.isdir()} == {0o755}
    assert list(found) == sorted(found, key=os.fsencode)


def test_other_programs_read_long_and_odd_names(tmp_path: Path) -> None:
    (source := tmp_path / "source").mkdir()
    odd = os.fsencode(source) + b"/not-\xff-utf8"
    Path(os.fsdecode(odd)).write_bytes(b"odd")
    make(source, NAMES)
    (tmp_path / "layer.tar.gz").write_bytes(written(contents.model(source))[0])
    (target := tmp_path / "target").mkdir()
    subprocess.run(["tar", "-xzf", tmp_path / "layer.tar.gz", "-C", target], check=True)
    there = target / "opt" / "model"
    assert Path(os.fsdecode(os.fsencode(there) + b"/not-\xff-utf8")).read_bytes() == b"odd"
    assert all((there / name).read_text() == f"content of {name}" for name in NAMES)


def test_setuid_bits_and_what_is_executable_of_a_model_are_left_behind(tmp_path: Path) -> None:
    make(tmp_path, ["tool", "data"])
    (tmp_path / "tool").chmod(0o6755)
    model = members(written(contents.model(tmp_path))[0])
    assert model["opt/model/tool"].mode == 0o644
    package = members(written(contents.environment(tmp_path, None, "3.11"))[0])
    assert package["opt/environment/lib/python3.11/site-packages/tool"].mode == 0o755
    assert package["opt/environment/lib/python3.11/site-packages/data"].mode == 0o644


@pytest.mark.parametrize("target", ["/etc/passwd", "../../secret", "MLmodel"])
def test_a_link_in_an_artifact_is_refused(tmp_path: Path, target: str) -> None:
    make(tmp_path, NAMES)
    (tmp_path / "data" / "link").symlink_to(target)
    with pytest.raises(Unbuildable, match="'data/link' is a symbolic link"):
        written(contents.model(tmp_path))


def test_a_pipe_and_a_socket_are_refused(tmp_path: Path) -> None:
    os.mkfifo(make(tmp_path / "a", NAMES) / "pipe")
    with pytest.raises(Unbuildable, match="'pipe' is neither a file nor a directory"):
        written(contents.model(tmp_path / "a"))
    make(tmp_path / "b", NAMES)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tmp_path / "b" / "s"))
        with pytest.raises(Unbuildable, match="'s' is neither a file nor a directory"):
            written(contents.model(tmp_path / "b"))


@pytest.mark.root
def test_a_device_is_refused(tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("only root makes devices")
    os.mknod(make(tmp_path, NAMES) / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    with pytest.raises(Unbuildable, match="'null' is neither a file nor a directory"):
        written(contents.model(tmp_path))


def test_a_file_that_takes_others_away_is_refused(tmp_path: Path) -> None:
    make(tmp_path, ["data/.wh.model.pkl"])
    with pytest.raises(Unbuildable, match="by which an image takes files away"):
        written(contents.model(tmp_path))


@pytest.mark.parametrize("name", ["../etc/passwd", "/etc/passwd", "opt//x", "opt/./x", "opt/x/", "", "opt/a\0b"])
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(Unbuildable, match="not a valid file name in an image"):
        written([Entry(name, content=b"")])


def test_a_name_that_is_there_twice_is_refused() -> None:
    with pytest.raises(Unbuildable, match="'opt/x' is there twice"):
        written([Entry("opt/x", content=b"1"), Entry("opt/x", content=b"2")])
    with pytest.raises(Unbuildable, match="'opt/x' is both a file and a directory"):
        written([Entry("opt/x", content=b"1"), Entry("opt/x/y", content=b"2")])


def test_a_file_that_becomes_a_link_meanwhile_is_not_followed(tmp_path: Path) -> None:
    make(tmp_path, ["secret", "model/data"])
    entries = list(contents.model(tmp_path / "model"))
    (tmp_path / "model" / "data").unlink()
    (tmp_path / "model" / "data").symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="symbolic link"):
        written(entries)


@pytest.mark.parametrize(
    ("link", "target", "written_as"),
    [("lib/a", "../bin/b", "../bin/b"), ("a", "lib/x/y", "lib/x/y"), ("lib/x/a", "{root}/bin/b", "../../bin/b")],
)
def test_links_inside_of_an_installation_are_kept_and_relative(
    tmp_path: Path, link: str, target: str, written_as: str
) -> None:
    (tmp_path / link).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / link).symlink_to(target.format(root=tmp_path))
    found = list(trees.walk(tmp_path, "opt/python", links=trees.inside(tmp_path)))
    assert next(one.target for one in found if one.name == f"opt/python/{link}") == written_as


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../x", "x/../../../y", "{root}/../other"])
def test_links_out_of_an_installation_are_refused(tmp_path: Path, target: str) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "link").symlink_to(target.format(root=tmp_path))
    with pytest.raises(Unbuildable, match="'lib/link' is a symbolic link that leads out"):
        list(trees.walk(tmp_path, "opt/python", links=trees.inside(tmp_path)))


def test_of_an_installation_only_the_interpreter_of_the_version_and_its_library_are_taken(tmp_path: Path) -> None:
    """Such as Debian's, which has several below /usr, and links of its own to /etc."""
    taken = [
        "bin/python3.11", "lib/python3.11/os.py", "lib/python3.11/unittest/case.py", "lib/libpython3.11.so.1.0",
        "lib/python3.11/lib-dynload/_ssl.cpython-311-x86_64-linux-gnu.so", "lib/python3.11/email/mime/text.py",
    ]  # fmt: skip
    left = [
        "bin/python3.12", "bin/bash", "lib/python3.12/os.py", "lib/python3/dist-packages/apt.py", "lib/libc.so.6",
        "lib/python3.11/site-packages/pip.py", "lib/python3.11/dist-packages/x.py", "lib/python3.11/test/test_os.py",
        "lib/python3.11/__pycache__/os.cpython-311.pyc", "lib/python3.11/config-3.11-x86_64-linux-gnu/libpython3.11.a",
        "lib/python3.11/unittest/test/support.py", "lib/python3.11/tkinter/ttk.py", "share/man/man1/python.1",
    ]  # fmt: skip
    make(tmp_path, [*taken, *left])
    (tmp_path / "bin" / "python3").symlink_to("python3.11")
    (tmp_path / "lib" / "python3.11" / "sitecustomize.py").symlink_to("/etc/python3.11/sitecustomize.py")
    found = list(contents.python(tmp_path, "3.11"))
    assert sorted(one.name for one in found if one.source) == sorted(f"opt/python/{name}" for name in taken)
    with pytest.raises(Unbuildable, match="not exactly one installation of Python"):
        contents.python_version(tmp_path)
    (tmp_path / "bin" / "python3.12").unlink()
    assert contents.python_version(tmp_path) == "3.11"
    links = {one.name: one.target for one in found if one.target}
    assert links == {"opt/python/bin/python": "python3.11", "opt/python/bin/python3": "python3.11"}


def test_the_digest_of_a_tree_tells_contents_and_names_apart(tmp_path: Path) -> None:
    trees_of = [
        [Entry("a", content=b"1")], [Entry("a", content=b"2")], [Entry("b", content=b"1")], [Entry("a", target="1")],
        [Entry("a", content=b"1", executable=True)], [Entry("a")], [Entry("a", content=b"")],
    ]  # fmt: skip
    assert len({trees.digest(one) for one in trees_of}) == len(trees_of)
    (tmp_path / "file").write_bytes(b"1")
    assert trees.digest([Entry("a", source=tmp_path / "file")]) == trees.digest(trees_of[0])


def test_a_layer_is_made_once_whoever_asks_at_the_same_time(tmp_path: Path) -> None:
    source, kept, key = make(tmp_path / "source", NAMES), Layers(tmp_path / "layers"), layers.key("model", "a" * 64)
    made, found = [], []

    def ask() -> None:
        def one(file: io.BufferedWriter) -> Layer:
            made.append(1)
            return layers.write(contents.model(source), file)

        found.append(kept.layer(key, one))  # type: ignore[arg-type]

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert len(set(found)) == 1
    assert hashlib.sha256(kept.file(key).read_bytes()).hexdigest() == found[0].digest.removeprefix("sha256:")
    kept.file(key).write_bytes(b"cut off")
    ask()
    assert len(made) == 2
    assert found[-1] == found[0]


def test_what_fails_leaves_no_layer(tmp_path: Path) -> None:
    kept, key = Layers(tmp_path / "layers"), layers.key("model", "a" * 64)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "x").symlink_to("y")
    with pytest.raises(Unbuildable):
        kept.layer(key, lambda file: layers.write(contents.model(tmp_path / "model"), file))
    assert kept.known(key) is None
    assert [one.suffix for one in (tmp_path / "layers").iterdir()] == [".lock"]


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    def full(file: object) -> Layer:
        with Path("/dev/full").open("wb", buffering=0) as device:
            return layers.write([Entry("a", content=os.urandom(1 << 21))], device)

    with pytest.raises(Unavailable, match="No space left on device") as caught:
        Layers(tmp_path).layer(layers.key("model"), full)
    assert caught.value.hint == "Free some space."


class Enough(Exception):
    """The heads of all members are there."""


class Beginning(io.BytesIO):
    """Ends what writes into it after a few KiB, as all of a large file would take half a minute."""

    def write(self, content: Any) -> int:
        if self.tell() > 1 << 13:
            raise Enough
        return super().write(content)


def test_a_file_of_more_than_8_gib_keeps_its_size(tmp_path: Path) -> None:
    size = (8 << 30) + 3
    with (tmp_path / "big").open("wb") as file:
        file.truncate(size)
    layer = Beginning()
    with pytest.raises(Enough):
        layers.write([Entry("opt/a", content=b"1"), Entry("opt/big", source=tmp_path / "big")], layer)
    # GNU tar as well: it is asked for the list alone, and gets no more than the heads of both files.
    head = zlib.decompressobj(31).decompress(layer.getvalue(), 1 << 20)
    told = subprocess.run(["tar", "-tvf", "-"], input=head, capture_output=True, text=False).stdout.decode()
    assert {line.split()[-1]: line.split()[2] for line in told.splitlines()} == {
        "opt/": "0", "opt/a": "1", "opt/big": str(size),
    }  # fmt: skip
    with tarfile.open(fileobj=io.BytesIO(head), mode="r|") as archive:
        assert next(one.size for one in archive if one.name == "opt/big") == size


def test_the_runtime_layer_runs_by_itself(tmp_path: Path) -> None:
    (tmp_path / "layer").write_bytes(written(contents.runtime())[0])
    shutil.unpack_archive(tmp_path / "layer", tmp_path / "image", "gztar")
    names = {str(path.relative_to(tmp_path / "image")) for path in (tmp_path / "image").rglob("*")}
    assert "opt/serinus/runtime/serinus_runtime/isolation/confine.py" in names
    assert not [name for name in names if "__pycache__" in name]
    scratch = members((tmp_path / "layer").read_bytes())["scratch"]
    assert (scratch.uid, scratch.mode) == (65532, 0o700)
