"""What the worker answers: routes, deadlines, fallbacks, and the record of each prediction. Never raises."""

from __future__ import annotations

import json
import sys
import time
import traceback
from hmac import compare_digest
from typing import Any, Callable, Hashable, NamedTuple, Sequence
from urllib.parse import unquote

from serinus_runtime import __version__
from serinus_runtime.base.config import Config
from serinus_runtime.base.errors import ModelFailure, RequestError
from serinus_runtime.base.libraries import loaded
from serinus_runtime.base.messages import Pending, Request, Response, error_response
from serinus_runtime.cache.lookup import Memory, Scores
from serinus_runtime.cache.storage import Entry
from serinus_runtime.model.batching import Batcher, Late, Outcome
from serinus_runtime.model.model import Answer
from serinus_runtime.model.predictor import Predictor
from serinus_runtime.protocols import grpc
from serinus_runtime.protocols.oip import Asked, metadata
from serinus_runtime.records.sender import Record
from serinus_runtime.serving.call import Call
from serinus_runtime.serving.overload import refusal, retry_after
from serinus_runtime.serving.routes import MODEL_INFER, Route, Scoring, routes_of, unserved
from serinus_runtime.values.inputs import Bound, TableBound
from serinus_runtime.values.outputs import DEFAULT_NAME, Output, as_score, encode, score_index, scores_of

_TOO_LATE = "too late: the caller's time is up"
_ROUTER = b"x-serinus-router"
_STRANGER = "a release answers the router alone; ask Serinus where it listens"
_FULL = "predictions are not made while their records cannot be kept; try again"


class _Question(NamedTuple):
    """A request that was understood. `key`, `body_key`: what its answer may be remembered by."""

    request: Request
    route: Route
    call: Call
    asked: Asked
    bound: Bound
    key: bytes | None
    body_key: Hashable | None


