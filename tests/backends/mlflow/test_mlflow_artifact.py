"""What is read from a model's files, and every way in which they can be wrong."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from serinus.backends.mlflow.artifact import read_artifact
from serinus.backends.mlflow.files import take_inventory
from serinus.core.errors import Unbuildable
from serinus.core.release import Artifact, Column

Make = Callable[..., Path]


def read(root: Path) -> Artifact:
    return read_artifact(root, take_inventory(root))


def test_a_whole_artifact_is_read(make_artifact: Make) -> None:
    root = make_artifact()
    artifact = read(root)
    assert artifact.flavor == "mlflow.sklearn"
    assert artifact.requirements.packages == ("mlflow==2.9.2", "scikit-learn==1.3.2")
    assert artifact.requirements.python == "3.9.18"
    assert artifact.requirements.source == "python_env.yaml"
    assert artifact.requirements.logged_at == datetime(2023, 1, 15, 10, 12, 13, 123456, UTC)
    assert artifact.inputs == (Column("amount", "double"), Column("country", "string"))
    assert artifact.outputs == (Column("0", "long"),)
    assert artifact.size_bytes == sum(path.stat().st_size for path in root.iterdir())
    assert artifact.warnings == ()


# --- the digest -------------------------------------------------------------------------------------------


def test_the_digest_is_of_names_and_contents_alone(make_artifact: Make, tmp_path: Path) -> None:
    root = make_artifact()
    first = take_inventory(root)
    os.utime(root / "model.pkl", (0, 0))
    (root / "model.pkl").chmod(0o600)
    assert take_inventory(root) == first
    moved = root.rename(tmp_path / "elsewhere")
    assert take_inventory(moved) == first
    (moved / "model.pkl").write_text("weightz")
    changed = take_inventory(moved)
    assert changed.digest != first.digest
    (moved / "model.pkl").write_text("weights")
    (moved / "model.pkl").rename(moved / "renamed.pkl")
    assert take_inventory(moved).digest not in (first.digest, changed.digest)


def test_bytes_that_move_from_one_file_to_the_next_change_the_digest(tmp_path: Path) -> None:
    digests = set()
    for name, (first, second) in {"x": ("ab", "c"), "y": ("a", "bc")}.items():
        root = tmp_path / name
        root.mkdir()
        (root / "1").write_text(first)
        (root / "2").write_text(second)
        digests.add(take_inventory(root).digest)
    assert len(digests) == 2


# --- what is wrong with the files -------------------------------------------------------------------------


def test_a_git_lfs_pointer_is_named(make_artifact: Make) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    root = make_artifact({"data/weights.bin": pointer})
    with pytest.raises(Unbuildable, match=r"data/weights\.bin is a Git LFS pointer") as refusal:
        read(root)
    assert "git lfs pull" in refusal.value.hint


@pytest.mark.parametrize("target", ["/etc/passwd", "model.pkl", "/tmp", "nowhere"])
def test_a_symbolic_link_is_refused_wherever_it_leads(make_artifact: Make, target: str) -> None:
    root = make_artifact()
    (root / "link").symlink_to(target)
    with pytest.raises(Unbuildable, match="link in the artifact is a symbolic link"):
        read(root)


def test_a_pipe_is_refused_rather_than_waited_for(make_artifact: Make) -> None:
    root = make_artifact()
    os.mkfifo(root / "pipe")
    with pytest.raises(Unbuildable, match="pipe in the artifact is not an ordinary file"):
        read(root)


@pytest.mark.parametrize(
    ("flavor", "named"),
    [
        ({"model_path": "gone.pkl"}, "model_path: gone.pkl"),
        ({"data": "data/model"}, "data: data/model"),
        ({"python_model": "python_model.pkl"}, "python_model: python_model.pkl"),
        ({"code": "code"}, "code: code"),
        ({"model_code_path": "/home/anna/agent.py"}, "model_code_path: agent.py"),
        ({"artifacts": {"w": {"path": "artifacts/w.txt", "uri": "/home/anna/w.txt"}}}, "artifacts.w: artifacts/w.txt"),
    ],
)
def test_files_that_the_flavour_names_and_the_artifact_lacks_are_named(
    make_artifact: Make, flavor: Mapping[str, Any], named: str
) -> None:
    with pytest.raises(Unbuildable, match=named):
        read(make_artifact(flavor=flavor))


@pytest.mark.parametrize("path", ["/etc/passwd", "../../token", "a/../../b", "C:\\weights", "..\\token", "\\\\host\\x"])
@pytest.mark.parametrize("field", ["model_path", "env", "artifacts"])
def test_a_path_that_leads_out_of_the_artifact_is_refused(make_artifact: Make, field: str, path: str) -> None:
    value: Any = {"model_path": path, "env": {"virtualenv": path}, "artifacts": {"w": {"path": path}}}[field]
    with pytest.raises(Unbuildable, match="outside of the artifact"):
        read(make_artifact(flavor={field: value}))


def test_without_mlmodel_the_error_says_what_is_there_instead(make_artifact: Make) -> None:
    with pytest.raises(Unbuildable, match=r"no MLmodel file; it holds model\.pkl, python_env"):
        read(make_artifact({"MLmodel": None}))


@pytest.mark.parametrize("content", ["[1, 2", "a: b: c", "\t- x", "- a\n- b\n", "flavors: sklearn\n", ""])
def test_an_mlmodel_that_cannot_be_read_is_said_so(make_artifact: Make, content: str) -> None:
    with pytest.raises(Unbuildable, match="MLmodel"):
        read(make_artifact({"MLmodel": content}))


def test_without_a_python_function_flavour_the_others_are_named(make_artifact: Make) -> None:
    with pytest.raises(Unbuildable, match="it has keras, onnx") as refusal:
        read(make_artifact(top={"flavors": {"onnx": {}, "keras": {}}}))
    assert "PythonModel" in refusal.value.hint


def test_mlmodel_cannot_make_python_objects(make_artifact: Make, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    content = f"flavors: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [{trap}]]\n"
    with pytest.raises(Unbuildable):
        read(make_artifact({"MLmodel": content}))
    assert not trap.exists()


# --- signature and example --------------------------------------------------------------------------------


def test_a_model_without_signature_and_example_is_read_with_warnings(make_artifact: Make) -> None:
    artifact = read(make_artifact({"serving_input_example.json": None}, top={"signature": None}))
    assert (artifact.inputs, artifact.outputs) == (None, None)
    assert any("without a signature" in warning for warning in artifact.warnings)
    assert any("without an input example" in warning for warning in artifact.warnings)


def test_tensor_and_old_optional_columns_are_understood(make_artifact: Make) -> None:
    signature = {
        "inputs": '[{"type": "tensor", "name": "x", "tensor-spec": {"dtype": "float32", "shape": [-1, 4]}}]',
        "outputs": '[{"type": "double", "name": "p", "optional": true}, {"type": "array", "items": {"type": "long"}}]',
    }
    artifact = read(make_artifact(top={"signature": signature}))
    assert artifact.inputs == (Column("x", "tensor(float32)"),)
    assert artifact.outputs == (Column("p", "double", required=False), Column("1", "array"))


def test_names_that_are_no_strings_are_those_that_callers_write(make_artifact: Make) -> None:
    inputs = '[{"type": "double", "name": 0}, {"type": "double", "name": 2.5}, {"type": "object", "name": ""}]'
    artifact = read(make_artifact(top={"signature": {"inputs": inputs}}))
    assert artifact.inputs == (Column("0", "double"), Column("2.5", "double"), Column("", "object"))


@pytest.mark.parametrize("raw", ["{", "[1]", '[{"name": "x"}]', '[{"type": "tensor"}]', "3"])
def test_a_signature_that_cannot_be_read_is_said_so(make_artifact: Make, raw: str) -> None:
    with pytest.raises(Unbuildable, match="signature in MLmodel cannot be read: its inputs"):
        read(make_artifact(top={"signature": {"inputs": raw}}))


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-23:00"])
def test_a_time_of_logging_that_utc_has_no_year_for_is_not_known(make_artifact: Make, at: str) -> None:
    assert read(make_artifact(top={"utc_time_created": at})).requirements.logged_at is None


def test_what_an_old_mlflow_left_out_is_warned_about(make_artifact: Make) -> None:
    info = {"artifact_path": "input_example.json", "type": "dataframe", "pandas_orient": "split"}
    top = {"mlflow_version": "1.27.0", "utc_time_created": "yesterday", "saved_input_example_info": info}
    artifact = read(make_artifact({"serving_input_example.json": None}, top=top))
    assert artifact.requirements.logged_at is None
    assert any("MLflow 1.27.0" in warning for warning in artifact.warnings)
    assert any("when it was logged" in warning for warning in artifact.warnings)
    assert any("MLflow before 2.13" in warning for warning in artifact.warnings)


# --- requirements -----------------------------------------------------------------------------------------


def packages(root: Path) -> tuple[str, ...]:
    return read(root).requirements.packages


def test_requirements_are_lines_as_pip_reads_them(make_artifact: Make) -> None:
    text = (
        "# what it needs\n\nmlflow==2.9.2  # pinned\nscikit-learn==1.3.2\nscikit-learn==1.3.2\n"
        "pandas>=2,<3 ; python_version >= '3.9'\nlib @ git+https://example.org/lib@v1#subdirectory=x\n"
        "numpy==1.26.4 \\\n    --hash=sha256:aa\n-r more.txt\n--extra-index-url https://example.org/simple\n"
    )
    root = make_artifact({"requirements.txt": text, "more.txt": "\ufeffxgboost==2.0\n-r requirements.txt\n"})
    assert packages(root) == (
        "mlflow==2.9.2",
        "scikit-learn==1.3.2",
        "pandas>=2,<3 ; python_version >= '3.9'",
        "lib @ git+https://example.org/lib@v1#subdirectory=x",
        "numpy==1.26.4      --hash=sha256:aa",
        "xgboost==2.0",
    )


def test_constraints_and_wheels_of_the_artifact_are_given_by_their_full_path(make_artifact: Make) -> None:
    files = {
        "requirements.txt": "-c constraints.txt\nwheels/lib-1.0-py3-none-any.whl\nlib @ file://wheels/lib-1.0-py3-none-any.whl\n",
        "constraints.txt": "numpy<2\n",
        "wheels/lib-1.0-py3-none-any.whl": "",
    }
    root = make_artifact(files)
    wheel = root / "wheels/lib-1.0-py3-none-any.whl"
    assert packages(root) == (f"-c {root / 'constraints.txt'}", str(wheel), f"lib @ file://{wheel}")


@pytest.mark.parametrize(
    "line", ["numpy @ file:///croot/numpy_and_friends/dist/numpy-1.26.whl", "./gone-1.0-py3-none-any.whl", "/x/y.whl"]
)
def test_a_file_of_the_machine_where_it_was_logged_is_refused(make_artifact: Make, line: str) -> None:
    with pytest.raises(Unbuildable, match="a file of the machine where the model was logged"):
        read(make_artifact({"requirements.txt": line}))


def test_a_requirements_file_that_is_named_and_missing_is_said_so(make_artifact: Make) -> None:
    with pytest.raises(
        Unbuildable, match=r"python_env\.yaml in the artifact names requirements\.txt, which is missing"
    ):
        read(make_artifact({"requirements.txt": None}))
    with pytest.raises(Unbuildable, match="outside of the artifact"):
        read(make_artifact({"requirements.txt": "-r ../../secrets.txt"}))


def test_a_requirements_file_in_another_encoding_is_said_so(make_artifact: Make) -> None:
    root = make_artifact()
    (root / "requirements.txt").write_text("mlflow==2.9.2\n", encoding="utf-16")
    with pytest.raises(Unbuildable, match=r"requirements\.txt in the artifact is not UTF-8"):
        read(root)


CONDA = """
name: mlflow-env
channels: [conda-forge]
dependencies:
- python=3.10
- pip<=23
- libgomp=12
- numpy=1.26
- conda-forge::pandas==2.1.0
- scikit-learn=1.3.2=py310h_0
- pytorch>=2.0,<3
- pip:
  - mlflow==2.9.2
  - -r requirements.txt
