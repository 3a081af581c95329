"""What MLflow says of versions and models that were deleted or renamed: the engine goes by NotFound and by aliases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from serinus.backends.mlflow import MlflowRegistry
from serinus.backends.mlflow.client import connect
from serinus.core.errors import NotFound


@pytest.fixture
def there(tmp_path: Path) -> tuple[Any, MlflowRegistry]:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    client = connect(uri)
    client.create_registered_model("fraud")
    for _ in range(2):
        client.create_model_version("fraud", str(tmp_path), None)
    client.set_registered_model_alias("fraud", "champion", "2")
    return client, MlflowRegistry(uri, tmp_path / "artifacts")


def test_a_deleted_version_is_not_found_and_takes_its_aliases_with_it(there: tuple[Any, MlflowRegistry]) -> None:
    client, registry = there
    client.delete_model_version("fraud", "2")
    with pytest.raises(NotFound):
        registry.find("fraud", "2")
    with pytest.raises(NotFound):
        registry.set_alias("fraud", "champion", "2")
    assert registry.aliases() == {"fraud": {}}


@pytest.mark.parametrize("how", ["delete", "rename"])
def test_a_model_that_is_gone_is_not_found_under_its_name(there: tuple[Any, MlflowRegistry], how: str) -> None:
    client, registry = there
    if how == "delete":
        client.delete_registered_model("fraud")
    else:
        client.rename_registered_model("fraud", "fraud-eu")
    with pytest.raises(NotFound):
        registry.find("fraud", "2")
    with pytest.raises(NotFound):
        registry.set_alias("fraud", "champion", "2")
    registry.drop_alias("fraud", "champion")
    assert "fraud" not in registry.aliases()
