"""Against the index that this machine is set up with: real packages of the field."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from serinus.backends.uv import UvEnvironments
from serinus.backends.uv.command import Uv
from serinus.backends.uv.interpreters import Choice, Interpreters
from serinus.backends.uv.locking import Locks, Wanted
from serinus.core.errors import Unbuildable
from serinus.core.release import Requirements


@pytest.fixture
def python(tmp_path: Path) -> Callable[[str], Choice]:
    """Skips the test where the version is neither here nor to be had."""

    def chosen(version: str) -> Choice:
        try:
            return Interpreters(Uv(), tmp_path / "interpreters.json").choose(version, lambda _: None)
        except Unbuildable as error:
            pytest.skip(error.message)

    return chosen


@pytest.mark.long
@pytest.mark.root  # whose home may hold the other Python, where an ordinary user here has none
def test_scikit_learn_of_2022_logged_in_january_2023_gets_the_numpy_of_that_month(
    python: Callable[[str], Choice], tmp_path: Path
) -> None:
    locks = Locks(Uv(), tmp_path)
    wanted = Wanted(("scikit-learn==1.1.3",), ())
    interpreter = python("3.10").interpreter
    dated = locks.resolve(wanted, interpreter, date(2023, 1, 15), lambda _: None)
    assert "numpy==1.24.1" in dated.packages
    undated = locks.resolve(wanted, interpreter, None, lambda _: None)
    assert "numpy==1.24.1" not in undated.packages
    assert dated.unhashed == undated.unhashed == ()


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.root
def test_models_with_conflicting_versions_get_environments_side_by_side(
    python: Callable[[str], Choice], tmp_path: Path
) -> None:
    environments = UvEnvironments(tmp_path, always=())
    versions = {}
    for minor, packages, day in (
        ("3.9", ("scikit-learn==1.3.2",), datetime(2023, 11, 1, tzinfo=UTC)),
        ("3.11", ("scikit-learn==1.6.1",), datetime(2025, 2, 1, tzinfo=UTC)),
    ):
        requirements = Requirements(packages, python(minor).interpreter.text, day, "requirements.txt")
        environment = environments.prepare(requirements, lambda _: None, lambda _: None)
        code = (
            "import sklearn, sys; from sklearn.tree import DecisionTreeClassifier as T; T().fit([[0], [1]], [0, 1]); "
        )
        code += "print(sklearn.__version__, *sys.version_info[:2], sep='.')"
        interpreter = tmp_path / environment.digest / "bin" / "python"
        answer = subprocess.run([interpreter, "-I", "-c", code], capture_output=True, text=True, check=True)
        versions[minor] = answer.stdout.strip()
    assert versions == {"3.9": "1.3.2.3.9", "3.11": "1.6.1.3.11"}
