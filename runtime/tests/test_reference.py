"""The training path's scores, from a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src"
START = f"import sys; sys.path.append({str(SOURCE)!r}); from serinus_runtime.trials.reference import main; main()"
HIDDEN = "import sys; sys.modules['mlflow'] = None; " + START


def reference(directory: Path, artifact: Path, rows: Any = None, start: str = HIDDEN, **config: Any) -> tuple[int, Any]:
    content = {
        "artifact": str(artifact),
        "rows": None,
        "scratch": str(directory / "scratch"),
        "confine": True,
        **config,
    }
    if rows is not None:
        (directory / "rows.json").write_text(json.dumps(rows))
        content["rows"] = str(directory / "rows.json")
    (directory / "reference.json").write_text(json.dumps(content))
    done = subprocess.run(
        [sys.executable, "-I", "-c", start, str(directory / "reference.json")], capture_output=True, text=True
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


ROWS = {"columns": ["amount", "hour", "country"], "rows": [[1.5, 2, "FR"], [None, 3, "DE"]]}


def test_scores_are_those_of_mlflows_own_predict_with_its_schema_enforced(adds_up: Path, tmp_path: Path) -> None:
    assert reference(tmp_path, adds_up, ROWS, start=START) == (0, {"scores": [3.5, None]})


ECHO = """
class Model:
    def predict(self, data, params=None):
        return data[DATA].astype("float64") if DATA is not None else data.astype("float64")

def _load_pyfunc(path):
    return Model()
"""


@pytest.mark.parametrize(
    ("spec", "columns", "key"),
    [
        ({"type": "double", "name": 0}, ["0"], "0"),
        ({"type": "tensor", "tensor-spec": {"dtype": "str", "shape": [-1]}}, ["x"], "None"),
        ({"type": "tensor", "name": 0, "tensor-spec": {"dtype": "float32", "shape": [-1]}}, ["0"], "0"),
    ],
)
def test_columns_have_the_names_and_tensors_the_shapes_of_the_signature(
    make_artifact: Callable[..., Path], tmp_path: Path, spec: Any, columns: list[str], key: str
) -> None:
    artifact = make_artifact(tmp_path / "m", ECHO.replace("DATA", key), columns=(), example=None)
    mlmodel = json.loads((artifact / "MLmodel").read_text())
    mlmodel["signature"] = {"inputs": json.dumps([spec])}
    (artifact / "MLmodel").write_text(json.dumps(mlmodel))
    sent = {"columns": columns, "rows": [["1.5"], ["2.5"]] if spec.get("name") is None else [[1.5], [2.5]]}
    assert reference(tmp_path, artifact, sent) == (0, {"scores": [1.5, 2.5]})


def test_without_rows_the_model_is_only_loaded(adds_up: Path, tmp_path: Path) -> None:
    assert reference(tmp_path, adds_up) == (0, {"loaded": True})


def test_what_the_model_prints_does_not_get_into_the_answer(
    make_artifact: Callable[..., Path], adds_up_code: str, tmp_path: Path
) -> None:
    artifact = make_artifact(tmp_path / "m", "print('hello')\n" + adds_up_code)
    assert reference(tmp_path, artifact, ROWS) == (0, {"scores": [3.5, None]})


def test_a_failure_is_an_error_with_its_reason_and_no_values(
    make_artifact: Callable[..., Path], adds_up: Path, tmp_path: Path
) -> None:
    broken = make_artifact(tmp_path / "m", "import no_such_library\n")
    status, answer = reference(tmp_path, broken)
    assert status == 1
    assert "no_such_library" in answer["error"]
    status, answer = reference(tmp_path, adds_up, {"columns": ["amount"], "rows": [[4000001234567899]]})
    assert status == 1
    assert answer["error"] == "the model failed on the rows: KeyError"
    status, answer = reference(tmp_path, adds_up, ROWS, score_output="nope")
    assert "no output 'nope'" in answer["error"]


def test_it_is_confined_as_a_worker_is(make_artifact: Callable[..., Path], adds_up_code: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret")
    artifact = make_artifact(tmp_path / "m", f"open({str(tmp_path / 'token')!r})\n" + adds_up_code)
    status, answer = reference(tmp_path, artifact)
    assert status == 1
    assert "PermissionError" in answer["error"]
    assert reference(tmp_path, artifact, confine=False) == (0, {"loaded": True})
