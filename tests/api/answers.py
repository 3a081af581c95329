"""Holds what the API answers to its OpenAPI document."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import httpx
import schemathesis

from serinus.api.openapi import described


@cache
def document() -> dict[str, Any]:
    return described().openapi()


@cache
def _operations() -> dict[str, list[tuple[re.Pattern[str], Any]]]:
    """By method, in the order in which routes are tried."""
    schema = schemathesis.openapi.from_dict(document())
    found: dict[str, list[tuple[re.Pattern[str], Any]]] = {}
    for path, method in operations():
        pattern = re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)))
        found.setdefault(method, []).append((pattern, schema[path][method]))
    return found


def operations() -> Iterator[tuple[str, str]]:
    """(path, method) of all that is described."""
    for path, item in document()["paths"].items():
        for method in item:
            yield path, method.upper()


def check(answer: httpx.Response) -> bool:
    """Whether the document describes the route; raises AssertionError where it does not describe the answer."""
    request = answer.request
    for pattern, operation in _operations().get(request.method, ()):
        if pattern.fullmatch(request.url.path):
            try:
                operation.validate_response(answer)
            except Exception as error:
                raise AssertionError(f"{request.method} {request.url.path}: {error}") from error
            return True
    return False
