"""Compiling, by real confined processes of this interpreter: kept, shared, and never half-made."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import kept
import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.models import infer_signature
from serinus_runtime.model.compiled import FILES
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from serinus.backends.onnx import OnnxCompiler
from serinus.backends.onnx.environment import requirements
from serinus.backends.onnx.kept import Kept
from serinus.core.errors import Unavailable
from serinus.core.home import Home
from serinus.core.release import Artifact, Environment, Requirements
from serinus.targets.local.host import Trials
from serinus.targets.local.host.trial_limits import TrialLimits

pytestmark = pytest.mark.long

HERE = Environment(kept.HERE, "3.11")
COLUMNS = ["amount", "country"]
ROWS = [[12.5, "FR"], [900.0, "DE"], [0.0, "IT"]]


class Environments:
    """This interpreter is every environment."""

    def __init__(self) -> None:
        self.asked: list[Requirements] = []
        self.away = False

    def prepare(
        self, wanted: Requirements, loads: Callable[[Environment], str | None], say: Callable[[str], None]
    ) -> Environment:
        self.asked.append(wanted)
        if self.away:
            raise Unavailable("the package index does not answer")
        return HERE


class Asked:
    """Counts what the real one is asked."""

    def __init__(self, home: Home, seconds: float = 100.0) -> None:
        self._trials = Trials(home, limits=TrialLimits(seconds=seconds))
        self.modules: list[str] = []

    @contextmanager
    def __call__(
        self, environment: str, module: str, artifact: str, *, also: Sequence[Path] = (), **config: Any
    ) -> Iterator[tuple[Mapping[str, Any], Path]]:
        self.modules.append(module)
        with self._trials.ask(environment, module, artifact, also=also, **config) as answer:
            yield answer


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    warnings.simplefilter("ignore")
    random = np.random.default_rng(7)
    frame = pd.DataFrame({"amount": random.exponential(80, 300), "country": random.choice(["FR", "DE", "IT"], 300)})
    label = (frame["amount"] + 40 * (frame["country"] == "FR") > 120).astype(int)
    columns = ColumnTransformer([("n", StandardScaler(), ["amount"]), ("t", OneHotEncoder(), ["country"])])
    pipeline = make_pipeline(columns, LogisticRegression()).fit(frame, label)
    path = tmp_path_factory.mktemp("models") / "m"
    mlflow.sklearn.save_model(
        pipeline,
        path,
        pyfunc_predict_fn="predict_proba",
        serialization_format="cloudpickle",
        signature=infer_signature(frame, pipeline.predict_proba(frame)),
        input_example=frame.head(3),
        pip_requirements=["scikit-learn"],
    )
    return path


@pytest.fixture
def home() -> Iterator[Home]:
    with tempfile.TemporaryDirectory(prefix="serinus-") as directory:
        home = Home(Path(directory).resolve() / "home")
        for path in home.directories:
            path.mkdir(parents=True, exist_ok=True)
        home.settings.write_text("{}")
        kept.environment(home)
        yield home


@pytest.fixture
def model(home: Home, saved: Path) -> str:
    """Digest of the artifact."""
    return kept.artifact(home, saved)


def artifact(digest: str) -> Artifact:
    return Artifact(digest, Requirements((), None), None, None, "mlflow.sklearn")


def compiler(home: Home, ask: Any, environments: Environments | None = None) -> OnnxCompiler:
    return OnnxCompiler(home.path / "compiled", environments or Environments(), ask)


def compile_it(compiler: OnnxCompiler, digest: str, rows: Sequence[Sequence[Any]] = ROWS) -> Any:
    return compiler.compile(artifact(digest), HERE, COLUMNS, rows, lambda _: None)


def test_a_pipeline_is_compiled_proven_and_kept_under_the_digest_of_its_files(home: Home, model: str) -> None:
    ask = Asked(home)
    found = compile_it(compiler(home, ask), model)
    assert found.reason == ""
    assert sorted(path.name for path in home.graph(found.compiled.digest).iterdir()) == sorted(FILES)
    assert found.compiled.environment_digest == HERE.digest
    assert found.proof["own"] == len(ROWS) + 3
    assert found.proof["differing"] == found.proof["refusals"] == found.proof["alone"] == []
    np.testing.assert_allclose(found.proof["compiled"], found.proof["original"], atol=1e-12)
    again = compile_it(compiler(home, ask), model)
    assert (again.compiled, again.proof) == (found.compiled, found.proof)
    assert ask.modules == ["compiling.convert", "trials.prove"]


def test_other_rows_prove_anew_and_come_to_the_same_graph(home: Home, model: str) -> None:
    ask = Asked(home)
    one, other = compile_it(compiler(home, ask), model), compile_it(compiler(home, ask), model, ROWS[:1])
    assert ask.modules.count("trials.prove") == 2
    assert one.compiled == other.compiled
    assert one.proof["own"] != other.proof["own"]


def test_what_cannot_be_compiled_is_said_once_and_remembered(home: Home) -> None:
    today = [[12.5, date(2026, 3, 1)]]  # as an evaluation set may hold it
    custom = home.artifact("custom")
    custom.mkdir()
    mlmodel = {"flavors": {"python_function": {"loader_module": "theirs"}}, "signature": {}}
    (custom / "MLmodel").write_text(json.dumps(mlmodel))
    ask = Asked(home)
    for _ in range(2):
        found = compile_it(compiler(home, ask), "custom", today)
        assert found.compiled is None
        assert found.reason == "custom Python models cannot be compiled"
    assert ask.modules == ["compiling.convert"]


def test_a_process_that_takes_too_long_is_no_failure_and_tried_again(home: Home, model: str) -> None:
    found = compile_it(compiler(home, Asked(home, seconds=0.05)), model)
    assert found.compiled is None
    assert "took longer than 0.05 s" in found.reason
    assert compile_it(compiler(home, Asked(home)), model).compiled is not None


def test_without_the_compiled_environment_the_model_is_served_as_it_is(home: Home, model: str) -> None:
    environments = Environments()
    environments.away = True
    found = compile_it(compiler(home, Asked(home), environments), model)
    assert found.compiled is None
    assert "the package index does not answer" in found.reason
    assert environments.asked == [requirements()]


def test_the_compiled_environment_can_be_there_before_anybody_asks(home: Home) -> None:
    environments = Environments()
    compiler(home, Asked(home), environments).prepare()
    assert environments.asked == [requirements()]
    environments.away = True
    with pytest.raises(Unavailable):
        compiler(home, Asked(home), environments).prepare()


def test_two_who_ask_at_the_same_time_compile_once(home: Home, model: str) -> None:
    ask = Asked(home)
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: compile_it(compiler(home, ask), model), range(2))
    assert one.compiled == other.compiled
    assert ask.modules == ["compiling.convert", "trials.prove"]


ADD_FOR_EVER = """
import shutil, signal, sys
from pathlib import Path
from serinus.backends.onnx.kept import Kept

