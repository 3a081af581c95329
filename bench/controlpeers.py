"""Answers as the host, Envoy's admin interface and MLflow do, for `control.py`: `controlpeers HOME JSON`.

Prints the port of what answers for MLflow once everything listens. Ends with SIGTERM.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

from bench.control import release_of
from serinus.backends.envoy import admin_socket, names, xds
from serinus.core.home import Home
from serinus.core.placement import Placement, PlacementState


def host(home: Home, at_zero: Sequence[str], up: Sequence[str]) -> FastAPI:
    app = FastAPI()
    placed = [
        Placement(one, state, endpoint=str(home.release_socket(one)), workers=workers, way="onnx")
        for releases, state, workers in ((at_zero, PlacementState.SCALED_TO_ZERO, 0), (up, PlacementState.READY, 1))
        for one in releases
    ]

    @app.get("/releases")
    async def observe() -> Sequence[Placement]:
        return placed

    @app.post("/releases/{release}/activate", status_code=202)
    async def activate(release: str) -> None: ...

    return app


def admin(home: Home) -> FastAPI:
    """Every file is in force as soon as it is there."""
    app = FastAPI()
    files = {"cds": names.clusters_file(home), "rds": names.routes_file(home)}

    @app.get("/stats")
    async def stats(filter: str) -> PlainTextResponse:
        kind = "cds" if "cds" in filter else "rds"
        text = files[kind].read_text() if files[kind].exists() else ""
        prefix = filter.removeprefix("^").partition(r"\.(")[0].replace(r"\.", ".")
        return PlainTextResponse(
            f'{prefix}.version_text: "{xds.version_of(text) or ""}"\n{prefix}.update_rejected: 0\n'
        )

    @app.get("/config_dump")
    async def config_dump() -> dict[str, Any]:
        return {"configs": []}

    return app


def mlflow(models: Sequence[str], flying: Sequence[str]) -> FastAPI:
    app = FastAPI()
    found = [_registered(model, challenger=model in flying) for model in models]

    @app.get("/api/2.0/mlflow/registered-models/search")
    async def search() -> dict[str, Any]:
        return {"registered_models": found}

    return app


def _registered(model: str, *, challenger: bool) -> dict[str, Any]:
    aliases = [{"alias": "champion", "version": "6"}] + [{"alias": "challenger", "version": "7"}] * challenger
    times = {"creation_timestamp": 1772366400000, "last_updated_timestamp": 1772366400000}
    version = {"name": model, "version": "6", "status": "READY", "source": f"models:/m-{model}", "run_id": "r", **times}
    return {"name": model, "aliases": aliases, "latest_versions": [version], **times}


async def serve(home: Home, models: Sequence[str], flying: Sequence[str]) -> None:
    versions = {(model, version) for model in models for version in ("5", "6")}
    arms = {(model, version) for model in flying for version in ("6", "7")}
    at_zero = [release_of(model, version).id for model, version in sorted(versions - arms)]
    up = [release_of(model, version).id for model, version in sorted(arms)]
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    options: dict[str, Any] = {"log_level": "warning", "access_log": False}
    servers = [
        uvicorn.Server(uvicorn.Config(host(home, at_zero, up), uds=str(home.host_socket), **options)),
        uvicorn.Server(uvicorn.Config(admin(home), uds=admin_socket(home), **options)),
        uvicorn.Server(uvicorn.Config(mlflow(models, flying), **options)),
    ]
    running = [asyncio.create_task(server.serve()) for server in servers[:2]]
    running.append(asyncio.create_task(servers[2].serve(sockets=[listener])))
    while not all(server.started for server in servers):
        await asyncio.sleep(0.01)
    print(listener.getsockname()[1], flush=True)
    await asyncio.gather(*running)


if __name__ == "__main__":
    wanted = json.loads(sys.argv[2])
    asyncio.run(serve(Home(Path(sys.argv[1])), wanted["models"], wanted["flying"]))
