"""The paths from a request for predictions to its response:

    refused early      the queue is too long (`refuse`), or the record would be lost
    repeated body      the response cache has the whole response
    fast path          one row in a body of a known layout, predicted or from the cache (`fast_path`)
    full path          parsed and checked against the signature; then one of
        cached         the response cache has the model's answer to these features
        batched        predicted together with other requests; equal features are predicted once
        at once        predicted by itself

The first path that can answers. All protocols have the same paths, except that gRPC has no layouts.
"""

from __future__ import annotations

import sys
import time
import traceback
from typing import Sequence

from serinus_runtime.base.config import Config
from serinus_runtime.base.errors import ModelFailure, RequestError
from serinus_runtime.base.messages import Pending, Request, Response
from serinus_runtime.cache.response_cache import RecordedRows, ResponseCache
from serinus_runtime.cache.storage import Entry
from serinus_runtime.model.batching import Batcher, Late, Outcome
from serinus_runtime.model.model import Answer
from serinus_runtime.model.predictor import Predictor, row_predictor
from serinus_runtime.serving.call import Call, ParsedCall
from serinus_runtime.serving.failures import TIMEOUT, Failure, Failures, unavailable
from serinus_runtime.serving.fast_path import FastPath
from serinus_runtime.serving.overload import Queue, overload
from serinus_runtime.serving.recorder import Recorder
from serinus_runtime.serving.routes import Route
from serinus_runtime.values.outputs import Output, Scores, score_index, scores_of

_FULL = "the prediction log has no room for the record of this request; try again later"


