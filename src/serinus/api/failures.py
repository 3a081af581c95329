"""Errors as answers: `{"error": what is wrong, "hint": what to do next}`."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from serinus.api.auth import Unauthenticated, note_refused
from serinus.core.errors import Forbidden, InvalidInput, NotFound, Refused, SerinusError, TemporaryError, Unbuildable
from serinus.resources import Failure

# The first class that an error is an instance of is used.
STATUSES: tuple[tuple[type[SerinusError], int], ...] = (
    (Unauthenticated, 401),
    (Forbidden, 403),
    (NotFound, 404),
    (Refused, 409),
    (InvalidInput, 422),
    (Unbuildable, 422),
    (TemporaryError, 503),
)


def _described(status: int, what: str) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": Failure, "description": what}}


NOT_FOUND = _described(404, "There is no such thing; the hint names what there is.")
REFUSED = _described(409, "The present state, or a rule, does not allow it.")
UNAVAILABLE = _described(503, "What it needs does not answer; `Retry-After` says when to try again.")
OF_EVERY_ROUTE: dict[int | str, dict[str, Any]] = {
    **_described(401, "No valid token was sent."),
    **_described(403, "The token's role does not allow it, or a browser's page of another origin asks."),
    **_described(422, "What was sent cannot be read: the error says where and what, never the value."),
    "default": {"model": Failure, "description": "Any other error."},
}
"""The descriptions of error statuses in the OpenAPI document."""


def answer(status: int, error: str, hint: str = "", headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Returns an answer with an error."""
    return JSONResponse(Failure(error=error, hint=hint).model_dump(), status, dict(headers or {}))


def install(app: FastAPI) -> None:
    """Adds the handlers of errors to the application."""
    app.add_exception_handler(SerinusError, _serinus)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)


def _serinus(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, SerinusError)
    status = next((status for kind, status in STATUSES if isinstance(error, kind)), 500)
    headers = {}
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, TemporaryError):
        headers["Retry-After"] = str(ceil(error.delay))
    return answer(status, error.message, error.hint, headers)


def _validation(request: Request, error: Exception) -> JSONResponse:
    """Answers with the place and the kind of an error. The value is left out, because it may be confidential."""
    assert isinstance(error, RequestValidationError)
    found = [f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors()]
    more = f" (and {len(found) - 5} more)" if len(found) > 5 else ""
    said = "; ".join(found[:5]) + more
    try:
        note_refused(request, said)
    except SerinusError as other:  # A body that is not JSON is rejected before the client is authenticated.
        return _serinus(request, other)
    return answer(422, said, "`GET /v1/openapi.json` describes every route.")


def _http(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return answer(error.status_code, str(error.detail).lower(), headers=error.headers)
