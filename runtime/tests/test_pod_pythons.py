"""A pod under the oldest and the newest interpreters that a model may want."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from pods import ROW, RunningPod, until
from uv import find_uv_bin

pytestmark = pytest.mark.timeout(170)


def version_of(python: str) -> str:
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_it_says_what_is_missing_and_ends(
    start_pod: Callable[..., RunningPod], bare_python: str, adds_up: Path, tmp_path: Path
) -> None:
    """With the standard library alone: supervisor, zygote and worker run, and the model does not."""
    (tmp_path / "empty").mkdir()
    pod = start_pod(adds_up, python=bare_python, environment=tmp_path / "empty")
    until(lambda: pod.probe("/startup").text.startswith("no worker has become ready: "))
    assert pod.probe("/live").status == 200
    assert pod.process.wait(30) == 1
    assert "numpy" in pod.message.read_text() or "pandas" in pod.message.read_text()


@pytest.mark.long
def test_it_serves_and_drains(
    start_pod: Callable[..., RunningPod], bare_python: str, adds_up: Path, tmp_path: Path
) -> None:
    site = tmp_path / "environment" / "lib" / f"python{version_of(bare_python)}" / "site-packages"
    install = [find_uv_bin(), "pip", "install", "--quiet", "--target", str(site), "--python", bare_python]
    subprocess.run([*install, "--only-binary", ":all:", "numpy", "pandas"], check=True)
    pod = start_pod(adds_up, python=bare_python, environment=tmp_path / "environment", workers=2).wait_ready(2)
    caller = pod.caller()
    assert caller.invoke(ROW).json == {"predictions": [15.5]}
    worker = pod.workers()[0]
    subprocess.run(["kill", "-9", str(worker)], check=True)
    until(lambda: worker not in pod.workers() and len(pod.workers()) == 2)
    assert pod.caller().invoke(ROW).json == {"predictions": [15.5]}
    caller.close()
    assert pod.stop() == 0