class Inference:
    """Answers and records every request for predictions from one model."""

    def __init__(
        self,
        config: Config,
        model: Predictor,
        recorder: Recorder,
        *,
        cache: ResponseCache | None = None,
        batcher: Batcher | None = None,
    ) -> None:
        """`cache` and `batcher` are those of the release, where it has them."""
        self._release_line = b"x-serinus-release: " + config.release.encode() + b"\r\n"
        self._settings = config.settings
        self._timeout = config.settings.timeout_ms / 1000
        self._model = model
        self._recorder = recorder
        self._refuses = recorder.refuses if config.settings.unlogged == "refuse" else None
        self._cache = cache
        self._batcher = batcher
        self._failures = Failures(config.settings, model, recorder)
        by_row = row_predictor(model)
        self._fast_path = None if by_row is None else FastPath(by_row, config.settings, recorder)

    def answer(self, request: Request, route: Route) -> Response | Pending:
        """Answers a request by the first path that can."""
        call = Call(request, route, self._release_line, self._timeout)
        if self._refuses is not None and self._refuses(call):
            return unavailable(call, _FULL, retry_after=1)
        response = None if self._cache is None else self._repeated(call, self._cache)
        if response is None and self._fast_path is not None:
            response = self._fast_path.answer(call)
        if response is not None:
            return response
        try:
            parsed = self._parsed(call)
        except RequestError as error:
            return self._failures.refused(call, error)
        if call.late(time.time()):
            return self._failures.failed(parsed, TIMEOUT)
        return self._cached(parsed) or self._batched(parsed) or self._at_once(parsed)

    def refuse(self, request: Request, route: Route, queue: Queue) -> Response | None:
        """Returns a response to a request that must not wait behind `queue`: the fallback, where the release has one.
        None: it may wait."""
        call = Call(request, route, self._release_line, self._timeout)
        refusal = overload(queue, self._settings.max_waiting, call.now, call.deadline)
        if refusal is None:
            return None
        try:
            parsed = self._parsed(call) if self._failures.has_fallback else None
        except RequestError as error:
            return self._failures.refused(call, error)
        return self._failures.overloaded(call, parsed, refusal)

    # --- the paths. None: another is to answer

    def _repeated(self, call: Call, cache: ResponseCache) -> Response | None:
        # Requests of gates, which do not come through the router, must reach the model and not the cache.
        if call.split is None:
            return None
        call.cache = cache
        call.body_key = key = cache.body_key(call.request)
        cached = None if key is None or call.late(call.now) else cache.response(key)
        if cached is None:
            return None
        columns, scores = cache.columns(cached), cached.scores
        self._recorder.keep(call, 200, len(scores), columns=columns, inputs=cached.inputs, scores=scores, cached=True)
        return Response(200, cached.body, call.head, cached.content_type)

    def _cached(self, parsed: ParsedCall) -> Response | None:
        cache, key = parsed.call.cache, parsed.key
        entry = None if cache is None or key is None else cache.answer(key)
        return None if entry is None else self._answered(parsed, entry.value, entry)

    def _batched(self, parsed: ParsedCall) -> Response | Pending | None:
        """Answers the request with its batch, unless too many wait."""
        batcher, call = self._batcher, parsed.call
        if batcher is None or parsed.asked.params:
            return None
        queue = Queue(batcher.waiting, batcher.seconds_each)
        refusal = overload(queue, self._settings.max_waiting, call.now, call.deadline)
        if refusal is not None:
            return self._failures.overloaded(call, parsed, refusal)
        pending = Pending()

        def done(outcome: Outcome) -> None:
            try:
                response = self._concluded(parsed, outcome)
            except Exception:  # noqa: BLE001
                # A defect with this request must not affect others in the batch.
                traceback.print_exc(file=sys.stderr)
                response = call.route.scoring.error(500, "the worker failed on this request", call.head)
            pending.complete(response)

        batcher.submit(parsed.bound, call.deadline, done, parsed.key)
        return pending

    def _at_once(self, parsed: ParsedCall) -> Response:
        try:
            return self._answered(parsed, self._model.predict(parsed.bound, parsed.asked.params))
        except (RequestError, ModelFailure) as error:
            return self._concluded(parsed, error)

    # --- what they share

    def _parsed(self, call: Call) -> ParsedCall:
        """Parses a request. Raises RequestError where it is malformed, or does not fit the model."""
        request, scoring, cache = call.request, call.route.scoring, call.cache
        if request.refusal is not None:
            raise request.refusal
        if request.headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise RequestError("compressed bodies are not supported; send them uncompressed", 415, "unsupported-type")
        asked = scoring.parse(request)
        bound = self._model.bind(asked.payload, exact=scoring.exact)
        return ParsedCall(call, asked, bound, None if cache is None else cache.key(bound, asked.params))

    def _concluded(self, parsed: ParsedCall, outcome: Outcome) -> Response:
        """Returns the response to the outcome of a prediction, and records it."""
        if isinstance(outcome, Answer):
            return self._answered(parsed, outcome)
        if isinstance(outcome, RequestError):
            return self._failures.refused(parsed.call, outcome)
        if isinstance(outcome, Late):
            return self._failures.failed(parsed, TIMEOUT)
        self._failures.log(outcome)
        return self._failures.failed(parsed, Failure(500, outcome.code, str(outcome)))

    def _answered(self, parsed: ParsedCall, answer: Answer, entry: Entry | None = None) -> Response:
        """Returns the response to an answer. `entry` is that of the response cache, where `answer` comes from there."""
        call, bound = parsed.call, parsed.bound
        try:
            response = call.route.scoring.reply(answer.result, answer.outputs, parsed.asked, call.head)
        except (RequestError, ModelFailure) as error:
            return self._concluded(parsed, error)
        scores = self._scores(answer.outputs)
        columns, rows = bound.columns, bound.rows
        self._recorder.keep(call, 200, len(rows), columns=columns, inputs=rows, scores=scores, cached=entry is not None)
        if call.cache is not None and parsed.key is not None:
            made_from = entry or call.cache.keep_answer(parsed.key, answer, scores)
            call.cache.keep_response(call.body_key, made_from, response, call.head, RecordedRows(columns, rows, scores))
        if self._fast_path is not None:
            self._fast_path.learn(parsed, answer, response)
        return response

    def _scores(self, outputs: Sequence[Output]) -> Scores:
        """Returns the scores. Empty: the release is declared to have none."""
        if not self._settings.scored:
            return []
        if not outputs:  # Rows that belong together.
            return [None]
        try:
            return scores_of(outputs[score_index(outputs, self._settings.score_output)])
        except KeyError:  # This time the model left out the output with the score.
            return [None] * (outputs[0].shape or [1])[0]
