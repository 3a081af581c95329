"""The programs of the lab: each is built once, and what is there is complete."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clusterlab import ROOT, LabError, building, modules
from clusterlab.__main__ import main
from clusterlab.modules import Module

GO = shutil.which("go", path=os.pathsep.join([*os.get_exec_path(), "/usr/local/go/bin"]))
MODULE = Module("small", {"small": "example.com/small"}, {"main.version": "v1.2.3"})
SOURCE = 'package main\n\nvar version = "none"\n\nfunc main() { println(version) }\n'


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Module:
    """The only module, in place of those of the lab."""
    source = tmp_path / "go" / "small"
    source.mkdir(parents=True)
    (source / "go.mod").write_text("module example.com/small\n\ngo 1.21\n")
    (source / "main.go").write_text(SOURCE)
    monkeypatch.setattr(modules, "DIRECTORY", tmp_path / "go")
    monkeypatch.setattr(modules, "MODULES", (MODULE,))
    monkeypatch.setattr(building, "MODULES", (MODULE,))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return MODULE


def client(directory: Path, build: str) -> None:
    """A Go client in place of the real one, which does this to build. `$6` is the file to write."""
    directory.mkdir(exist_ok=True)
    program = directory / "go"
    program.write_text(f'#!/bin/sh\ncase "$1" in build)\n{build}\n;; esac\n')
    program.chmod(0o755)


@pytest.mark.long
@pytest.mark.skipif(GO is None, reason="there is no Go client")
def test_a_program_is_built_once_with_its_version(small: Module) -> None:
    assert building.missing() == ["small"]
    said: list[str] = []
    building.build(said.append)
    assert said[:2] == ["small: downloading modules", "small: building"]
    assert said[2].startswith("small: built in ")
    told = subprocess.run([modules.program("small")], capture_output=True, text=True, check=True)
    assert told.stderr == "v1.2.3\n"
    assert building.missing() == []
    building.build(said.append)
    assert len(said) == 3
    assert sorted(path.name for path in small.built.iterdir()) == ["small"]


@pytest.mark.long
@pytest.mark.skipif(GO is None, reason="there is no Go client")
def test_what_does_not_compile_is_said_with_the_words_of_the_compiler(small: Module) -> None:
    (small.directory / "main.go").write_text("package main\n\nfunc main() { nothing() }\n")
    with pytest.raises(LabError, match=r"(?s)small cannot be built:.*undefined: nothing.*make lab-build"):
        building.build(lambda _: None)
    assert building.missing() == ["small"]


def test_a_change_of_any_file_or_flag_is_another_directory(small: Module) -> None:
    before = small.built
    (small.directory / "go.sum").write_text("")
    after = small.built
    assert before != after
    assert Module("small", small.programs, {"main.version": "v1.2.4"}).built != after


def test_no_go_client_and_one_that_is_too_old_are_said(
    small: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "_PLACES", ())
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(LabError, match=r"Go 1\.26\.4 or newer, and there is no Go client.*go\.dev/dl"):
        building.build(lambda _: None)
    client(tmp_path / "bin", "")
    old = "go: go.mod requires go >= 1.26.0 (running go 1.19; GOTOOLCHAIN=local)"
    (tmp_path / "bin" / "go").write_text(f"#!/bin/sh\necho '{old}' >&2\nexit 1\n")
    with pytest.raises(LabError, match=r"running go 1\.19; GOTOOLCHAIN=local\)\. Install it"):
        building.build(lambda _: None)


def test_modules_that_cannot_be_downloaded_are_said(
    small: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client(tmp_path / "bin", "")
    (tmp_path / "bin" / "go").write_text("#!/bin/sh\n[ $1 != mod ] || { echo 'dial tcp: refused'; exit 1; }\n")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    with pytest.raises(LabError, match=r"(?s)modules of small cannot be downloaded:\n  dial tcp: refused\n.*GOPROXY"):
        building.build(lambda _: None)


def test_a_build_that_is_killed_leaves_no_program_and_the_next_one_waits_for_its_client(
    small: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Go client goes on when its parent is killed, and would write the same file."""
    client(tmp_path / "bin", f'echo part > "$6"; echo $$ > {tmp_path}/pid; exec sleep 100')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    first = builder(tmp_path)
    try:
        until(lambda: (tmp_path / "pid").exists() and bool((tmp_path / "pid").read_text().strip()))
        first.kill()
        first.wait()
        assert building.missing() == ["small"]
        client(tmp_path / "bin", 'echo whole > "$6"')
        second = builder(tmp_path)
        assert second.stdout is not None
        assert second.stdout.readline() == "another process is building; waiting for it\n"
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
        assert second.wait(20) == 0
        second.stdout.close()
        assert modules.program("small").read_text() == "whole\n"
    finally:
        first.kill()
        first.wait()


def test_a_build_that_is_interrupted_ends_its_client(
    small: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client(tmp_path / "bin", f"echo $$ > {tmp_path}/pid; echo compiling; exec sleep 100")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(building, "_progress", lambda *_: interrupt)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        building.build(lambda _: None)
    assert time.monotonic() - began < 50
    assert building.missing() == ["small"]
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()


def builder(tmp_path: Path) -> subprocess.Popen[str]:
    """A process that builds the small module."""
    code = (
        "from pathlib import Path\n"
        "from clusterlab import building, modules\n"
        "from clusterlab.modules import Module\n"
        f"modules.DIRECTORY = Path({str(tmp_path / 'go')!r})\n"
        "building.MODULES = (Module('small', {'small': 'example.com/small'}, {'main.version': 'v1.2.3'}),)\n"
        "building.build(lambda line: print(line, flush=True))\n"
    )
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)


def until(true: object, seconds: float = 20) -> None:
    assert callable(true)
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_s3_server_is_built_where_it_is_asked_for_and_not_with_the_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(building, "build", lambda _say, chosen=None: asked.append(chosen))
    assert main(["build"]) == main(["build", "--object-store"]) == 0
    assert asked == [None, (modules.OBJECT_STORE,)]
    assert building.missing((modules.OBJECT_STORE,)) in ([], ["versitygw"])
    assert "versitygw" not in building.missing()
    assert modules.program("versitygw").parent == modules.OBJECT_STORE.built
