"""Lines of a model's requirements: nothing in them is expanded, and none leads uv to a place of the model's choice."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from serinus.backends.mlflow.artifact import read_artifact
from serinus.backends.mlflow.files import take_inventory
from serinus.backends.uv import UvEnvironments
from serinus.core.errors import Unbuildable

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
PLACE = "http://127.0.0.1:9"


def logged(directory: Path, file: str, line: str) -> Path:
    directory.mkdir()
    env = {"virtualenv": "python_env.yaml", "conda": "conda.yaml"}
    flavor = {"loader_module": "by_hand", "env": env, "python_version": VERSION}
    (directory / "MLmodel").write_text(json.dumps({"flavors": {"python_function": flavor}}))
    contents = {
        "requirements.txt": line,
        "python_env.yaml": json.dumps({"python": VERSION, "dependencies": [line]}),
        "conda.yaml": json.dumps({"dependencies": [f"python={VERSION}", {"pip": [line]}]}),
    }
    (directory / file).write_text(contents[file])
    if file != "requirements.txt":
        (directory / "requirements.txt").write_text("six==1.16.0\n")
    return directory


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> UvEnvironments:
    directory = tmp_path_factory.mktemp("environments")
    return UvEnvironments(directory, always=(), accelerate=False, build_from_source=True)


@pytest.mark.parametrize("file", ["requirements.txt", "python_env.yaml", "conda.yaml"])
@pytest.mark.parametrize(
    "line",
    [
        f"case @ {PLACE}/${{HOME}}/case-1.0-py3-none-any.whl",
        f"case @ {PLACE}/$HOME/case-1.0-py3-none-any.whl",
        f"case @ {PLACE}/%HOME%/case-1.0-py3-none-any.whl",
        f"{PLACE}/case-1.0-py3-none-any.whl",
        f"case @ {PLACE}/case-1.0.tar.gz",
        "case @ file:///etc/case-1.0-py3-none-any.whl",
        "case @ file:/etc/case-1.0-py3-none-any.whl",
        "case @ FILE:///etc/case-1.0-py3-none-any.whl",
        "/etc/case-1.0-py3-none-any.whl",
        "~/case-1.0-py3-none-any.whl",
        "case @ ~/case-1.0-py3-none-any.whl",
        "../case-1.0-py3-none-any.whl",
        "./case",
        "-e .",
        "-e git+https://host.example/case",
        "git+https://host.example/case",
        "case @ git+ssh://git@host.example/case",
        "case @ git+file:///etc/case",
        "case @ hg+https://host.example/case",
        "-r /etc/passwd",
        "-r ../../token",
        "--requirement=~/token",
        "-c /etc/passwd",
        "${CASE}==1.0",
    ],
)
def test_a_place_of_the_models_choice_is_refused_before_anything_is_asked_of_it(
    tmp_path: Path, environments: UvEnvironments, file: str, line: str
) -> None:
    said: list[str] = []
    root = logged(tmp_path / "model", file, line)

    def prepare() -> None:
        artifact = read_artifact(root, take_inventory(root))
        environments.prepare(artifact.requirements, lambda _: None, said.append)

    with pytest.raises(Unbuildable) as caught:
        prepare()
    assert [one for one in said if "resolving" in one] == [], "uv was not asked"
    assert str(Path.home()) not in f"{caught.value} {said}".replace(str(tmp_path), "")


@pytest.mark.parametrize("file", ["requirements.txt", "python_env.yaml", "conda.yaml"])
@pytest.mark.parametrize(
    "option",
    [
        *(f"--index-url {PLACE}/{one}" for one in ("${HOME}", "$HOME", "%HOME%", "~", "simple")),
        f"--extra-index-url={PLACE}/$HOME",
        f"-i {PLACE}/simple",
        "--find-links /etc",
        "--find-links ~",
        "-f ${HOME}",
        "--trusted-host 127.0.0.1",
        f"--proxy {PLACE}",
        "--no-binary :all: ${HOME}",
        "--config-settings x=$HOME",
    ],
)
def test_an_option_of_the_models_choice_is_left_out_and_said(tmp_path: Path, file: str, option: str) -> None:
    root = logged(tmp_path / "model", file, option)
    (root / "requirements.txt").write_text(f"{option if file == 'requirements.txt' else ''}\nsix==1.16.0\n")
    artifact = read_artifact(root, take_inventory(root))
    assert artifact.requirements.packages == ("six==1.16.0",)
    assert any("left out" in one for one in artifact.warnings)
    assert str(Path.home()) not in str(artifact.warnings)
