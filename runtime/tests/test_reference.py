"""The training path's scores, from a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).resolve().parent.parent / "src"
START = f"import sys; sys.path.append({str(SOURCE)!r}); from serinus_runtime.reference import main; main()"
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
    assert answer == {"error": "the model failed on the rows: KeyError"}
    status, answer = reference(tmp_path, adds_up, ROWS, score_output="nope")
    assert "no output 'nope'" in answer["error"]


def test_it_is_confined_as_a_worker_is(make_artifact: Callable[..., Path], adds_up_code: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret")
    artifact = make_artifact(tmp_path / "m", f"open({str(tmp_path / 'token')!r})\n" + adds_up_code)
    status, answer = reference(tmp_path, artifact)
    assert status == 1
    assert "PermissionError" in answer["error"]
    assert reference(tmp_path, artifact, confine=False) == (0, {"loaded": True})
