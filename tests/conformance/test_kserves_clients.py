"""KServe's Python clients, in an environment of their own because they pin an older protobuf."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conformance_world import World

CALLS = Path(__file__).with_name("kserve_calls.py")
KSERVE = "kserve==0.15.2"
NOTHING_DIFFERS: list[str] = []


@pytest.fixture(scope="session")
def kserve_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = tmp_path_factory.mktemp("kserve") / "env"
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(directory)], check=True)
    python = str(directory / "bin" / "python")
    subprocess.run([uv, "pip", "install", "-q", "--python", python, KSERVE], check=True)
    return python


def calls(python: str, protocol: str, served: World) -> Any:
    done = subprocess.run(
        [python, str(CALLS), protocol, served.address], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.long
def test_its_rest_client_gets_every_datatype_back_in_both_encodings(kserve_python: str, served: World) -> None:
    found = calls(kserve_python, "rest", served)
    assert (found["live"], found["ready"], found["model"]) == (True, True, True)
    assert found["json"] == ["mine", NOTHING_DIFFERS]
    assert found["binary"] == ["mine", NOTHING_DIFFERS]


@pytest.mark.long
def test_its_grpc_client_gets_every_datatype_back_raw_and_typed(kserve_python: str, served: World) -> None:
    found = calls(kserve_python, "grpc", served)
    assert (found["live"], found["ready"], found["model"]) == (True, True, True)
    assert found["raw"] == ["mine", NOTHING_DIFFERS]
    assert found["typed"] == ["mine", NOTHING_DIFFERS]
