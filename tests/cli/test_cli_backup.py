from __future__ import annotations

from pathlib import Path

import pytest
from cli_harness import Serinus

from serinus.core.home import Home
from serinus.targets.local.supervisor import settings
from serinus.targets.local.supervisor.directories import make
from serinus.targets.local.supervisor.settings import Settings


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.path.mkdir()
    make(home)
    settings.save(home, Settings(ports={"api": 1, "envoy": 2, "mlflow": 3}))
    home.token.write_text("a-secret-token")
    return home


def test_a_home_is_saved_and_restored_and_no_secret_is_shown(serinus: Serinus, home: Home, tmp_path: Path) -> None:
    file, there = tmp_path / "backup", tmp_path / "there"
    saved = serinus("backup", str(file), "--home", str(home.path))
    assert saved.code == 0, saved.err
    assert saved.out.startswith(f"{file}: ")
    restored = serinus("restore", str(file), "--home", str(there))
    assert restored.code == 0, restored.err
    assert f"serinus up --home {there}" in restored.out
    assert Home(there).token.read_text() == "a-secret-token"
    secrets = [path.read_text() for path in (home.token, home.secret, home.mlflow_password)]
    assert not [secret for secret in secrets if secret in saved.out + saved.err + restored.out + restored.err]


def test_without_a_file_only_environments_are_built(serinus: Serinus, home: Home) -> None:
    assert serinus("restore", "--home", str(home.path), "--json").json == {"home": str(home.path)}


def test_a_home_that_is_there_is_not_restored_over(serinus: Serinus, home: Home, tmp_path: Path) -> None:
    serinus("backup", str(tmp_path / "backup"), "--home", str(home.path))
    said = serinus("restore", str(tmp_path / "backup"), "--home", str(home.path))
    assert said.code == 1
    assert "already exists" in said.err
