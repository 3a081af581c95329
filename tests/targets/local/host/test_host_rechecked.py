"""The recheck with a real host, real workers and the model's own predict: a damaged graph answers no more."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace
from pathlib import Path

import kept
import pytest

from serinus.core.placement import PlacementState
from serinus.core.predictions import AnsweredRequest
from serinus.core.release import Compiled
from serinus.core.rollout import ModelState
from serinus.engine import Rechecker
from serinus.engine.distrust import distrusted, rechecked
from serinus.engine.steps.kept import kept_rows
from serinus.targets.local.host import SocketScorer, Trials
from serinus.targets.local.host.trial_limits import TrialLimits

COLUMNS = ("a", "b")
ROWS = [[0.5, 0.1], [-1.0, 0.2], [2.0, 0.3]]


@pytest.fixture
def model(tmp_path):
    """Path of a saved model, its scores for `ROWS`, and a coefficient of it."""
    mlflow = pytest.importorskip("mlflow.sklearn")
    pandas = pytest.importorskip("pandas")
    numpy = pytest.importorskip("numpy")
    linear = pytest.importorskip("sklearn.linear_model")
    from mlflow.models import infer_signature

    random = numpy.random.default_rng(3)
    frame = pandas.DataFrame(random.normal(size=(200, 2)), columns=list(COLUMNS))
    fitted = linear.LogisticRegression().fit(frame, (frame["a"] + random.normal(size=200) > 0).astype(int))
    path = tmp_path / "model"
    signature = infer_signature(frame, fitted.predict_proba(frame))
    options = {"pyfunc_predict_fn": "predict_proba", "serialization_format": "cloudpickle"}
    mlflow.save_model(fitted, path, signature=signature, input_example=frame.head(2), **options)
    own = fitted.predict_proba(pandas.DataFrame(ROWS, columns=list(COLUMNS)))[:, -1]
    return path, own.tolist(), float(fitted.coef_[0][0])


def damaged(trials, home, artifact, coefficient):
    """The compiled model with another weight, under the digest of what it is now: a proof would find it right."""
    table = {"columns": list(COLUMNS), "rows": ROWS}
    target = home.compiled / "made"
    with trials.ask(kept.environment(home), "compiling.convert", kept.artifact(home, artifact), rows=table) as (
        said,
        scratch,
    ):
        assert said == {"written": True}
        (scratch / "compiled").rename(target)
    graph, weight = (target / "model.onnx").read_bytes(), struct.pack("<d", coefficient)
    assert graph.count(weight) >= 1
    (target / "model.onnx").write_bytes(graph.replace(weight, struct.pack("<d", coefficient + 1.0)))
    names = ("MLmodel", "model.onnx", "plan.json")
    parts = b"".join(hashlib.sha256((target / name).read_bytes()).digest() for name in names)
    digest = hashlib.sha256(parts).hexdigest()
    target.rename(home.compiled / digest)
    return Compiled(digest, kept.HERE)


@pytest.mark.long
def test_a_wrong_graph_is_found_by_the_models_own_predict_and_answers_no_more(hosted, model, tmp_path, wait_until):
    from lab import Lab

    path, own, coefficient = model
    hosted.start(runtime=None)
    trials = Trials(hosted.home)
    graph = damaged(trials, hosted.home, path, coefficient)
    release = replace(hosted.release(), model="fraud", artifact_digest="a" * 64, compiled=graph)
    hosted.target.place(release)
    placement = hosted.until(release.id, PlacementState.READY)
    scorer = SocketScorer(hosted.home)
    served = scorer.score(placement.endpoint, COLUMNS, ROWS, 10.0).scores
    assert (placement.way, served != pytest.approx(own, abs=1e-3)) == ("onnx", True)

    lab = Lab(tmp_path / "lab")
    world = replace(lab.world, target=hosted.target, scorer=scorer)
    lab.store.save_model(ModelState("fraud", champion=release))
    lab.log.answered = [
        AnsweredRequest(release.id, COLUMNS, [row], [score]) for row, score in zip(ROWS, served, strict=True)
    ]
    Rechecker(world, Trials(hosted.home, limits=TrialLimits(background=True))).round()
    assert [entry.release for entry in distrusted(lab.store).values()] == [release.id]
    assert rechecked(lab.store)[release.id].differing == len(ROWS)
    assert lab.compiler.condemned == {graph.digest}
    assert sorted(map(list, kept_rows(lab.store, "fraud", COLUMNS))) == sorted(ROWS)
    wait_until(lambda: hosted.target.observe()[release.id].way == "mlflow")
    wait_until(lambda: not Path(f"/proc/{placement.pid}").exists())
    assert scorer.score(placement.endpoint, COLUMNS, ROWS, 10.0).scores == pytest.approx(own, rel=1e-12)


@pytest.mark.long
def test_a_real_graph_with_another_digest_is_not_even_loaded(hosted, model, wait_until):
    path, own, coefficient = model
    hosted.start(runtime=None)
    graph = damaged(Trials(hosted.home), hosted.home, path, coefficient)
    release = replace(hosted.release(), artifact_digest="a" * 64, compiled=replace(graph, digest="c" * 64))
    hosted.target.place(release)
    placement = hosted.until(release.id, PlacementState.READY)
    assert (placement.way, placement.long) == ("mlflow", True)
    assert SocketScorer(hosted.home).score(placement.endpoint, COLUMNS, ROWS, 10.0).scores == pytest.approx(own)
