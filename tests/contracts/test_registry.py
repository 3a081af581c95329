"""What every Registry must do. Another implementation joins by a line in `REGISTRIES`.

Here MLflow's client works on a database of its own; tests/backends/mlflow has a server in between.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from serinus.backends.mlflow import MlflowRegistry
from serinus.backends.mlflow.client import connect
from serinus.core.errors import InvalidInput, NotFound, Refused, Unbuildable
from serinus.core.ports import Registry

MLMODEL = """
flavors: {python_function: {loader_module: mlflow.sklearn, model_path: model.pkl, python_version: 3.11.7}}
mlflow_version: 3.17.2
utc_time_created: '2026-01-15 10:12:13.123456'
"""


@dataclass(frozen=True)
class Setting:
    """card-fraud@1 is whole and has the alias champion, card-fraud@2 lost its weights; run files at @1."""

    registry: Registry
    files: Path
    """Where what was fetched lies, by digest."""
    lose_what_is_stored: Callable[[], None]


def mlflow(path: Path) -> Setting:
    uri = f"sqlite:///{path / 'mlflow.db'}"
    client = connect(uri)
    experiment = client.create_experiment("demo", artifact_location=str(path / "stored"))
    client.create_registered_model("card-fraud")
    for weights in ("weights", None):
        model = path / f"model-{weights}"
        model.mkdir()
        (model / "MLmodel").write_text(MLMODEL)
        (model / "requirements.txt").write_text("scikit-learn==1.7.2\n")
        if weights is not None:
            (model / "model.pkl").write_text(weights)
        run = client.create_run(experiment)
        client.log_artifacts(run.info.run_id, str(model), "model")
        client.log_text(run.info.run_id, "rows", "evaluation.csv")
        client.create_model_version("card-fraud", f"{run.info.artifact_uri}/model", run.info.run_id)
    client.set_registered_model_alias("card-fraud", "champion", "1")
    files = path / "artifacts"
    return Setting(MlflowRegistry(uri, files), files, lambda: shutil.rmtree(path / "stored"))


REGISTRIES: dict[str, Callable[[Path], Setting]] = {"mlflow": mlflow}


@pytest.fixture(params=sorted(REGISTRIES), scope="module")
def setting(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Setting:
    return REGISTRIES[request.param](tmp_path_factory.mktemp("registry"))


@pytest.fixture
def registry(setting: Setting) -> Registry:
    return setting.registry


@pytest.mark.parametrize("wanted", ["1", "champion", "@champion"])
def test_a_version_is_found_by_number_and_alias(registry: Registry, wanted: str) -> None:
    found = registry.find("card-fraud", wanted)
    assert (found.model, found.version, found.status) == ("card-fraud", "1", "READY")


def test_what_is_not_there_is_named_with_what_is(registry: Registry) -> None:
    with pytest.raises(NotFound, match="card-fraud"):
        registry.find("card-fruad", "1")
    with pytest.raises(NotFound, match="1, 2"):
        registry.find("card-fraud", "3")
    with pytest.raises(NotFound, match="@champion"):
        registry.find("card-fraud", "challenger")
    with pytest.raises(Refused):
        registry.find("card-fraud", "latest")


def test_the_newest_version_is_the_one_that_was_registered_last(registry: Registry) -> None:
    assert registry.newest("card-fraud").version == "2"
    with pytest.raises(NotFound) as told:
        registry.newest("card-frud")
    assert "card-fraud" in told.value.hint


def test_an_alias_can_be_set_moved_and_dropped_repeatedly(registry: Registry) -> None:
    for version in ("1", "1", "2"):
        registry.set_alias("card-fraud", "challenger", version)
    assert registry.aliases() == {"card-fraud": {"champion": "1", "challenger": "2"}}
    registry.drop_alias("card-fraud", "challenger")
    registry.drop_alias("card-fraud", "challenger")
    assert registry.aliases() == {"card-fraud": {"champion": "1"}}


def test_tags_of_a_version_are_set_and_set_anew_and_others_stay(registry: Registry) -> None:
    registry.set_tags("card-fraud", "1", {"serinus.state": "canary", "serinus.reason": "", "team": "payments"})
    registry.set_tags("card-fraud", "1", {"serinus.state": "champion", "serinus.reason": "every metric is cleared"})
    expected = {"serinus.state": "champion", "serinus.reason": "every metric is cleared", "team": "payments"}
    assert registry.find("card-fraud", "1").tags == expected
    assert registry.find("card-fraud", "2").tags == {}
    for model, version in (("card-fraud", "3"), ("card-fruad", "1")):
        with pytest.raises(NotFound):
            registry.set_tags(model, version, {"serinus.state": "canary"})


def test_run_files_are_found_or_none(registry: Registry) -> None:
    ref = registry.find("card-fraud", "1")
    found = registry.run_file(ref, "evaluation.csv")
    assert found is not None
    assert found.read_text() == "rows"
    of_model = registry.run_file(ref, "requirements.txt")
    assert of_model is not None
    assert of_model.read_text() == "scikit-learn==1.7.2\n"
    assert registry.run_file(ref, "missing.csv") is None
    with pytest.raises(InvalidInput):
        registry.run_file(ref, "../../secret")


def test_a_version_whose_files_are_missing_is_unbuildable_naming_them(registry: Registry) -> None:
    with pytest.raises(Unbuildable, match=r"model\.pkl"):
        registry.fetch(registry.find("card-fraud", "2"))


def test_a_second_fetch_needs_nothing_of_the_registry(setting: Setting) -> None:
    ref = setting.registry.find("card-fraud", "1")
    first = setting.registry.fetch(ref)
    assert (setting.files / first.digest / "model.pkl").read_text() == "weights"
    setting.lose_what_is_stored()
    assert setting.registry.fetch(ref) == first
