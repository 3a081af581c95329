"""The first question of real models: their own predict in a confined process, and a real worker behind a real Envoy."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import kept
import mlflow
import numpy as np
import pandas as pd
import pytest
from envoy_harness import Proxy
from sklearn.linear_model import LogisticRegression

from serinus import gates
from serinus.core.examination import Outcome
from serinus.core.home import Home
from serinus.core.keys import router_key
from serinus.core.placement import Placement, PlacementState
from serinus.core.release import Release, ServingSettings
from serinus.engine.steps.asking import Subject, asked
from serinus.targets.local.host import SocketScorer, Trials, launch
from serinus.targets.local.host.reach import readable

pytestmark = pytest.mark.long

xgboost = pytest.importorskip("xgboost", reason="of the data scientist's side: uv sync --group demo")

FRAME = pd.DataFrame({"amount": [1.0, 2.0, 3.0, 90.0], "hour": [1.0, 2.0, 3.0, 4.0]})
LABEL = np.array([0, 0, 0, 1])


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    proxy = Proxy(tmp_path_factory.mktemp("asked") / "h")
    yield proxy.start()
    proxy.close()


@pytest.fixture
def ask(proxy: Proxy, tmp_path: Path) -> Iterator[Callable[..., gates.AskedEvidence]]:
    """ask(artifact): what its release shows when it is asked through the router."""
    with ExitStack() as ends:

        def act(artifact: Path, **settings: Any) -> gates.AskedEvidence:
            made, chosen = datetime(2026, 1, 1, tzinfo=UTC), ServingSettings(**settings)
            digests = (kept.artifact(proxy.home, artifact, tmp_path.name), kept.environment(proxy.home))
            release = Release("fraud-1-aaaaaa", "fraud", "1", *digests, chosen, made)
            endpoint = str(proxy.home.release_socket(release.id))
            started(ends, release, endpoint, tmp_path, proxy.home)
            world: Any = SimpleNamespace(
                router=proxy.router, scorer=SocketScorer(proxy.home), trials=Trials(proxy.home)
            )
            rollout: Any = SimpleNamespace(plan=SimpleNamespace(accepts=frozenset()))
            unused: Any = None
            placement = Placement(release.id, PlacementState.READY, endpoint=endpoint)
            subject = Subject(world, rollout, unused, unused, unused, release, placement, None)
            return asked(subject, world.trials.rehearse(release, None))

        yield act


def started(ends: ExitStack, release: Release, endpoint: str, directory: Path, home: Home) -> None:
    """A worker as the host would start it; it ends with the test."""
    listener = ends.enter_context(socket.socket(socket.AF_UNIX))
    Path(endpoint).unlink(missing_ok=True)
    listener.bind(endpoint)
    listener.listen(64)
    reader, writer = os.pipe()
    artifact, python = home.artifact(release.artifact_digest), home.interpreter(release.environment_digest)
    config = {
        "release": release.id, "model": release.model, "version": release.version,
        "artifact": str(artifact), "listen_fd": listener.fileno(), "report_fd": writer,
        "scratch": str(directory / "scratch"), "router": router_key(home.secret.read_text(), release.id),
        "settings": {"rows": release.settings.rows, "protocols": release.settings.protocols},
        "readable": readable(directory / "none", python, artifact, launch.runtime_source()),
    }  # fmt: skip
    (directory / "worker.json").write_text(json.dumps(config))
    command = launch.command(python, launch.runtime_source(), "process.worker", str(directory / "worker.json"))
    process = ends.enter_context(
        subprocess.Popen(command, pass_fds=(listener.fileno(), writer), stderr=subprocess.DEVNULL)
    )
    ends.callback(process.kill)
    os.close(writer)
    with os.fdopen(reader) as reports:
        loading, ready = (json.loads(reports.readline()) for _ in range(2))
    assert (loading["state"], ready["state"]) == ("loading", "ready"), ready


def saved(directory: Path, model: Any, save: Any = mlflow.sklearn.save_model, **how: Any) -> Path:
    save(model, str(directory / "model"), pip_requirements=[], **how)
    return directory / "model"


def by_hand(directory: Path, answer: str, columns: Any) -> Path:
    """A model that answers `answer`, an expression of `rows`."""
    code = f"""
