"""What the scan finds in pickles of all wrappings, without loading any."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serinus_runtime.isolation.pickles import Machine, Refused
from serinus_runtime.trials.scan import scan

SOURCE = Path(__file__).resolve().parent.parent / "src"


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, ("touch planted",))


def only(directory: Path) -> dict[str, Any]:
    (finding,) = scan(directory)["pickles"]
    return finding


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_import_is_found_in_every_protocol(tmp_path: Path, protocol: int) -> None:
    (tmp_path / "m.pkl").write_bytes(pickle.dumps([1.5, "x", {"a": Evil()}], protocol))
    finding = only(tmp_path)
    assert finding["file"] == "m.pkl"
    assert {"posix.system", "nt.system"} & set(finding["imports"])
    assert "problem" not in finding


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3), ("bz2", 3), ("xz", 3)])
def test_imports_are_found_behind_the_arrays_of_a_joblib_file(tmp_path: Path, compress: Any) -> None:
    arrays = [np.random.default_rng(0).normal(size=(50, 3)), np.array(["ab"]), np.array([{1: 2}], dtype=object)]
    joblib.dump([arrays, Evil()], tmp_path / "m.joblib", compress=compress)
    finding = only(tmp_path)
    assert "posix.system" in finding["imports"]
    assert "joblib.numpy_pickle.NumpyArrayWrapper" in finding["imports"]
    assert "problem" not in finding


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, zlib.compress])
def test_a_compressed_pickle_is_unpacked(tmp_path: Path, pack: Any) -> None:
    (tmp_path / "m.pkl").write_bytes(pack(pickle.dumps(Evil())))
    assert "posix.system" in only(tmp_path)["imports"]


def test_archives_arrays_and_schemas_are_looked_into(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Evil()))
    with zipfile.ZipFile(tmp_path / "m.skops", "w") as archive:
        node = {"__class__": "Pipeline", "__module__": "sklearn.pipeline", "content": [{"__class__": "x", "__module__": "m"}]}  # fmt: skip # noqa: E501
        archive.writestr("schema.json", json.dumps(node))
    np.save(tmp_path / "numbers.npy", np.zeros(3))
    np.save(tmp_path / "objects.npy", np.array([Evil()], dtype=object), allow_pickle=True)
    found = {finding["file"]: finding["imports"] for finding in scan(tmp_path)["pickles"]}
    assert "posix.system" in found["m.pt:archive/data.pkl"]
    assert found["m.skops:schema.json"] == ["m.x", "sklearn.pipeline.Pipeline"]
    assert "posix.system" in found["objects.npy"]
    assert "numbers.npy" not in found


def test_a_pickle_by_any_name_and_the_models_own_code_are_listed(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "mine.py").write_text("x = 1")
    (tmp_path / "weights.xyz").write_bytes(pickle.dumps(Evil()))
    (tmp_path / "odd").write_bytes(pickle.dumps(Evil(), protocol=0))
    (tmp_path / "MLmodel").write_text("flavors:\n  sklearn:\n    pickled_model: odd\n")
    result = scan(tmp_path)
    assert result["other"] == ["code/mine.py"]
    assert {finding["file"] for finding in result["pickles"]} == {"weights.xyz", "odd"}


def test_a_name_that_goes_through_the_memo_is_followed(tmp_path: Path) -> None:
    stream = b"\x80\x04\x8c\x06system\x940\x8c\x05posix\x940h\x01h\x00\x93."
    (tmp_path / "m.pkl").write_bytes(stream)
    assert only(tmp_path)["imports"] == ["posix.system"]


def test_a_name_that_cannot_be_followed_is_unresolved(tmp_path: Path) -> None:
    made_at_load = b"\x80\x04cbuiltins\nstr\n\x8c\x05posix\x85R\x8c\x06system\x93."
    (tmp_path / "a.pkl").write_bytes(made_at_load)
    (tmp_path / "b.pkl").write_bytes(b"\x80\x02\x82\x01.")
    first, second = scan(tmp_path)["pickles"]
    assert "unresolved" in first["imports"]
    assert second["imports"] == ["unresolved"]


def test_hostile_files_are_reported_and_cost_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serinus_runtime.isolation.pickles._MOST_OPCODES", 100_000)
    files = {
        "cut.pkl": pickle.dumps(Evil())[:-5],
        "noise.pkl": bytes(range(256)) * 4,
        "empty.pkl": b"",
        "bomb.pkl": zlib.compress(b"\0" * (1 << 20)) + b"x",
        "endless.pkl": b"\x80\x04" + b"N0" * 60_000 + b".",
        "notzip.pt": b"PK\x03\x04" + b"\0" * 50,
        "wrapper.joblib": b"\x80\x02cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81}X\x05\0\0\0shape"
        b"J\xff\xff\xff\x7fsb.",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "link.pkl").symlink_to("/etc/hostname")
    found = {finding["file"]: finding for finding in scan(tmp_path)["pickles"]}
    for name in (*files, "link.pkl"):
        if name != "empty.pkl":
            assert "unresolved" in found[name]["imports"], name
            assert found[name]["problem"], name
    assert "posix.system" in found["cut.pkl"]["imports"]
    assert found["empty.pkl"]["imports"] == []


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_opcodes_end_in_a_finding_or_a_refusal(noise: bytes) -> None:
    machine = Machine(io.BytesIO(b"\x80\x04" + noise))
    with contextlib.suppress(Refused):
        machine.run()
    assert all(isinstance(name, str) for name in machine.imports)


def test_the_command_prints_json_and_runs_nothing(tmp_path: Path) -> None:
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(Evil()))
    start = f"import sys; sys.path.append({str(SOURCE)!r}); from serinus_runtime.trials.scan import main; main()"
    done = subprocess.run(
        [sys.executable, "-I", "-c", start, str(tmp_path)], capture_output=True, check=True, cwd=tmp_path
    )
    assert "posix.system" in json.loads(done.stdout)["pickles"][0]["imports"]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["m.pkl"]
