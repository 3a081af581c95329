"""Credentials for MLflow: where they come from, who refuses them, and which processes get them."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from serinus.core.errors import InvalidInput
from serinus.core.home import Home
from serinus.targets.local.supervisor import directories, registry
from serinus.targets.local.supervisor.process_manager import ProcessManager, ProcessSpec
from serinus.targets.local.supervisor.settings import Settings

TEAMS = Settings(mlflow_uri="https://mlflow.example.org")


def file(directory: Path, content: str, mode: int = 0o600) -> Path:
    made = directory / "credentials"
    made.write_text(content)
    made.chmod(mode)
    return made


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    directories.claim(made)
    directories.make(made)
    return made


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("MLFLOW_TRACKING_TOKEN=abc\n", {"MLFLOW_TRACKING_TOKEN": "abc"}),
        (
            "# of the fraud team\n\nexport MLFLOW_TRACKING_USERNAME=me\n  MLFLOW_TRACKING_PASSWORD='a b=$c'\n",
            {"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": "a b=$c"},
        ),
    ],
)
def test_a_file_with_credentials_is_read_as_a_shell_would(
    tmp_path: Path, content: str, expected: dict[str, str]
) -> None:
    assert registry.read(file(tmp_path, content)) == expected


@pytest.mark.parametrize(
    "content",
    ["", "# nothing\n", "secret\n", "PATH=/secret\n", "MLFLOW_TRACKING_TOKEN=\n", "MLFLOW_TRACKING_TOKEN='secret\n"],
)
def test_a_file_that_holds_something_else_is_refused_without_a_word_of_it(tmp_path: Path, content: str) -> None:
    with pytest.raises(InvalidInput, match="credentials") as refused:
        registry.read(file(tmp_path, content))
    assert "secret" not in str(refused.value)
    assert "MLFLOW_TRACKING_TOKEN" in refused.value.hint


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_file_that_others_may_read_or_change_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(InvalidInput, match="other users") as refused:
        registry.read(file(tmp_path, "MLFLOW_TRACKING_TOKEN=abc\n", mode))
    assert "chmod 600" in refused.value.hint


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="gone cannot be read"):
        registry.read(tmp_path / "gone")


def test_the_file_comes_before_the_address_and_both_before_the_environment(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in registry.CREDENTIALS:
        monkeypatch.setenv(name, "of the shell")
    registry.put_into_environment(home, TEAMS)
    assert {os.environ[name] for name in registry.CREDENTIALS} == {"of the shell"}, "they are all there is"
    in_address = Settings(mlflow_uri="https://me:pass%2Fword@mlflow.example.org/registry")
    assert in_address.registry == "https://mlflow.example.org/registry"
    registry.put_into_environment(home, in_address)
    assert (os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"]) == ("me", "pass/word")
    assert "MLFLOW_TRACKING_TOKEN" not in os.environ
    by_file = Settings(
        mlflow_uri=in_address.mlflow_uri, mlflow_credentials=str(file(tmp_path, "MLFLOW_TRACKING_TOKEN=t"))
    )
    registry.put_into_environment(home, by_file)
    assert [os.environ.get(name) for name in registry.CREDENTIALS] == [None, None, "t"]


def test_a_teams_credentials_are_in_no_file_for_shells(home: Home, tmp_path: Path) -> None:
    by_file = Settings(mlflow_uri=TEAMS.mlflow_uri, mlflow_credentials=str(file(tmp_path, "MLFLOW_TRACKING_TOKEN=t")))
    registry.write(home, by_file)
    assert registry.environment(home, by_file) == {"MLFLOW_TRACKING_URI": "https://mlflow.example.org"}


def test_the_address_of_a_database_is_left_as_it_is(home: Home) -> None:
    database = Settings(mlflow_uri="postgresql://me:word@db/mlflow")
    assert database.registry == database.mlflow_uri
    assert registry.credentials(home, database) == {}


def test_only_who_asks_mlflow_inherits_the_credentials(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "of-the-team")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "of-the-team")
    told = {name: home.logs / f"{name}.told" for name in ("control", "host")}
    specs = [
        ProcessSpec(name, ["sh", "-c", f"env > {path}.new; mv {path}.new {path}; exec sleep 60"], {}, 5.0)
        for name, path in told.items()
    ]
    specs[0] = replace(specs[0], credentials=True)
    watched = ProcessManager(home, specs)
    try:
        watched.round()
        end = time.monotonic() + 20
        while not all(path.exists() for path in told.values()):
            assert time.monotonic() < end
            time.sleep(0.02)
    finally:
        watched.stop()
    assert told["control"].read_text().count("of-the-team") == 2
    assert "of-the-team" not in told["host"].read_text()
