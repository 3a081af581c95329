"""Requests that are answered once more by the model's own predict, whatever shorter way there is."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Sequence

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src"


START = f"import sys; sys.path.append({str(SOURCE)!r}); from serinus_runtime.trials.rescore import main; main()"


def rescored(directory: Path, artifact: Path, requests: Sequence[Any], **config: Any) -> tuple[int, Any]:
    """Exit status and what it prints."""
    (directory / "requests.json").write_text(json.dumps({"requests": requests}))
    content = {"artifact": str(artifact), "requests": str(directory / "requests.json"), "confine": True}
    content |= {"scratch": str(directory / "scratch"), "readable": [], **config}
    (directory / "config.json").write_text(json.dumps(content))
    done = subprocess.run(
        [sys.executable, "-I", "-c", START, str(directory / "config.json")], capture_output=True, text=True
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.fixture(scope="module")
def forest(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, Any]:
    """A saved model for which a shorter way is proven, the model itself, and rows."""
    mlflow = pytest.importorskip("mlflow.sklearn")
    numpy = pytest.importorskip("numpy")
    pandas = pytest.importorskip("pandas")
    linear = pytest.importorskip("sklearn.linear_model")
    from mlflow.models import infer_signature

    random = numpy.random.default_rng(1)
    frame = pandas.DataFrame(random.normal(size=(200, 3)), columns=["a", "b", "c"])
    model = linear.LogisticRegression().fit(frame, (frame["a"] + frame["b"] > 0).astype(int))
    path = tmp_path_factory.mktemp("saved") / "model"
    mlflow.save_model(
        model,
        path,
        signature=infer_signature(frame, model.predict_proba(frame)),
        input_example=frame.head(3),
        pyfunc_predict_fn="predict_proba",
        serialization_format="cloudpickle",
    )
    return path, model, frame


def test_each_request_is_answered_by_itself_with_its_scores_and_their_datatype(
    tmp_path: Path, forest: tuple[Path, Any, Any]
) -> None:
    path, model, frame = forest
    rows = frame.head(4).to_numpy().tolist()
    requests = [
        {"columns": ["a", "b", "c"], "rows": rows[:1]},
        {"columns": ["c", "b", "a"], "rows": [row[::-1] for row in rows[1:]]},
        {"columns": ["a", "b"], "rows": [[0.1, 0.2]]},
        {"columns": ["a", "b", "c"], "rows": [["no number", 0.2, 0.3]]},
    ]
    status, said = rescored(tmp_path, path, requests)
    expected = model.predict_proba(frame.head(4))[:, -1].tolist()
    assert status == 0
    assert said["answers"][0] == {"scores": expected[:1], "datatype": "FP64"}
    assert said["answers"][1] == {"scores": pytest.approx(expected[1:], rel=1e-15), "datatype": "FP64"}
    assert said["answers"][2:] == [None, None], "the model refuses them, which is no failure of the others"


SOMETIMES = """
class Model:
    def predict(self, data, params=None):
        values = data["amount"].to_numpy(dtype="float64")
        return {"risk": values} if values[0] > 0 else {"other": values}

def _load_pyfunc(path):
    return Model()
"""


def test_a_score_that_is_left_out_is_missing_as_it_is_in_the_record(
    make_artifact: Callable[..., Path], tmp_path: Path
) -> None:
    requests = [{"columns": ["amount", "hour", "country"], "rows": [[amount, 3, "FR"]]} for amount in (1.5, -1.5)]
    _, said = rescored(tmp_path, make_artifact(tmp_path / "m", SOMETIMES), requests, score_output="risk")
    assert said["answers"] == [{"scores": [1.5], "datatype": "FP64"}, {"scores": [None], "datatype": "FP64"}]


def test_a_model_that_does_not_load_says_why(make_artifact: Callable[..., Path], tmp_path: Path) -> None:
    status, said = rescored(tmp_path, make_artifact(tmp_path / "m", "import no_such_library\n"), [])
    assert status == 1
    assert "no_such_library" in said["error"]


def test_it_is_confined_as_a_worker_is(make_artifact: Callable[..., Path], adds_up_code: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret")
    artifact = make_artifact(tmp_path / "m", f"open({str(tmp_path / 'token')!r})\n" + adds_up_code)
    status, said = rescored(tmp_path, artifact, [])
    assert status == 1
    assert "PermissionError" in said["error"]


def test_a_model_that_goes_the_long_way_uses_no_shorter_one(forest: tuple[Path, Any, Any]) -> None:
    from serinus_runtime.model.model import Model

    path, _, _ = forest
    short = Model.read(path)
    assert short.way in ("matrix", "direct")
    for proven in ("", short.proven):
        long = Model.read(path, long=True, proven=proven)
        assert (long.way, long.proven) == ("mlflow", "")