class Application:
    def __init__(
        self,
        config: Config,
        model: Predictor,
        record: Callable[[Record], None] | None = None,
        full: Callable[[], bool] | None = None,
        *,
        memory: Memory | None = None,
        batcher: Batcher | None = None,
    ) -> None:
        """Answers 401 to all that does not show the key of `config`, where that has one.

        `record` takes the record of each request that came through the router; None: nobody keeps them. `full`:
        whether a further one would be lost. `memory`, `batcher`: where the release has a cache, or is predicted in
        batches."""
        self._config = config
        self._router = config.router.encode()
        self._stranger = error_response(401, _STRANGER)
        self._settings = config.settings
        self._timeout = config.settings.timeout_ms / 1000
        self._model = model
        self._record = record
        self._full = full if config.settings.unlogged == "refuse" else None
        self._memory = memory
        self._batcher = batcher
        self._release_line = b"x-serinus-release: " + config.release.encode() + b"\r\n"
        self._said: dict[str, float] = {}
        self._columns = model.signature.columns
        # Not every model has it.
        self._predict_row: Callable[[Sequence[Any]], Any] | None = getattr(model, "predict_row", None)
        self._scored = config.settings.scored
        self._posts = routes_of(config.model, config.version, model.signature, config.settings.protocols)
        self._unserved = unserved(config.model, config.version, config.settings.protocols)
        self._server = {"name": "serinus", "version": __version__, "extensions": ["binary_tensor_data"]}
        self._describe()

    def handle(self, request: Request) -> Response | Pending:
        if self._router and not compare_digest(request.headers.get(_ROUTER, b""), self._router):
            return self._stranger
        route = self._posts.get(request.target)
        if route is not None and request.method == b"POST":
            return self._score(request, route)
        return self._other(request)

    def _describe(self) -> None:
        """Once more when the first answer was seen, where there was no warm-up."""
        model, name, version = self._model, self._config.model, self._config.version
        self._settled = model.answers.settled
        described = metadata(name, version, model.signature, model.answers.promised)
        self._gets = self._plain_paths(name, version, _json(described))
        self._calls = grpc.calls(name, version, self._server, described)
        said = self._unserved.get(MODEL_INFER.decode())
        if said is not None:
            self._calls[MODEL_INFER] = grpc.refusing(said)

    def _plain_paths(self, name: str, version: str, described: Response) -> dict[str, Response]:
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
        """The answer to a request that is not to wait behind `waiting` others, which take `each` seconds; None: it may.
        With the release's fallback, if there is one."""
        if self._router and not compare_digest(request.headers.get(_ROUTER, b""), self._router):
            return self._stranger
        route = self._posts.get(request.target)
        if route is None or request.method != b"POST":
            return None
        call = Call(request.headers, self._release_line, self._timeout)
        why = refusal(waiting, self._settings.max_waiting, each, call.now, call.deadline)
        return None if why is None else self._turn_away(request, route, call, why, retry_after(waiting, each))

    def _turn_away(self, request: Request, route: Route, call: Call, why: str, seconds: int) -> Response:
        scoring = route.scoring
        if self._settings.fallback_score is not None:
            try:
                asked = self._read(request, scoring)
                bound = self._model.bind(asked.payload, exact=scoring.exact)
            except RequestError as error:
                return self._refused(call, scoring, error)
            return self._failed(call, scoring, asked, bound, 503, "overloaded", why)
        self._keep(call, 503, None, code="overloaded")
        return scoring.error(503, why, call.head + b"retry-after: %d\r\n" % seconds)

    def _other(self, request: Request) -> Response | Pending:
        if not self._settled and self._model.answers.settled:
            self._describe()
        call = self._calls.get(request.target)
        if call is not None and request.method == b"POST":
            return call(request)
        if request.refusal is not None:
            return error_response(request.refusal.status, str(request.refusal))
        target = request.target.split(b"?", 1)[0]
        if target.startswith(b"http://"):
            target = b"/" + target[7:].partition(b"/")[2]
        path = unquote(target.decode("latin-1"))
        path = path.rstrip("/") if len(path) > 1 else path
        route = self._posts.get(path.encode())
        if route is not None:
            if request.method == b"POST":
                return self._score(request, route)
            return error_response(405, "predictions are asked for with POST", b"allow: POST\r\n")
        answer = self._gets.get(path)
        if path in self._unserved:
            return error_response(404, self._unserved[path])
        if answer is None:
            return error_response(404, f"there is nothing at this path; this is model {self._config.model}")
        if request.method not in (b"GET", b"HEAD"):
            return error_response(405, "this is read with GET", b"allow: GET, HEAD\r\n")
        return answer

    def _score(self, request: Request, route: Route) -> Response | Pending:
        call = Call(request.headers, self._release_line, self._timeout)
        if self._full is not None and call.split is not None and self._full():
            return route.scoring.error(503, _FULL, call.head + b"retry-after: 1\r\n")
        if self._memory is None or call.split is None:
            return self._score_known(request, route, call) or self._score_any(request, route, call)
        return self._score_remembering(request, route, call, self._memory)

    def _score_remembering(self, request: Request, route: Route, call: Call, memory: Memory) -> Response | Pending:
        """For what came through the router: gates ask the model, not what it said before."""
        key = memory.body_key(request)
        repeat = None if key is None or _late(call) else memory.repeat(key)
        if repeat is None:
            known = self._score_known(request, route, call, memory, key)
            return known or self._score_any(request, route, call, memory, key)
        self._keep_row(call, len(repeat.scores), memory.columns(repeat), repeat.inputs, repeat.scores, cached=True)
        return Response(200, repeat.body, call.head, repeat.content_type)

    def _score_known(
        self,
        request: Request,
        route: Route,
        call: Call,
        memory: Memory | None = None,
        body_key: Hashable | None = None,
    ) -> Response | None:
        """One row in a body whose layout was seen before. None: it is none, or anything is not as it should be."""
        predict_row, layouts, headers = self._predict_row, route.layouts, request.headers
        if predict_row is None or layouts is None or not _plain_json(headers):
            return None
        found = layouts.find(request.body)
        if found is None or _late(call):
            return None
        key = entry = None
        if memory is not None and (key := memory.row_key(found.row)) is not None:
            entry = memory.known(key)
        if entry is None:
            try:
                answer = predict_row(found.row).tolist()
            except (RequestError, ModelFailure):
                return None
            # One row: [score] or [[.., score]].
            values = answer[0] if type(answer[0]) is list else answer
        else:
            values = entry.value.answer.outputs[0].data
        layout, inputs = found.layout, b"[%b]" % found.text
        scores = [as_score(values[-1])] if self._scored else []
        response = Response(200, b"%b%b%b" % (layout.before, encode(values), layout.after), call.head)
        self._keep_row(call, 1, layout.names, inputs, scores, cached=entry is not None)
        if memory is not None and key is not None:
            if entry is None:
                output = self._model.seen[0]
                output = output._replace(shape=[1, *output.shape[1:]], data=values)
                entry = memory.keep(key, Answer(answer, [output]), scores)
            memory.keep_repeat(body_key, entry, response, call.head, layout.names, inputs, scores)
        return response

    def _score_any(
        self,
        request: Request,
        route: Route,
        call: Call,
        memory: Memory | None = None,
        body_key: Hashable | None = None,
    ) -> Response | Pending:
        scoring = route.scoring
        try:
            asked = self._read(request, scoring)
            bound = self._model.bind(asked.payload, exact=scoring.exact)
        except RequestError as error:
            return self._refused(call, scoring, error)
        if call.deadline is not None and time.time() > call.deadline:
            return self._failed(call, scoring, asked, bound, 504, "timeout", _TOO_LATE)
        key = None if memory is None else memory.key(bound, asked.params)
        question = _Question(request, route, call, asked, bound, key, body_key)
        entry = None if memory is None or key is None else memory.known(key)
        if entry is not None:
            return self._conclude(question, entry.value.answer, entry)
        if self._batcher is not None and not asked.params:
            return self._gather(question, self._batcher)
        try:
            return self._conclude(question, self._model.predict(bound, asked.params))
        except (RequestError, ModelFailure) as error:
            return self._conclude(question, error)

    def _gather(self, question: _Question, batcher: Batcher) -> Response | Pending:
        """Answered with its batch, unless too many wait for theirs."""
        request, route, call = question[:3]
        waiting, each = batcher.waiting, batcher.seconds_each
        why = refusal(waiting, self._settings.max_waiting, each, call.now, call.deadline)
        if why is not None:
            return self._turn_away(request, route, call, why, retry_after(waiting, each))
        pending = Pending()

        def done(outcome: Outcome) -> None:
            try:
                response = self._conclude(question, outcome)
            except Exception:  # noqa: BLE001
                # A bug on this request is not to cost its neighbours in the batch their answers.
                traceback.print_exc(file=sys.stderr)
                response = route.scoring.error(500, "the worker failed on this request", call.head)
            pending.complete(response)

        batcher.submit(question.bound, call.deadline, done, question.key)
        return pending

    def _conclude(self, question: _Question, outcome: Outcome, entry: Entry | None = None) -> Response:
        """The response and the record. `entry`: of the memory, where the outcome was not predicted now."""
        _, route, call, asked, bound, _, _ = question
        if isinstance(outcome, Answer):
            try:
                response = route.scoring.reply(outcome.result, outcome.outputs, asked, call.head)
            except (RequestError, ModelFailure) as error:
                return self._conclude(question, error)
            scores = self._scores(outcome.outputs)
            self._keep(call, 200, bound, scores=scores, cached=entry is not None)
            self._remember(question, outcome, scores, response, entry)
            return response
        if isinstance(outcome, RequestError):
            return self._refused(call, route.scoring, outcome)
        if isinstance(outcome, Late):
            return self._failed(call, route.scoring, asked, bound, 504, "timeout", _TOO_LATE)
        self._say(outcome)
        return self._failed(call, route.scoring, asked, bound, 500, outcome.code, str(outcome))

    def _remember(
        self, question: _Question, answer: Answer, scores: Scores, response: Response, entry: Entry | None
    ) -> None:
        request, route, call, asked, bound, key, body_key = question
        if self._memory is not None and key is not None:
            entry = entry or self._memory.keep(key, answer, scores)
            self._memory.keep_repeat(body_key, entry, response, call.head, bound.columns, bound.rows, scores)
        if self._predict_row is not None and len(bound.rows) == 1 and _plain_json(request.headers):
            self._learn(request, route, asked, bound, answer, response)

    def _learn(
        self, request: Request, route: Route, asked: Asked, bound: Bound, answer: Answer, response: Response
    ) -> None:
        """Makes the next such request quicker, if its answer can be told from this one's."""
        whole = isinstance(bound, TableBound) and bound.frames.columns == self._columns
        named = self._settings.score_output in (None, answer.outputs[0].name)
        if route.around is None or route.layouts is None or asked.params or not (whole and named):
            return
        output = answer.outputs[0]
        around = route.around(output, asked) if len(answer.outputs) == 1 else None
        if around is not None and around[0] + encode(output.data) + around[1] == response.body:
            route.layouts.learn(request.body, asked, bound.rows[0], around)

    def _read(self, request: Request, scoring: Scoring) -> Asked:
        if request.refusal is not None:
            raise request.refusal
        if request.headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise RequestError("compressed bodies are not understood; send them as they are", 415, "unsupported-type")
        return scoring.parse(request)

    def _refused(self, call: Call, scoring: Scoring, error: RequestError) -> Response:
        self._keep(call, error.status, None, code=error.code)
        return scoring.error(error.status, str(error), call.head)

    def _failed(
        self, call: Call, scoring: Scoring, asked: Asked, bound: Bound, status: int, code: str, message: str
    ) -> Response:
        """The fallback score for each row where the release has one, else the error."""
        score = self._settings.fallback_score
        if score is None:
            self._keep(call, status, bound, code=code)
            return scoring.error(status, message, call.head)
        rows = len(bound.rows)
        self._keep(call, 200, bound, fallback=[score] * rows, code=code)
        head = call.head + b"x-serinus-fallback: true\r\n"
        return scoring.fallback(score, rows, self._score_name(), code, asked, head)

    def _score_name(self) -> str:
        if self._settings.score_output is not None:
            return self._settings.score_output
        if self._model.seen:
            return self._model.seen[0].name
        described = self._model.answers.described
        return described[0].name if described else DEFAULT_NAME

    def _scores(self, outputs: Sequence[Output]) -> Scores:
        """Empty for a release that is declared to answer none."""
        if not self._scored:
            return []
        if not outputs:  # of rows that belong together
            return [None]
        try:
            return scores_of(outputs[score_index(outputs, self._settings.score_output)])
        except KeyError:  # this once the model left out the output that holds the score
            return [None] * (outputs[0].shape or [1])[0]

    def _keep(
        self,
        call: Call,
        status: int,
        bound: Bound | None,
        *,
        scores: Scores | None = None,
        fallback: list[float] | None = None,
        code: str | None = None,
        cached: bool = False,
    ) -> None:
        # Without a split the request did not come through the router: a gate's rows are not traffic.
        if self._record is None or call.split is None:
            return
        columns, rows = (None, None) if bound is None else (bound.columns, bound.rows)
        self._record(
            call.record(
                status,
                len(rows or ()),
                columns=columns,
                inputs=rows,
                scores=scores,
                fallback=fallback,
                code=code,
                cached=cached,
            )
        )

    def _keep_row(
        self, call: Call, rows: int, columns: Sequence[str] | None, inputs: bytes, scores: Scores, *, cached: bool
    ) -> None:
        if self._record is not None and call.split is not None:
            self._record(call.record(200, rows, columns=columns, inputs=inputs, scores=scores, cached=cached))

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


def _late(call: Call) -> bool:
    return call.deadline is not None and call.now > call.deadline


def _plain_json(headers: dict[bytes, bytes]) -> bool:
    """Nothing in the headers says that the body is other than it looks."""
    return (
        headers.get(b"content-type") == b"application/json"
        and b"content-encoding" not in headers
        and b"inference-header-content-length" not in headers
    )


def _json(content: Any) -> Response:
    return Response(200, json.dumps(content, separators=(",", ":")).encode())
