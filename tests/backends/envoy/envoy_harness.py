"""A real Envoy on a home of its own, and releases to route to: small HTTP servers on Unix sockets."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from tritonclient.grpc import service_pb2
from waiting import free_port, wait_until

from serinus.backends.envoy import EnvoyRouter, admin_socket, command, prepare
from serinus.backends.envoy.hot_restart import memory
from serinus.core.home import Home
from serinus.core.release import Release, ServingSettings
from serinus.core.routing import Arm, Role, Routing
from serinus.lib.plain_http import NO_TLS


class Releases:
    """Answers as a worker would, and echoes what it was sent: `{"release", "path", "headers", "body"}`.

    A request's `x-do` header has it `hang`, `die` (close without an answer), `die-once` (the first one that it is
    asked), `cut` (close while the body arrives), `refuse` (answer 413 at once), `name` (claim another prediction id)
    or, over gRPC, `object` (INVALID_ARGUMENT)."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._servers: dict[str, asyncio.Server] = {}
        self.served: dict[str, int] = {}

    def start(self, release: str) -> str:
        """The endpoint of a release that is now listening."""
        path = str(self._home.release_socket(release))

        async def listen() -> asyncio.Server:
            return await asyncio.start_unix_server(lambda r, w: self._serve(release, r, w), path, backlog=4096)

        self._servers[release] = asyncio.run_coroutine_threadsafe(listen(), self._loop).result(5)
        return path

    def start_pod(self, release: str, address: str, port: int) -> None:
        """A pod of the release listens on this address of the loopback, and answers as `<release>@<address>`."""

        async def listen() -> asyncio.Server:
            return await asyncio.start_server(lambda r, w: self._serve(f"{release}@{address}", r, w), address, port)

        self._servers[f"{release}@{address}"] = asyncio.run_coroutine_threadsafe(listen(), self._loop).result(5)

    def stop(self, release: str) -> None:
        server = self._servers.pop(release)
        self._loop.call_soon_threadsafe(server.close)
        self._home.release_socket(release).unlink(missing_ok=True)

    def close(self) -> None:
        for release in tuple(self._servers):
            self.stop(release)
        asyncio.run_coroutine_threadsafe(self._end_connections(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def _end_connections(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, release: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                start, *lines = head.strip().split("\r\n")
                headers = dict(line.split(": ", 1) for line in lines)
                if headers.get("x-do") == "refuse":
                    writer.write(b"HTTP/1.1 413 Payload Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                    # Closing over unread bytes would reset the connection, and the answer with it.
                    await reader.read(-1)
                    return
                if headers.get("x-do") == "cut":
                    return
                body = await _body(reader, headers)
                self.served[release] = self.served.get(release, 0) + 1
                if headers.get("x-do") == "die" or (headers.get("x-do") == "die-once" and self.served[release] == 1):
                    return
                if headers.get("x-do") == "hang":
                    await asyncio.sleep(2)
                if headers.get("content-type") == "application/grpc":
                    writer.write(_grpc_answer(release, start.split()[1], headers, len(body)))
                    continue
                echo = {"release": release, "path": start.split()[1], "headers": headers, "body": body.decode()}
                answer = json.dumps(echo).encode()
                fields = f"x-serinus-release: {release}\r\ncontent-length: {len(answer)}\r\n\r\n"
                if headers.get("x-do") == "name":
                    fields = f"x-serinus-prediction-id: another's\r\n{fields}"
                writer.write(b"HTTP/1.1 200 OK\r\n" + fields.encode() + answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


async def _body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if headers.get("transfer-encoding") != "chunked":
        return await reader.readexactly(int(headers.get("content-length", 0)))
    body = b""
    while size := int(await reader.readline(), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return body


def _grpc_answer(release: str, path: str, headers: Mapping[str, str], length: int) -> bytes:
    """To ModelInfer: the release as `model_version`, the headers as `id`, the request's size as an output's name."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\n"
    if headers.get("x-do") == "object":
        return (
            head + b"content-length: 0\r\ngrpc-status: 3\r\ngrpc-message: input %C3%BC is not one of this model\r\n\r\n"
        )
    if path.endswith("/ModelReady"):
        message = service_pb2.ModelReadyResponse(ready=True)
    elif path.endswith("/ModelMetadata"):
        message = service_pb2.ModelMetadataResponse(name=release)
    else:
        message = service_pb2.ModelInferResponse(model_version=release, id=json.dumps(dict(headers)))
        message.outputs.add(name=str(length))
    data = message.SerializeToString()
    frame = b"\0" + len(data).to_bytes(4, "big") + data
    return head + b"transfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\ngrpc-status: 0\r\n\r\n" % (len(frame), frame)


class Proxy:
    def __init__(self, directory: Path, **settings: Any) -> None:
        self.home = Home(directory)
        for needed in self.home.directories:
            needed.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.home.secret.write_text("secret of the home")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.releases = Releases(self.home)
        self.settings = settings
        prepare(self.home, port=self.port, **settings)
        self.router = EnvoyRouter(self.home, admin_socket(self.home), drain=0.3)
        self.client = httpx.Client(base_url=self.url, timeout=10, verify=NO_TLS)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Proxy:
        log = (self.home.logs / "envoy.log").open("ab")
        self._process = subprocess.Popen(command(self.home), stdout=log, stderr=log)
        log.close()
        wait_until(self._answers)
        return self

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def kill(self) -> None:
        self._signal(signal.SIGKILL).wait(5)

    def stop(self) -> None:
        self._signal(signal.SIGTERM).wait(10)

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        self.router.close()
        self.client.close()
        if self._process is not None and self._process.poll() is None:
            self.stop()
        memory(self.home).unlink(missing_ok=True)
        self.releases.close()

    def arm(self, release: str, weight: int, role: Role = Role.CHAMPION) -> Arm:
        return Arm(release, weight, role, str(self.home.release_socket(release)))

    def ask(self, model: str = "fraud", path: str = "infer", **headers: str) -> httpx.Response:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post(f"/v2/models/{model}/{path}", json={"inputs": []}, headers=names)

    def sides(self, entities: Iterable[str]) -> dict[str, str]:
        """Entity -> the release that answered it."""
        return {entity: self.ask(x_entity_id=entity).json()["release"] for entity in entities}

    def trace(self) -> object:
        """What is another one whenever something was written for Envoy."""
        return [file.stat().st_ino for file in sorted((self.home.envoy / "xds").iterdir())]

    @contextmanager
    def probing(self, address: str, release: str) -> Iterator[httpx.Client]:
        """A client of what `EnvoyRouter.probe` has returned for `release`."""
        transport = httpx.HTTPTransport(uds=address, verify=NO_TLS)
        with httpx.Client(transport=transport, base_url="http://probe", timeout=10) as client:
            yield client

    def local_answers(self) -> list[dict[str, Any]]:
        file = self.home.envoy / "local.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def wait_until_logged(self, answers: int) -> None:
        wait_until(lambda: len(self.local_answers()) >= answers)

    def _signal(self, number: signal.Signals) -> subprocess.Popen[bytes]:
        os.kill(self.process.pid, number)
        return self.process

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/v2/health/live", verify=NO_TLS).status_code == 200
        except httpx.TransportError:
            return False


def release_of(name: str, model: str = "fraud") -> Release:
    return Release(name, model, "1", "a", "e", ServingSettings(), datetime(2026, 1, 1, tzinfo=UTC))


def routing(*arms: Arm, **changes: Any) -> Routing:
    """Its time limit is longer than a busy machine takes."""
    return Routing(**{"model": "fraud", "arms": arms, "split": "s1", "salt": "r1", "timeout_ms": 10_000, **changes})