import numpy, pandas

class Model:
    def predict(self, rows, params=None):
        return {answer}

def _load_pyfunc(path):
    return Model()
"""
    (directory / "m" / "code").mkdir(parents=True)
    name = f"asked_{os.urandom(4).hex()}"
    (directory / "m" / "code" / f"{name}.py").write_text(code)
    content: dict[str, Any] = {"flavors": {"python_function": {"loader_module": name, "code": "code"}}}
    if columns is not None:
        content["signature"] = {"inputs": json.dumps(columns), "outputs": None}
    (directory / "m" / "MLmodel").write_text(json.dumps(content))
    return directory / "m"


AMOUNT = [{"type": "double", "name": "amount", "required": True}]
EVERY = [{"type": t, "name": t, "required": True} for t in ("double", "long", "integer", "float", "string", "boolean")]
ANSWERS = {
    "numbers": "rows['amount'].to_numpy() / 3",
    "two columns": "numpy.stack([rows['amount'].to_numpy(), 1 - rows['amount'].to_numpy()], axis=1)",
    "a frame": "pandas.DataFrame({'risk': rows['amount'] / 3, 'label': ['a'] * len(rows)})",
    "labels": "numpy.array(['fraud'] * len(rows))",
    "whole numbers": "numpy.array([2 ** 53 + 1] * len(rows))",
    "truths": "rows['amount'].to_numpy() > 1",
    "nothing": "numpy.full(len(rows), numpy.nan)",
    "a series": "pandas.Series(rows['amount'].to_numpy() / 3)",
    "nullable numbers": "pandas.DataFrame({'id': pandas.array([2 ** 53 + 1] * len(rows), dtype='Int64')})",
    "times in a column": "pandas.DataFrame({'at': pandas.to_datetime(['2024-01-02'] * len(rows))})",
    "times in an array": "numpy.array(['2024-01-02T00:00:00.000000001'] * len(rows), dtype='datetime64[ns]')",
    "durations": "numpy.array([86_400_000_000_001] * len(rows), dtype='timedelta64[ns]')",
    "bytes that are text": "numpy.array([b'abc'] * len(rows))",
    "bytes that are none": "numpy.array([b'\\xff\\xfe'] * len(rows), dtype=object)",
    "columns of numbers": "pandas.DataFrame({0: rows['amount'] / 3, 1: 1 - rows['amount'] / 3})",
}
MISSING = "pandas.DataFrame({'id': pandas.array([1] * (len(rows) - 1) + [None], dtype='Int64'), 'p': 0.5})"
ALL = ["open-inference", "grpc", "invocations"]


def test_missing_values_that_grpc_has_no_form_for_are_left_to_the_other_protocols(
    ask: Callable[..., gates.AskedEvidence], tmp_path: Path
) -> None:
    evidence = ask(by_hand(tmp_path, MISSING, AMOUNT))
    result = gates.asked(evidence)
    assert result.outcome is Outcome.PASS, result.summary
    assert "It was not asked by grpc: it cannot carry the missing values in the answer" in result.summary


@pytest.mark.parametrize(
    "answer",
    [
        "[{'label': 'fraud', 'score': float(a)} for a in rows['amount']]",
        "[[float(a)] * (1 + (a > 0)) for a in rows['amount']]",
        "pandas.concat([rows[['amount']], rows[['amount']] * 2], axis=1)",
    ],
    ids=["dictionaries", "lists of different lengths", "two columns of one name"],
)
def test_what_tensors_cannot_carry_is_asked_by_invocations_alone_or_fails(
    ask: Callable[..., gates.AskedEvidence], tmp_path: Path, answer: str
) -> None:
    artifact = by_hand(tmp_path, answer, AMOUNT)
    alone = gates.asked(ask(artifact, protocols=("invocations",)))
    assert alone.outcome is Outcome.PASS, alone.summary
    both = gates.asked(ask(artifact))
    assert both.outcome is Outcome.FAIL
    assert "cannot be sent as a tensor" in both.summary
    assert "serving.protocols: [invocations]" in both.summary


@pytest.mark.parametrize("kind", list(ANSWERS))
def test_every_protocol_answers_what_the_models_own_predict_answers(
    ask: Callable[..., gates.AskedEvidence], tmp_path: Path, kind: str
) -> None:
    evidence = ask(by_hand(tmp_path, ANSWERS[kind], AMOUNT))
    result = gates.asked(evidence)
    assert result.outcome is Outcome.PASS, result.summary
    assert [check.protocol for check in evidence.checks] == ALL
    assert (evidence.rows, evidence.source) == (3, "rows for its signature")


def test_columns_of_every_scalar_type_are_asked_by_every_protocol(
    ask: Callable[..., gates.AskedEvidence], tmp_path: Path
) -> None:
    evidence = ask(by_hand(tmp_path, "rows['double'].to_numpy() + rows['long'].to_numpy()", EVERY))
    assert gates.asked(evidence).outcome is Outcome.PASS, evidence
    assert not any(check.unasked for check in evidence.checks)


@pytest.mark.parametrize("named", [True, False])
def test_a_booster_without_signature_and_example_is_asked(
    ask: Callable[..., gates.AskedEvidence], tmp_path: Path, named: bool
) -> None:
    data = xgboost.DMatrix(FRAME if named else FRAME.to_numpy(), label=LABEL)
    booster = xgboost.train({"objective": "binary:logistic"}, data, num_boost_round=2)
    evidence = ask(saved(tmp_path, booster, mlflow.xgboost.save_model))
    assert gates.asked(evidence).outcome is Outcome.PASS, evidence
    assert "columns that it was fitted with" in evidence.source


def test_an_estimator_without_signature_and_example_is_asked(
    ask: Callable[..., gates.AskedEvidence], tmp_path: Path
) -> None:
    model = LogisticRegression().fit(FRAME, LABEL)
    evidence = ask(saved(tmp_path, model, serialization_format="cloudpickle", pyfunc_predict_fn="predict_proba"))
    assert gates.asked(evidence).outcome is Outcome.PASS, evidence


def test_one_answer_to_all_rows_passes_only_where_they_belong_together(
    ask: Callable[..., gates.AskedEvidence], tmp_path: Path
) -> None:
    artifact = by_hand(tmp_path, "numpy.array([float(rows['amount'].mean())])", AMOUNT)
    each = ask(artifact)
    assert (each.rows, each.answers) == (3, 1)
    assert gates.asked(each).outcome is Outcome.FAIL
    together = ask(artifact, rows="together")
    assert gates.asked(together).outcome is Outcome.PASS, together


def test_a_model_that_answers_otherwise_the_second_time_is_found(
    ask: Callable[..., gates.AskedEvidence], tmp_path: Path
) -> None:
    evidence = ask(by_hand(tmp_path, "numpy.random.default_rng().random(len(rows))", AMOUNT))
    assert gates.asked(evidence).outcome is Outcome.FAIL
    assert all(check.differing for check in evidence.checks)


@pytest.mark.parametrize("columns", [AMOUNT, None])
def test_a_model_that_raises_on_everything_was_never_asked(
    ask: Callable[..., gates.AskedEvidence], tmp_path: Path, columns: Any
) -> None:
    result = gates.asked(ask(by_hand(tmp_path, "1 / 0", columns)))
    assert (result.outcome, result.evidence["accept"]) == (Outcome.INCONCLUSIVE, "unasked")
