"""What the worker answers: routes, deadlines, fallbacks, and the record of each prediction. Never raises."""

from __future__ import annotations

import json
import os
import re
import sys
import time
import traceback
from typing import Any, Callable, Protocol, Sequence
from urllib.parse import unquote

from serinus_runtime import __version__
from serinus_runtime.config import Config
from serinus_runtime.errors import ModelFailure, RequestError
from serinus_runtime.http1 import Request
from serinus_runtime.inputs import Bound
from serinus_runtime.invocations import Invocations
from serinus_runtime.libraries import loaded
from serinus_runtime.model import Model
from serinus_runtime.oip import Asked, OpenInference, metadata
from serinus_runtime.outputs import DEFAULT_NAME, Output, score_index, scores_of
from serinus_runtime.server import Response, error_response

_ID = re.compile(rb"[A-Za-z0-9._:\-]{1,128}")
_LONGEST_ENTITY = 256


class Scoring(Protocol):
    """One protocol's way to ask and to answer."""

    exact: bool

    def parse(self, request: Request) -> Asked: ...
    def reply(self, result: Any, outputs: Sequence[Output], asked: Asked) -> bytes: ...
    def fallback(self, score: float, rows: int, name: str, reason: str, asked: Asked) -> bytes: ...


class _Call:
    """What is known of one request for predictions, from its headers on."""

    __slots__ = ("deadline", "entity", "head", "id", "role", "split", "start")

    def __init__(self, headers: dict[bytes, bytes], release_line: bytes, timeout: float) -> None:
        now = time.time()
        identity = headers.get(b"x-request-id", b"")
        if not _ID.fullmatch(identity):
            identity = os.urandom(16).hex().encode()
        self.id = identity.decode()
        self.head = release_line + b"x-request-id: " + identity + b"\r\n"
        entity = headers.get(b"x-entity-id")
        self.entity = None if entity is None else entity.decode("latin-1")[:_LONGEST_ENTITY]
        self.role = _text(headers, b"x-serinus-role")
        self.split = _text(headers, b"x-serinus-split")
        start = _number(headers, b"x-serinus-start")
        # A start in the future is another clock's; then the request is as old as its arrival here.
        self.start = now if start is None else min(start, now)
        expected = _number(headers, b"x-envoy-expected-rq-timeout-ms")
        patience = expected / 1000 if expected else timeout
        self.deadline = None if start is None and not expected else self.start + patience


def _text(headers: dict[bytes, bytes], name: bytes) -> str | None:
    value = headers.get(name)
    return None if value is None else value.decode("latin-1")


def _number(headers: dict[bytes, bytes], name: bytes) -> float | None:
    value = headers.get(name)
    try:
        return None if value is None else float(value)
    except ValueError:
        return None