def slow(source, target):
    with target.open("wb") as file:
        file.write(source.read_bytes()[:10])
    print("begun", flush=True)
    signal.pause()

shutil.copyfile = slow
Kept(Path(sys.argv[1])).add(Path(sys.argv[2]))
"""


def test_a_kill_in_the_middle_leaves_nothing_half_made(home: Home, tmp_path: Path) -> None:
    directory = home.path / "compiled"
    for name in FILES:
        (tmp_path / name).write_bytes(name.encode() * 100)
    command = [sys.executable, "-c", ADD_FOR_EVER, str(directory), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.kill()
    assert [path.name for path in directory.iterdir() if not path.name.startswith(".")] == ["locks"]
    digest = Kept(directory).add(tmp_path)
    assert {path.name: path.read_bytes() for path in Kept(directory).path(digest).iterdir()} == {
        name: name.encode() * 100 for name in FILES
    }
    assert not (directory / ".aside").exists()


def test_an_answer_whose_files_are_gone_is_asked_again(home: Home) -> None:
    kept = Kept(home.path / "compiled")
    kept.keep("q", {"digest": "d", "reason": "", "proof": {}})
    assert kept.answer("q") is None
    kept.path("d").mkdir()
    assert kept.answer("q") == {"digest": "d", "reason": "", "proof": {}}


# --- what nobody uses ---------------------------------------------------------------------------------------


def added(kept: Kept, source: Path, content: bytes, *, days_ago: float) -> str:
    """A compiled model that was asked for so long ago, and an answer that led to it."""
    for name in FILES:
        (source / name).write_bytes(content)
    digest = kept.add(source)
    kept.keep(f"question-{digest}", {"digest": digest, "reason": "", "proof": {}})
    asked = time.time() - days_ago * 86_400
    os.utime(kept.path(digest), (asked, asked))
    return digest


def test_graphs_that_no_release_uses_are_removed_with_what_led_to_them(home: Home, tmp_path: Path) -> None:
    directory = home.path / "compiled"
    kept = Kept(directory)
    used, unused, young = (
        added(kept, tmp_path, content, days_ago=days) for content, days in ((b"1", 9), (b"2", 9), (b"3", 0.5))
    )
    kept.keep("no", {"digest": None, "reason": "custom Python models cannot be compiled", "proof": {}})
    OnnxCompiler(directory, Environments(), Asked(home)).sweep({used})
    assert sorted(path.name for path in directory.iterdir()) == sorted(["asked", "locks", used, young])
    assert {path.name for path in kept.path(used).iterdir()} == set(FILES)
    there = {f"question-{used}.json", f"question-{young}.json", "no.json"}
    assert {path.name for path in (directory / "asked").iterdir()} == there
    assert kept.answer(f"question-{unused}") is None


def test_a_graph_that_was_asked_for_again_stays_until_its_release_is_known(home: Home, tmp_path: Path) -> None:
    kept = Kept(home.path / "compiled")
    by_answer, by_files = (added(kept, tmp_path, content, days_ago=9) for content in (b"1", b"2"))
    assert kept.answer(f"question-{by_answer}") is not None
    assert kept.add(tmp_path) == by_files
    kept.sweep(())
    assert kept.path(by_answer).is_dir()
    assert kept.path(by_files).is_dir()


def test_what_cannot_be_removed_fails_nobody(home: Home, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    with caplog.at_level(logging.WARNING):
        OnnxCompiler(tmp_path / "file", Environments(), Asked(home)).sweep(())
    assert "could not be removed" in caplog.text


def test_every_package_of_the_compiled_environment_is_pinned() -> None:
    assert all("==" in package for package in requirements().packages)
    assert requirements().python == f"{sys.version_info.major}.{sys.version_info.minor}"


def test_what_is_condemned_stays_so_when_its_files_are_swept(home: Home, model: str) -> None:
    ask = Asked(home)
    made = compiler(home, ask)
    digest = compile_it(made, model).compiled.digest
    made.distrust(digest)
    Kept(home.path / "compiled").sweep((), unused_for=-1.0)
    assert not (home.path / "compiled" / digest).exists()
    again = compile_it(made, model)
    assert again.compiled is None, "the same writer makes the same graph again"
    assert "answered differently" in again.reason
    assert ask.modules.count("compiling.convert") == 2
