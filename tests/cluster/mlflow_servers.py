"""An MLflow server as a team has one, which pods reach."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from clusters import eventually

from serinus.backends.mlflow.server import environment


@contextmanager
def running(listen: str, port: int, directory: Path) -> Iterator[str]:
    """Its URL. What it keeps is in `directory`."""
    url = f"http://{listen}:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", listen, "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{directory}/mlflow.db", "--allowed-hosts", f"{listen}:{port}"]
    command += ["--artifacts-destination", str(directory / "artifacts")]
    with (directory / "mlflow.log").open("wb") as log:
        server = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=directory, env={**os.environ, **environment()}, start_new_session=True
        )
    try:
        eventually("MLflow answers", lambda: _answers(server, url, directory / "mlflow.log"))
        yield url
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)


def _answers(server: subprocess.Popen[bytes], url: str, log: Path) -> bool:
    assert server.poll() is None, log.read_text()
    try:
        return httpx.get(f"{url}/health", timeout=5, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
