"""One running Serinus for all of these tests, with an MLflow server of its own and small models in it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from whole_models import of_code, requirements, trained, transactions
from whole_serinus import Serinus, running

from serinus.core.home import Home
from serinus.targets.local.supervisor import down, up

RATE = float(os.environ.get("SERINUS_TEST_RATE", "600"))
"""Requests a second, end to end. What two shared cores can take beside the generator and the tests."""


@pytest.fixture(scope="session")
def rate() -> float:
    return RATE


@pytest.fixture(scope="session")
def serinus() -> Iterator[Serinus]:
    directory = Path(tempfile.mkdtemp(prefix="serinus-whole-", dir="/tmp"))
    home = Home(directory / "home")
    try:
        with running(home, up(home)) as found:
            yield found
    finally:
        down(home)
        if "SERINUS_KEEP_HOME" not in os.environ:
            shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session", name="requirements")
def the_requirements() -> Callable[..., list[str]]:
    return requirements


@pytest.fixture(scope="session", name="transactions")
def the_transactions() -> Callable[..., tuple[pd.DataFrame, np.ndarray]]:
    return transactions


@pytest.fixture(scope="session")
def register(serinus: Serinus) -> Callable[..., str]:
    """register("card", strength=0.5): trains and registers another version, as a data scientist does; its number."""

    return trained


@pytest.fixture(scope="session")
def register_code(serinus: Serinus, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """register_code("nan"): registers models/nan.py as a model of that name; its version. `data`: text that the model
    finds beside itself."""

    def log(name: str, *, data: str = "", signature: bool = True, example: bool = True, model: str = "") -> str:
        file = tmp_path_factory.mktemp("data") / "data.txt"
        file.write_text(data or "nothing")  # an empty file is taken for one that was lost
        return of_code(name, file, signature=signature, example=example, model=model)

    return log