"""


def test_an_old_conda_file_is_mapped_to_pypi_with_warnings(make_artifact: Make) -> None:
    root = make_artifact({"conda.yaml": CONDA, "python_env.yaml": None}, flavor={"env": "conda.yaml"})
    artifact = read(root)
    assert artifact.requirements.packages == (
        "numpy==1.26.*",
        "pandas==2.1.0",
        "torch>=2.0,<3",
        "mlflow==2.9.2",
        "scikit-learn==1.3.2",
    )
    assert artifact.requirements.python == "3.10", "not 3.1, as YAML would have it"
    assert artifact.requirements.source == "conda.yaml"
    assert any("numpy=1.26" in warning and "numpy==1.26.*" in warning for warning in artifact.warnings)
    assert any("left out libgomp" in warning for warning in artifact.warnings)
    assert not any("pip<" in warning for warning in artifact.warnings)


@pytest.mark.parametrize(
    ("spec", "python"),
    [("python=3.9.18", "3.9.18"), ("python==3.9.*", "3.9"), ("python>=3.8,<3.10", "3.11.7"), ("x", "3.11.7")],
)
def test_the_python_version_is_the_files_or_else_the_flavours(make_artifact: Make, spec: str, python: str) -> None:
    conda = f"dependencies: ['{spec}', {{pip: [mlflow]}}]"
    artifact = read(make_artifact({"conda.yaml": conda, "python_env.yaml": None}))
    assert artifact.requirements.python == python


def test_requirements_txt_alone_is_enough(make_artifact: Make) -> None:
    artifact = read(make_artifact({"python_env.yaml": None}, flavor={"env": None}))
    assert artifact.requirements.packages == ("mlflow==2.9.2", "scikit-learn==1.3.2")
    assert artifact.requirements.python == "3.11.7"
    assert artifact.requirements.source == "requirements.txt"


def test_no_environment_at_all_is_said_with_what_to_do(make_artifact: Make) -> None:
    nothing = {"python_env.yaml": None, "requirements.txt": None}
    with pytest.raises(Unbuildable, match="it declares none") as refusal:
        read(make_artifact(nothing, flavor={"env": None}))
    assert "pip_requirements" in refusal.value.hint
    with pytest.raises(Unbuildable, match=r"names python_env\.yaml and conda\.yaml, which the artifact lacks"):
        read(make_artifact(nothing))
