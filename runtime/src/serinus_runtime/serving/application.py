"""The application of a worker: its paths, authorization, and information besides predictions. Never raises."""

from __future__ import annotations

import json
from hmac import compare_digest
from typing import Any, Callable
from urllib.parse import unquote

from serinus_runtime import __version__
from serinus_runtime.base.config import Config
from serinus_runtime.base.libraries import loaded
from serinus_runtime.base.messages import Pending, Request, Response, error_response
from serinus_runtime.cache.response_cache import ResponseCache
from serinus_runtime.model.batching import Batcher
from serinus_runtime.model.predictor import Predictor
from serinus_runtime.protocols import grpc
from serinus_runtime.protocols.oip import metadata
from serinus_runtime.records.sender import Record
from serinus_runtime.serving.inference import Inference
from serinus_runtime.serving.overload import Queue
from serinus_runtime.serving.recorder import Recorder
from serinus_runtime.serving.routes import MODEL_INFER, routes_of, unserved

_ROUTER = b"x-serinus-router"
_STRANGER = "a release answers only requests from the router; send them to the address of Serinus"


class Application:
    """One release over HTTP and gRPC."""

    def __init__(
        self,
        config: Config,
        model: Predictor,
        record: Callable[[Record], None] | None = None,
        full: Callable[[], bool] | None = None,
        *,
        cache: ResponseCache | None = None,
        batcher: Batcher | None = None,
    ) -> None:
        """Requests without the key of `config`, where it has one, are answered with 401.

        `record` takes the record of each request that came through the router. None: records are not kept. `full` says
        whether a further one would be lost. `cache` and `batcher` are those of the release, where it has them.
        """
        self._config = config
        self._router = config.router.encode()
        self._stranger = error_response(401, _STRANGER)
        self._model = model
        recorder = Recorder(record, full)
        self._inference = Inference(config, model, recorder, cache=cache, batcher=batcher)
        self._routes = routes_of(config.model, config.version, model.signature, config.settings.protocols)
        self._unserved = unserved(config.model, config.version, config.settings.protocols)
        self._server = {"name": "serinus", "version": __version__, "extensions": ["binary_tensor_data"]}
        self._describe()

    def handle(self, request: Request) -> Response | Pending:
        """Returns the response to a request."""
        if self._router and not compare_digest(request.headers.get(_ROUTER, b""), self._router):
            return self._stranger
        route = self._routes.get(request.target)
        if route is not None and request.method == b"POST":
            return self._inference.answer(request, route)
        return self._other(request)

    def _describe(self) -> None:
        """Updates the metadata after the first answer, where there was no warm-up."""
        model, name, version = self._model, self._config.model, self._config.version
        self._settled = model.answers.settled
        described = metadata(name, version, model.signature, model.answers.promised)
        self._pages = self._pages_of(name, version, _json(described))
        self._grpc_calls = grpc.calls(name, version, self._server, described)
        said = self._unserved.get(MODEL_INFER.decode())
        if said is not None:
            self._grpc_calls[MODEL_INFER] = grpc.refusing(said)

    def _pages_of(self, name: str, version: str, described: Response) -> dict[str, Response]:
        ready = _json({"name": name, "ready": True})
        library = loaded("mlflow")
        mlflow_version = str(library.__version__ if library is not None else "").encode()
        paths = {
            "/v2": _json(self._server),
            "/v2/health/live": _json({"live": True}),
            "/v2/health/ready": _json({"ready": True}),
        }
        for root in (f"/v2/models/{name}", f"/v2/models/{name}/versions/{version}"):
            paths[root], paths[f"{root}/ready"] = described, ready
        for root in ("", f"/models/{name}"):
            paths[f"{root}/ping"] = paths[f"{root}/health"] = Response(200, b"\n")
            paths[f"{root}/version"] = Response(200, mlflow_version, b"", b"text/html; charset=utf-8")
        return paths

    def refuse(self, request: Request, waiting: int, each: float) -> Response | None:
        """Returns a response to a request that must not wait behind `waiting` others, which take `each` seconds: the
        fallback, where the release has one. None: it may wait."""
        if self._router and not compare_digest(request.headers.get(_ROUTER, b""), self._router):
            return self._stranger
        route = self._routes.get(request.target)
        if route is None or request.method != b"POST":
            return None
        return self._inference.refuse(request, route, Queue(waiting, each))

    def _other(self, request: Request) -> Response | Pending:
        if not self._settled and self._model.answers.settled:
            self._describe()
        call = self._grpc_calls.get(request.target)
        if call is not None and request.method == b"POST":
            return call(request)
        if request.refusal is not None:
            return error_response(request.refusal.status, str(request.refusal))
        path = _path_of(request.target)
        route = self._routes.get(path.encode())
        if route is None:
            return self._told(request, path)
        if request.method == b"POST":
            return self._inference.answer(request, route)
        return error_response(405, "use POST for predictions", b"allow: POST\r\n")

    def _told(self, request: Request, path: str) -> Response:
        """Returns the information at a path, or an error."""
        if path in self._unserved:
            return error_response(404, self._unserved[path])
        answer = self._pages.get(path)
        if answer is None:
            return error_response(404, f"there is no such path; this is model {self._config.model}")
        if request.method not in (b"GET", b"HEAD"):
            return error_response(405, "use GET for this path", b"allow: GET, HEAD\r\n")
        return answer


def _path_of(target: bytes) -> str:
    """Returns the path of an absolute or relative target, decoded, without its query and a trailing slash."""
    target = target.split(b"?", 1)[0]
    if target.startswith(b"http://"):
        target = b"/" + target[7:].partition(b"/")[2]
    path = unquote(target.decode("latin-1"))
    return path.rstrip("/") if len(path) > 1 else path


def _json(content: Any) -> Response:
    return Response(200, json.dumps(content, separators=(",", ":")).encode())
