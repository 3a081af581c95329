"""What is told of a model that does not load: what, where, what to do, and whether another environment may help."""

from __future__ import annotations

import pickle
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest

from serinus_runtime.artifact import traces
from serinus_runtime.artifact.loading import load
from serinus_runtime.base.errors import StartFailure


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A model whose loader module is the given code; `beside` are further modules, as site-packages has them."""

    def made(code: str, **beside: str):
        packages = tmp_path / "lib" / "site-packages"
        packages.mkdir(parents=True)
        for name, text in beside.items():
            (packages / f"{name}.py").write_text(textwrap.dedent(text))
        artifact = tmp_path / "model"
        (artifact / "code").mkdir(parents=True)
        (artifact / "code" / "loader_of_the_test.py").write_text(textwrap.dedent(code))
        monkeypatch.setattr(sys, "path", [str(packages), *sys.path])
        monkeypatch.setitem(sys.modules, "mlflow", None)
        monkeypatch.setattr("serinus_runtime.artifact.loading._has_mlflow", lambda: False)
        return artifact, {"flavors": {"python_function": {"loader_module": "loader_of_the_test", "code": "code"}}}

    yield made
    for name in [name for name in sys.modules if name.endswith("_of_the_test")]:
        del sys.modules[name]


def failure(found) -> StartFailure:
    with pytest.raises(StartFailure) as caught:
        load(*found)
    return caught.value


def test_a_module_of_the_authors_own_is_to_be_logged_and_never_to_be_installed(model) -> None:
    told = failure(model("import features_of_my_team\n"))
    assert "needs the module features_of_my_team" in str(told)
    assert "(code/loader_of_the_test.py:1, in <module>)" in str(told)
    assert "code_paths=[...]" in str(told)
    assert "add features_of_my_team" not in str(told)
    assert not told.environment, "no other environment has it"


def test_a_module_that_a_pickle_names_is_the_authors_own_too(model, tmp_path) -> None:
    content = b"\x80\x04\x8c\x08my_featsq\x00\x8c\x05Cleanq\x01\x93q\x02."
    (tmp_path / "model.pkl").write_bytes(content)
    told = failure(model(f"import pickle\npickle.load(open({str(tmp_path / 'model.pkl')!r}, 'rb'))\n"))
    assert "needs the module my_feats" in str(told)
    assert "code_paths" in str(told)
    assert not told.environment


@pytest.mark.parametrize(("name", "brings"), [("cv2", "opencv-python-headless"), ("catboost", "catboost")])
def test_a_known_library_is_named_by_what_brings_it(model, monkeypatch, name, brings) -> None:
    monkeypatch.setattr(sys, "meta_path", [_Without(name), *sys.meta_path])
    monkeypatch.delitem(sys.modules, name, raising=False)
    told = failure(model(f"import {name}\n"))
    assert f"add {brings} to the model's requirements" in str(told)
    assert told.environment


class _Without:
    def __init__(self, name: str) -> None:
        self.name = name

    def find_spec(self, name, path=None, target=None):
        if name == self.name:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_what_a_library_itself_lacks_is_the_environments(model) -> None:
    told = failure(model("import library_of_the_test\n", library_of_the_test="import something_it_lacks\n"))
    assert "a library of the model's environment cannot import something_it_lacks" in str(told)
    assert "(library_of_the_test.py:1, in <module>)" in str(told)
    assert told.environment


def test_a_part_that_a_library_has_no_more_is_the_environments(model) -> None:
    told = failure(model("import json\nfrom json import gone\n"))
    assert "cannot import name 'gone'" in str(told)
    assert "with" in str(told)
    assert told.environment


def test_an_error_is_told_with_its_type_and_place(model) -> None:
    library = """
        def deep(x):
            raise AttributeError("no such tree")
    """
    told = failure(model("from library_of_the_test import deep\ndeep(1)\n", library_of_the_test=library))
    assert str(told) == "AttributeError: no such tree (library_of_the_test.py:3, in deep)"
    assert told.environment


@pytest.mark.parametrize(
    "code",
    [
        "open('/no/such/file')",
        "import pickle\npickle.loads(b'')",
        "import pickle\npickle.loads(b'\\x80\\x05\\x95\\x10\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x8c')",
        "import pickle\npickle.loads(b'weights')",
        "import zipfile, io\nzipfile.ZipFile(io.BytesIO(b'PK'))",
        "raise SystemExit(3)",
        "raise MemoryError",
    ],
)
def test_what_no_other_environment_mends_is_told_apart(model, code) -> None:
    assert not failure(model(code)).environment


@pytest.mark.parametrize(
    "error",
    [ValueError("node array from the pickle has an incompatible dtype"), TypeError("x"), OSError("libgomp.so.1: lost")],
)  # fmt: skip
def test_what_another_version_may_mend_is_worth_another_lock(error) -> None:
    assert not traces.broken_file(error)


@pytest.mark.parametrize(
    "error", [EOFError(), zipfile.BadZipFile(), pickle.UnpicklingError("pickle data was truncated")]
)
def test_what_is_wrong_with_a_file_is_wrong_everywhere(error) -> None:
    assert traces.broken_file(error)


def test_the_end_of_the_process_by_the_model_is_told_with_its_place(model) -> None:
    told = failure(model("import sys\nsys.exit('bye')\n"))
    assert "ended its process while it was loaded: SystemExit (code/loader_of_the_test.py:2, in <module>)" in str(told)


def test_the_place_of_a_file_nobody_knows_is_its_name_alone(tmp_path) -> None:
    file = tmp_path / "secret-folder" / "odd.py"
    file.parent.mkdir()
    file.write_text("def f():\n    raise ValueError('x')\n")
    scope: dict = {}
    exec(compile(file.read_text(), str(file), "exec"), scope)
    with pytest.raises(ValueError) as caught:
        scope["f"]()
    assert traces.at(caught.value, Path("/model")) == " (odd.py:2, in f)"
