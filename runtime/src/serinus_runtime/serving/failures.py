"""The responses where the model did not predict: errors, and the release's fallback score."""

from __future__ import annotations

import sys
import time
import traceback
from typing import NamedTuple

from serinus_runtime.base.config import Settings
from serinus_runtime.base.errors import ModelFailure, RequestError
from serinus_runtime.base.messages import Response
from serinus_runtime.model.predictor import Predictor
from serinus_runtime.serving.call import Call, ParsedCall
from serinus_runtime.serving.overload import Overload
from serinus_runtime.serving.recorder import Recorder
from serinus_runtime.values.outputs import DEFAULT_NAME, Output

_QUIET = 60.0
"""Seconds within which a failure is logged once."""


class Failure(NamedTuple):
    """`status` is that of HTTP. `code` is the short name in the prediction record."""

    status: int
    code: str
    message: str


TIMEOUT = Failure(504, "timeout", "the time limit of the request has passed")
_OVERLOADED = "overloaded"


class Failures:
    """Answers failures and records them, for one release."""

    def __init__(self, settings: Settings, model: Predictor, recorder: Recorder) -> None:
        self._score = settings.fallback_score
        self._score_output = settings.score_output
        self._model = model
        self._recorder = recorder
        self.has_fallback = settings.fallback_score is not None
        self._logged: dict[str, float] = {}
        """The time at which each failure was last logged, on the monotonic clock."""

    def refused(self, call: Call, error: RequestError) -> Response:
        """Answers a mistake of the caller."""
        self._recorder.keep(call, error.status, code=error.code)
        return call.route.scoring.error(error.status, str(error), call.head)

    def failed(self, parsed: ParsedCall, failure: Failure) -> Response:
        """Answers with the fallback score for each row where the release has one, or else with the error."""
        call, bound, fallback = parsed.call, parsed.bound, self._fallback(len(parsed.bound.rows))
        status = failure.status if fallback is None else 200
        self._recorder.keep(
            call,
            status,
            len(bound.rows),
            columns=bound.columns,
            inputs=bound.rows,
            fallback=None if fallback is None else fallback.data,
            code=failure.code,
        )
        if fallback is None:
            return call.route.scoring.error(status, failure.message, call.head)
        head = call.head + b"x-serinus-fallback: true\r\n"
        return call.route.scoring.fallback(fallback, failure.code, parsed.asked, head)

    def _fallback(self, rows: int) -> Output | None:
        score = self._score
        return None if score is None else Output(self._score_name(), "FP64", [rows], [score] * rows)

    def overloaded(self, call: Call, parsed: ParsedCall | None, overload: Overload) -> Response:
        """Answers an overload. `parsed` is needed where the release has a fallback score."""
        if parsed is not None and self.has_fallback:
            return self.failed(parsed, Failure(503, _OVERLOADED, overload.message))
        self._recorder.keep(call, 503, code=_OVERLOADED)
        return unavailable(call, overload.message, overload.retry_after)

    def _score_name(self) -> str:
        if self._score_output is not None:
            return self._score_output
        if self._model.seen:
            return self._model.seen[0].name
        described = self._model.answers.described
        return described[0].name if described else DEFAULT_NAME

    def log(self, failure: ModelFailure) -> None:
        """Logs where the model raised, without its message, once a minute for each kind."""
        now = time.monotonic()
        if now - self._logged.get(str(failure), -_QUIET) < _QUIET:
            return
        self._logged[str(failure)] = now
        cause = failure.__cause__
        where = "".join(traceback.format_tb(cause.__traceback__)) if cause is not None else ""
        sys.stderr.write(f"{failure}\n{where}")
        sys.stderr.flush()


def unavailable(call: Call, message: str, retry_after: int) -> Response:
    """Answers 503. `retry_after` is in seconds."""
    return call.route.scoring.error(503, message, call.head + b"retry-after: %d\r\n" % retry_after)
