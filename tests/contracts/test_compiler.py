"""What every Compiler must do, see `core.ports.Compiler`. Another implementation joins by a line in `COMPILERS`.

Here the real one compiles with confined processes of this interpreter; tests/backends/onnx has what it keeps on disk.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kept
import mlflow
import numpy as np
import pandas as pd
import pytest
from job_cluster import JobCluster, briefly, image_of
from lab import FakeCompiler
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression

from serinus import gates
from serinus.backends.onnx import OnnxCompiler
from serinus.core.examination import GateResult, Outcome
from serinus.core.home import Home
from serinus.core.ports import Compilation, Compiler
from serinus.core.release import Artifact, Environment, Requirements
from serinus.targets.kubernetes.jobs import ClusterTrials, Jobs, JobSettings
from serinus.targets.local.host import Trials

pytestmark = pytest.mark.long

COLUMNS = ("a", "b")
ROWS = ((0.5, 0.1), (-1.0, 0.2), (2.0, 0.3))
DIFFERING = [0, 1]
HERE = Environment(kept.HERE, "3.11")


@dataclass(frozen=True)
class Setting:
    """Of models: `alike` and `alike-too` can be compiled; `differing` as well, but its model answers the rows
    `DIFFERING` otherwise; `custom` cannot."""

    compiler: Compiler

    def compile(self, name: str, rows: Sequence[Sequence[Any]] = ROWS) -> Compilation:
        artifact = Artifact(f"artifact-{name}", Requirements((), None), None, None, "mlflow.sklearn")
        return self.compiler.compile(artifact, HERE, COLUMNS, rows, lambda _: None)


def in_memory(path: Path) -> Setting:
    return Setting(FakeCompiler({"alike": 0, "alike-too": 0, "differing": len(DIFFERING)}))


class Here:
    """This interpreter is every environment."""

    def prepare(
        self, requirements: Requirements, loads: Callable[[Environment], str | None], say: Callable[[str], None]
    ) -> Environment:
        return HERE


class Asked:
    """Asks real processes, but has the model of `differing` answer otherwise than it does."""

    def __init__(self, trials: Trials | ClusterTrials) -> None:
        self._trials = trials

    @contextmanager
    def __call__(
        self, environment: str, module: str, artifact: str, *, also: Sequence[Path] = (), **config: Any
    ) -> Iterator[tuple[Mapping[str, Any], Path]]:
        with self._trials.ask(environment, module, artifact, also=also, **config) as (answer, scratch):
            if module == "compiling.convert" and artifact == "artifact-differing":
                answers = np.load(scratch / "compiled" / "answers.npy")
                answers[DIFFERING] += 0.01
                np.save(scratch / "compiled" / "answers.npy", answers)
            yield answer, scratch


def onnx(path: Path) -> Setting:
    home = saved(path)
    return Setting(OnnxCompiler(home.compiled, Here(), Asked(Trials(home))))


def jobs(path: Path) -> Setting:
    home = saved(path)
    cluster = JobCluster(path / "containers").connected()

    def image(artifact: str, environment: str | None) -> str:
        return image_of(home.artifact(artifact), Path(sys.prefix))

    trials = ClusterTrials(Jobs(cluster, JobSettings(), pause=briefly), image, Trials(home))
    return Setting(OnnxCompiler(home.compiled, Here(), Asked(trials)))


def saved(path: Path) -> Home:
    """With the models."""
    home = Home(path / "home")
    for directory in home.directories:
        directory.mkdir(parents=True, exist_ok=True)
    home.settings.write_text("{}")
    for seed, name in enumerate(("alike", "alike-too", "differing")):
        _log(np.random.default_rng(seed), home.artifact(f"artifact-{name}"))
    kept.environment(home)
    custom = home.artifact("artifact-custom")
    custom.mkdir()
    mlmodel = {"flavors": {"python_function": {"loader_module": "theirs"}}, "signature": {}}
    (custom / "MLmodel").write_text(json.dumps(mlmodel))
    return home


def _log(random: np.random.Generator, path: Path) -> None:
    frame = pd.DataFrame(random.normal(size=(60, 2)), columns=list(COLUMNS))
    model = LogisticRegression().fit(frame, frame["a"] + random.normal(size=60) > 0)
    mlflow.sklearn.save_model(
        model,
        path,
        pyfunc_predict_fn="predict_proba",
        serialization_format="cloudpickle",
        signature=infer_signature(frame, model.predict_proba(frame)),
        pip_requirements=["scikit-learn"],
    )


COMPILERS: dict[str, Callable[[Path], Setting]] = {"in memory": in_memory, "onnx": onnx, "onnx in Jobs": jobs}


@pytest.fixture(params=sorted(COMPILERS), scope="module")
def setting(request: pytest.FixtureRequest) -> Iterator[Setting]:
    with tempfile.TemporaryDirectory(prefix="serinus-") as directory:
        yield COMPILERS[request.param](Path(directory).resolve())


def judged(found: Compilation) -> GateResult:
    return gates.parity(gates.ParityEvidence.from_json(found.proof, threshold=None, budget=0.01))


def test_preparing_is_done_before_anybody_asks_and_again_without_harm(setting: Setting) -> None:
    setting.compiler.prepare()
    first = setting.compile("alike")
    setting.compiler.prepare()
    assert setting.compile("alike") == first


def test_a_model_that_can_be_compiled_comes_with_a_proof_that_the_gate_passes(setting: Setting) -> None:
    found = setting.compile("alike")
    assert found.compiled is not None
    assert found.reason == ""
    assert judged(found).outcome is Outcome.PASS


def test_a_proof_has_the_scores_of_both_for_each_of_the_models_own_rows(setting: Setting) -> None:
    proof = setting.compile("alike").proof
    assert len(proof["original"]) == len(proof["compiled"]) == proof["own"] >= len(ROWS)
    assert proof["rows"] >= proof["own"]


def test_rows_that_differ_are_told_by_number_and_left_to_the_gate(setting: Setting) -> None:
    found = setting.compile("differing")
    assert found.compiled is not None
    assert found.proof["differing"] == DIFFERING
    assert found.proof["largest"] > 0.001
    assert judged(found).outcome is Outcome.FAIL


def test_a_model_that_cannot_be_compiled_is_no_error_but_a_reason(setting: Setting) -> None:
    found = setting.compile("custom")
    assert found.compiled is None
    assert "cannot be compiled" in found.reason
    assert found.proof == {}


def test_asked_again_it_is_the_same_graph_with_the_same_proof(setting: Setting) -> None:
    first, again = setting.compile("alike"), setting.compile("alike")
    assert (again.compiled, again.proof) == (first.compiled, first.proof)


def test_a_graph_is_known_by_its_digest(setting: Setting) -> None:
    one, other, more_rows = setting.compile("alike"), setting.compile("alike-too"), setting.compile("alike", ROWS * 2)
    assert one.compiled is not None
    assert other.compiled is not None
    assert one.compiled.digest != other.compiled.digest
    assert one.compiled == more_rows.compiled
    assert one.compiled.environment_digest == other.compiled.environment_digest


def test_what_is_used_stays_where_the_rest_is_removed(setting: Setting) -> None:
    found = setting.compile("alike")
    assert found.compiled is not None
    setting.compiler.sweep({found.compiled.digest})
    again = setting.compile("alike")
    assert (again.compiled, again.proof) == (found.compiled, found.proof)


def test_what_is_distrusted_is_not_given_again_and_why_is_said(setting: Setting) -> None:
    """The last test: there is no way back."""
    found = setting.compile("differing")
    assert found.compiled is not None
    for _ in range(2):
        setting.compiler.distrust(found.compiled.digest)
    again = setting.compile("differing")
    assert again.compiled is None
    assert "answered differently from the model itself" in again.reason
    assert setting.compile("alike").compiled is not None
