"""Both distributions are released together, under one version."""

from __future__ import annotations

import importlib.util
import re
import shutil
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("version_script", ROOT / "scripts" / "version.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def versions(root: Path) -> set[str]:
    own = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    runtime = tomllib.loads((root / "runtime" / "pyproject.toml").read_text())["project"]
    [pin] = [one for one in own["dependencies"] if one.startswith("serinus-runtime")]
    return {own["version"], runtime["version"], pin.removeprefix("serinus-runtime==")}


def test_serinus_needs_the_runtime_of_its_own_version() -> None:
    assert len(versions(ROOT)) == 1


def test_one_command_sets_it_everywhere(script: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "runtime").mkdir()
    for name in ("pyproject.toml", "runtime/pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    script.put("1.2.3", tmp_path)
    assert versions(tmp_path) == {"1.2.3"}
    before, after = ((root / "pyproject.toml").read_text() for root in (ROOT, tmp_path))
    assert len([1 for a, b in zip(before.splitlines(), after.splitlines(), strict=True) if a != b]) == 2


def test_what_is_no_version_is_refused(script: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="not a version"):
        script.put("1.2", tmp_path)


def test_the_changelog_has_the_version_or_what_is_unreleased() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    [version] = versions(ROOT)
    assert re.search(rf"(?m)^## \[?(Unreleased|{re.escape(version)})", text, re.IGNORECASE)
