"""The host with the real runtime and a real model: a scikit-learn pipeline of numbers and strings, saved by MLflow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import kept
import pytest

from serinus.core.errors import InvalidInput, Unbuildable
from serinus.core.placement import PlacementState
from serinus.core.predictions import AnsweredRequest, OwnAnswer
from serinus.targets.local.host import SocketScorer, Trials
from serinus.targets.local.host.trial_limits import TrialLimits

COLUMNS = ["amount", "hour", "kind"]
ROWS = [[12.5, 3, "web"], [900.0, 23, "pos"], [40.0, 12, "web"]]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Path of the saved model, and the scores that it gave before it was saved."""
    mlflow = pytest.importorskip("mlflow.sklearn")
    pandas = pytest.importorskip("pandas")
    compose, linear, pipeline, preprocessing = (
        pytest.importorskip(f"sklearn.{part}") for part in ("compose", "linear_model", "pipeline", "preprocessing")
    )
    from mlflow.models import infer_signature

    frame = pandas.DataFrame([*ROWS, [5.0, 1, "pos"], [700.0, 22, "web"]], columns=COLUMNS)
    encode = compose.ColumnTransformer([("kind", preprocessing.OneHotEncoder(), ["kind"])], remainder="passthrough")
    fitted = pipeline.make_pipeline(encode, linear.LogisticRegression()).fit(frame, [0, 1, 0, 0, 1])
    scores = fitted.predict_proba(frame)[:, -1]
    path = tmp_path_factory.mktemp("saved") / "model"
    signature = infer_signature(frame, fitted.predict_proba(frame))
    options = {"pyfunc_predict_fn": "predict_proba", "serialization_format": "cloudpickle"}
    mlflow.save_model(fitted, path, signature=signature, input_example=frame.head(2), **options)
    return path, list(scores[: len(ROWS)])


@pytest.fixture
def real(hosted):
    hosted.start(runtime=None)
    return hosted


def placed(hosted, path, settings=None):
    release = replace(hosted.release(settings=settings), artifact_digest=kept.artifact(hosted.home, path))
    hosted.target.place(release)
    return hosted.until(release.id, PlacementState.READY)


def test_a_real_model_is_placed_and_scores_as_it_did_in_training(real, model):
    path, scores = model
    placement = placed(real, path)
    scorer = SocketScorer(real.home)
    assert scorer.score(placement.endpoint, COLUMNS, ROWS, 5.0).scores == pytest.approx(scores)
    assert scorer.score(placement.endpoint, COLUMNS, ROWS[:1], 5.0).scores == pytest.approx(scores[:1])
    with pytest.raises(InvalidInput, match="kind"):
        scorer.score(placement.endpoint, COLUMNS, [[1.0, 1, None]], 5.0)
    with pytest.raises(InvalidInput, match="amount"):
        scorer.score(placement.endpoint, ["hour", "kind"], [[1, "web"]], 5.0)


@pytest.mark.long
def test_a_real_worker_is_taken_over_and_is_gone_when_removed(real, model, wait_until):
    first = placed(real, model[0])
    real.kill()
    real.start(runtime=None)
    second = real.until(first.release, PlacementState.READY, but=first.pid)
    assert SocketScorer(real.home).score(second.endpoint, COLUMNS, ROWS, 5.0).scores == pytest.approx(model[1])
    wait_until(lambda: not Path(f"/proc/{first.pid}").exists())
    real.target.remove(second.release)
    wait_until(lambda: not Path(f"/proc/{second.pid}").exists())


def test_a_real_model_whose_files_are_missing_says_what_is(real):
    release = real.release()
    real.target.place(release)
    failed = real.until(release.id, PlacementState.FAILED)
    assert failed.reason.startswith("there is no readable MLmodel file in the artifact")


@pytest.mark.long
def test_a_real_model_is_scanned_loaded_and_asked_in_trials(hosted, model):
    path, scores = model
    trials, digest = Trials(hosted.home), kept.artifact(hosted.home, path)
    kept.environment(hosted.home)
    (found,) = trials.scan(digest)["pickles"]
    assert found["file"] == "model.pkl"
    assert any(name.startswith("sklearn.") for name in found["imports"])
    assert trials.loads(kept.HERE, digest) is None
    assert trials.reference(kept.HERE, digest, COLUMNS, ROWS, None) == pytest.approx(scores)


def test_a_real_model_that_reads_the_homes_secret_does_not_load(hosted):
    """The trial of a loader that is what a hostile model would be."""
    model = hosted.home.artifact("model")
    kept.environment(hosted.home)
    (model / "code").mkdir(parents=True)
    (model / "MLmodel").write_text("flavors: {python_function: {loader_module: hostile, code: code}}\nmodel_uuid: a\n")
    source = (
        f"from pathlib import Path\ndef _load_pyfunc(path):\n    return Path({str(hosted.home.secret)!r}).read_text()\n"
    )
    (model / "code/hostile.py").write_text(source)
    with pytest.raises(Unbuildable, match=r"^The model does not load: PermissionError"):
        Trials(hosted.home).loads(kept.HERE, "model")


@pytest.mark.long
def test_a_real_models_answers_are_rescored_by_its_own_predict(hosted, model):
    path, scores = model
    release = replace(hosted.release(), artifact_digest=kept.artifact(hosted.home, path))
    requests = [
        AnsweredRequest(release.id, tuple(COLUMNS), ROWS, scores),
        AnsweredRequest(release.id, tuple(reversed(COLUMNS)), [row[::-1] for row in ROWS[:1]], scores[:1]),
        AnsweredRequest(release.id, ("amount",), [[1.0]], [0.5]),
    ]
    found = Trials(hosted.home, limits=TrialLimits(background=True)).rescore(release, requests)
    assert found.answers[:2] == [OwnAnswer(pytest.approx(scores), "FP64"), OwnAnswer(pytest.approx(scores[:1]), "FP64")]
    assert found.answers[2] is None
    assert 0 < found.seconds < 120
