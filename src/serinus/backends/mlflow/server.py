"""An MLflow server for one machine: SQLite and a directory of artifacts, on loopback.

It runs in one process. `mlflow server` imports MLflow twice, in a parent and in the uvicorn that the parent starts,
which takes 7 s of processor time instead of 3. If the parent is killed, the other one keeps the port. MLflow's own
checks of Host and Origin remain in force. They accept loopback, which is everybody on the machine, so `door`
authenticates clients.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from serinus.backends.mlflow import own_files
from serinus.backends.mlflow.door import Door
from serinus.backends.mlflow.people import People
from serinus.backends.mlflow.proposals import Proposals
from serinus.core.home import Home
from serinus.lib.servers import Limits, limited

SHUTDOWN_SECONDS = 5
LIMITS = Limits(rate=16 * 1024)
"""Models are large, and are uploaded by clients that are authenticated by then."""


def command(home: Home, port: int, api_host: str = "127.0.0.1") -> list[str]:
    """Returns the command of the server.

    The server answers `/health` once it is ready, runs until SIGTERM, and exits with 1 where the port is taken.
    `api_host` is the Host header of requests to the API, which checks tokens.
    """
    module = "serinus.backends.mlflow.server"
    words = ["--home", str(home.path), "--port", str(port), "--api-host", api_host]
    return [sys.executable, "-P", "-m", module, *words]


def environment() -> dict[str, str]:
    """Returns environment variables for the process of the server."""
    return {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        # Otherwise there are seven more processes for evaluation jobs of language models.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        # Without bytecode, each start would compile MLflow again, which takes 10 s instead of 3.
        "PYTHONDONTWRITEBYTECODE": "",
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the server."""
    parser = argparse.ArgumentParser(prog="serinus.backends.mlflow.server", description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--api-host", default="127.0.0.1")
    options = parser.parse_args(arguments)
    os.environ.update(environment())
    home = Home(options.home)
    password = home.mlflow_password.read_text().strip()
    if not password:  # An empty password would let in everybody.
        sys.exit("MLflow has no password: `serinus down`, remove the empty mlflow-password, `serinus up`.")
    serve(home, options.port, People(password, home.api_socket, options.api_host))


def serve(home: Home, port: int, people: People) -> None:
    """Runs the server until SIGTERM. `Home.mlflow` holds database and artifacts, and the process is confined to it."""
    directory = home.mlflow
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    listener = _bound(port)
    database = f"sqlite:///{directory.resolve() / 'mlflow.db'}"
    artifacts = directory.resolve() / "artifacts"

    from mlflow.server import constants

    # The variables that `mlflow server --serve-artifacts` sets for its workers before they import the application.
    os.environ[constants.BACKEND_STORE_URI_ENV_VAR] = database
    os.environ[constants.REGISTRY_STORE_URI_ENV_VAR] = database
    os.environ[constants.ARTIFACT_ROOT_ENV_VAR] = "mlflow-artifacts:/"
    os.environ[constants.ARTIFACTS_DESTINATION_ENV_VAR] = str(artifacts)
    os.environ[constants.SERVE_ARTIFACTS_ENV_VAR] = "true"

    import uvicorn
    from mlflow.server.fastapi_app import app
    from mlflow.server.handlers import initialize_backend_stores

    initialize_backend_stores(database, database, "mlflow-artifacts:/")
    artifacts.mkdir(mode=0o700, exist_ok=True)
    own_files.keep_artifacts_in(artifacts)
    own_files.confine_to(directory.resolve())  # After the imports, which write bytecode.
    config = uvicorn.Config(
        Door(app, people, Proposals(home.mlflow_proposals)),
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        ws="none",
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    uvicorn.Server(limited(config, LIMITS)).run(sockets=[listener])


def _bound(port: int) -> socket.socket:
    """Binds the port before MLflow is imported, so that a port in use is reported at once. It listens when MLflow is
    ready."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        sys.exit(f"MLflow cannot listen on 127.0.0.1:{port}, which is in use by another process ({error.strerror}).")
    return listener


if __name__ == "__main__":
    main()