class Application:
    def __init__(self, config: Config, model: Model, record: Callable[[dict[str, Any]], None] | None = None) -> None:
        """`record` takes the record of each request that came through the router; None: nobody keeps them."""
        self._config = config
        self._settings = config.settings
        self._model = model
        self._record = record
        self._release_line = b"x-serinus-release: " + config.release.encode() + b"\r\n"
        self._said: dict[str, float] = {}
        self._posts = self._scoring_paths(config.model, config.version)
        self._gets = self._plain_paths(config.model, config.version)

    def handle(self, request: Request) -> Response:
        scoring = self._posts.get(request.target)
        if scoring is not None and request.method == b"POST":
            return self._score(request, scoring)
        return self._other(request)

    def _scoring_paths(self, name: str, version: str) -> dict[bytes, Scoring]:
        inference = OpenInference(name, version)
        invocations = Invocations(self._model.signature)
        paths: dict[str, Scoring] = {
            f"/v2/models/{name}/infer": inference,
            f"/v2/models/{name}/versions/{version}/infer": inference,
            f"/models/{name}/invocations": invocations,
            "/invocations": invocations,
        }
        return {path.encode(): scoring for path, scoring in paths.items()}

    def _plain_paths(self, name: str, version: str) -> dict[str, Response]:
        described = _json(metadata(name, version, self._model.signature, self._model.seen))
        ready = _json({"name": name, "ready": True})
        library = loaded("mlflow")
        mlflow_version = str(library.__version__ if library is not None else "").encode()
        paths = {
            "/v2": _json({"name": "serinus", "version": __version__, "extensions": ["binary_tensor_data"]}),
            "/v2/health/live": _json({"live": True}),
            "/v2/health/ready": _json({"ready": True}),
        }
        for root in (f"/v2/models/{name}", f"/v2/models/{name}/versions/{version}"):
            paths[root], paths[f"{root}/ready"] = described, ready
        for root in ("", f"/models/{name}"):
            paths[f"{root}/ping"] = paths[f"{root}/health"] = Response(200, b"\n")
            paths[f"{root}/version"] = Response(200, mlflow_version, b"", b"text/html; charset=utf-8")
        return paths

    def _other(self, request: Request) -> Response:
        if request.refusal is not None:
            return error_response(request.refusal.status, str(request.refusal))
        target = request.target.split(b"?", 1)[0]
        if target.startswith(b"http://"):
            target = b"/" + target[7:].partition(b"/")[2]
        path = unquote(target.decode("latin-1"))
        path = path.rstrip("/") if len(path) > 1 else path
        scoring = self._posts.get(path.encode())
        if scoring is not None:
            if request.method == b"POST":
                return self._score(request, scoring)
            return error_response(405, "predictions are asked for with POST", b"allow: POST\r\n")
        answer = self._gets.get(path)
        if answer is None:
            return error_response(404, f"there is nothing at this path; this is model {self._config.model}")
        if request.method not in (b"GET", b"HEAD"):
            return error_response(405, "this is read with GET", b"allow: GET, HEAD\r\n")
        return answer

    def _score(self, request: Request, scoring: Scoring) -> Response:
        call = _Call(request.headers, self._release_line, self._settings.timeout_ms / 1000)
        try:
            asked = self._read(request, scoring)
            bound = self._model.bind(asked.payload, exact=scoring.exact)
        except RequestError as error:
            return self._refused(call, error)
        if call.deadline is not None and time.time() > call.deadline:
            return self._failed(call, scoring, asked, bound, 504, "timeout", "too late: the caller's time is up")
        try:
            answer = self._model.predict(bound, asked.params)
            body = scoring.reply(answer.result, answer.outputs, asked)
        except RequestError as error:
            return self._refused(call, error)
        except ModelFailure as error:
            self._say(error)
            return self._failed(call, scoring, asked, bound, 500, error.code, str(error))
        self._keep(call, 200, bound, scores=self._scores(answer.outputs))
        return Response(200, body, call.head)

    def _read(self, request: Request, scoring: Scoring) -> Asked:
        if request.refusal is not None:
            raise request.refusal
        if request.headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise RequestError("compressed bodies are not understood; send them as they are", 415, "unsupported-type")
        return scoring.parse(request)

    def _refused(self, call: _Call, error: RequestError) -> Response:
        self._keep(call, error.status, None, code=error.code)
        return error_response(error.status, str(error), call.head)

    def _failed(
        self, call: _Call, scoring: Scoring, asked: Asked, bound: Bound, status: int, code: str, message: str
    ) -> Response:
        """The fallback score for each row where the release has one, else the error."""
        fallback = self._settings.fallback_score
        if fallback is None:
            self._keep(call, status, bound, code=code)
            return error_response(status, message, call.head)
        rows = len(bound.rows)
        body = scoring.fallback(fallback, rows, self._score_name(), code, asked)
        self._keep(call, 200, bound, fallback=[fallback] * rows, code=code)
        return Response(200, body, call.head + b"x-serinus-fallback: true\r\n")

    def _score_name(self) -> str:
        if self._settings.score_output is not None:
            return self._settings.score_output
        if self._model.seen:
            return self._model.seen[0].name
        names = [spec.name for spec in self._model.signature.outputs]
        return names[0] if names and names[0] else DEFAULT_NAME

    def _scores(self, outputs: Sequence[Output]) -> list[float | None]:
        try:
            return scores_of(outputs[score_index(outputs, self._settings.score_output)])
        except KeyError:  # this once the model left out the output that holds the score
            return [None] * outputs[0].shape[0]

    def _keep(
        self,
        call: _Call,
        status: int,
        bound: Bound | None,
        *,
        scores: list[float | None] | None = None,
        fallback: list[float] | None = None,
        code: str | None = None,
    ) -> None:
        # Without a split the request did not come through the router: a gate's rows are not traffic.
        if self._record is None or call.split is None:
            return
        now = time.time()
        self._record(
            {
                "t": now,
                "id": call.id,
                "entity": call.entity,
                "role": call.role,
                "split": call.split,
                "status": status,
                "ms": round((now - call.start) * 1000, 3),
                "rows": 0 if bound is None else len(bound.rows),
                "columns": None if bound is None else bound.columns,
                "inputs": None if bound is None else bound.rows,
                "scores": scores,
                "answers": scores if fallback is None else fallback,
                "fallback": fallback is not None,
                "error": code,
            }
        )

    def _say(self, failure: ModelFailure) -> None:
        """Into the release's log, once a minute for each kind: where the model raised, without what it said."""
        now = time.monotonic()
        if now - self._said.get(str(failure), -60.0) < 60.0:
            return
        self._said[str(failure)] = now
        cause = failure.__cause__
        where = "".join(traceback.format_tb(cause.__traceback__)) if cause is not None else ""
        sys.stderr.write(f"{failure}\n{where}")
        sys.stderr.flush()


def _json(content: Any) -> Response:
    return Response(200, json.dumps(content, separators=(",", ":")).encode())
