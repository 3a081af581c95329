"""Asks a placed release without the router, by the Open Inference Protocol v2 and the others that it speaks."""

from __future__ import annotations

import http.client
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from serinus_runtime.trials import answers
from serinus_runtime.values.outputs import finite

from serinus.core.errors import InvalidInput, TemporaryError, Unavailable
from serinus.core.examination import Question
from serinus.core.keys import ROUTER_HEADER
from serinus.core.release import Release
from serinus.targets.asking import grpc_calls
from serinus.targets.asking.http_calls import Answer, call

_METADATA_TIMEOUT = 2.0
"""In seconds."""
_MOST_DIMENSIONS = 16
_LONGEST_WORDS = 2_000
_NO_ANSWER = (
    KeyError,
    IndexError,
    StopIteration,
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)
"""The exceptions that reading something that is not an answer may raise. A model may have written it."""
_GRPC_INVALID = "3"
"""The gRPC status INVALID_ARGUMENT."""


@dataclass(frozen=True, slots=True)
class Answered:
    """Implements `core.ports.Scored`."""

    scores: Sequence[float | None]
    seconds: float


@dataclass(frozen=True, slots=True)
class Replied:
    """Implements `core.ports.Replied`."""

    answers: Sequence[Sequence[Any]]
    scores: Sequence[float | None]
    seconds: float


Connect = Callable[[str, float], http.client.HTTPConnection]
"""Returns a connection, which is not open yet, to an endpoint or to the address of a probe. The number is its timeout
in seconds."""


class ReleaseScorer:
    """Implements `core.ports.Scorer` on every target.

    - `connect`: see `Connect`. Raises Unavailable where the address of the endpoint cannot be found out.
    - `release_at`: returns the release that is placed at an endpoint. Raises NotFound.
    - `key_of`: returns the router key of a release, by its id.
    """

    def __init__(self, connect: Connect, release_at: Callable[[str], Release], key_of: Callable[[str], str]) -> None:
        self._connect, self._release_at, self._key_of = connect, release_at, key_of
        self._datatypes: dict[str, Mapping[str, str]] = {}

    def score(self, endpoint: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], timeout: float) -> Answered:
        """Raises NotFound where no placed release has this endpoint. Raises TemporaryError also where the release
        answered with its fallback, or with something other than a score for each row, since it has not answered
        then."""
        release = self._release_at(endpoint)
        inputs = [self._tensor(release, endpoint, name, [row[i] for row in rows]) for i, name in enumerate(columns)]
        answer = self._call(release, endpoint, "POST", f"{_target(release)}/infer", {"inputs": inputs}, timeout)
        if answer.headers.get("x-serinus-fallback") == "true":
            raise TemporaryError(f"Release {release.id} answered with its fallback score, not with its own.")
        scores = _scores(answer.body, release.settings.score_output)
        if len(scores) != len(rows):
            raise TemporaryError(f"Release {release.id} gave {len(scores)} scores for {len(rows)} rows.")
        return Answered(scores, answer.seconds)

    def ask(self, address: str, release: Release, protocol: str, question: Question, timeout: float) -> Replied:
        """Raises InvalidInput also where the rows cannot be expressed in the protocol."""
        target, body, headers = _request(release, protocol, question)
        answer = self._call(release, address, "POST", target, body, timeout, headers)
        if answer.headers.get("x-serinus-fallback") == "true":
            raise TemporaryError(f"Release {release.id} answered with its fallback score, not with its own.")
        try:
            return _replied(answer, protocol, release.settings.score_output, rows_of(question.document))
        except _NO_ANSWER as error:
            raise TemporaryError(f"Release {release.id} did not answer as {protocol} says.") from error

    def _tensor(self, release: Release, endpoint: str, name: str, values: Sequence[Any]) -> Mapping[str, Any]:
        """A column as an input of the protocol: one value for each row, with None and non-finite numbers as null."""
        data = [None if _missing(value) else value for value in values]
        datatype = _datatype(data) or self._declared(release, endpoint).get(name, "FP64")
        return {"name": name, "shape": [len(data)], "datatype": datatype, "data": data}

    def _declared(self, release: Release, endpoint: str) -> Mapping[str, str]:
        """The datatypes as the release itself gives them. They are asked for once, when a column has no value that
        tells its datatype."""
        if endpoint not in self._datatypes:
            answer = self._call(release, endpoint, "GET", _target(release), None, _METADATA_TIMEOUT)
            try:
                self._datatypes[endpoint] = {one["name"]: one["datatype"] for one in answer.body["inputs"]}
            except _NO_ANSWER as error:
                raise TemporaryError(f"Release {release.id} does not describe its inputs.") from error
        return self._datatypes[endpoint]

    def _call(
        self,
        release: Release,
        address: str,
        method: str,
        target: str,
        content: Any,
        timeout: float,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Makes one call. `content` is a message as bytes, or what becomes JSON. Sends the router key, which a release
        requires of everybody."""
        shown = {ROUTER_HEADER: self._key_of(release.id), **(headers or {})}
        body = content if content is None or isinstance(content, bytes) else json.dumps(content, default=str).encode()
        try:
            answer = call(self._connect(address, timeout), method, target, body, shown, timeout)
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"Release {release.id} does not answer: {type(error).__name__}.", delay=1.0) from error
        return _accepted(release, answer)


def _request(release: Release, protocol: str, question: Question) -> tuple[str, Any, Mapping[str, str]]:
    """The target, the content and the headers of the request."""
    if protocol == "invocations":
        return f"/models/{quote(release.model, safe='')}/invocations", finite(question.document), {}
    if question.tensors is None:
        raise InvalidInput("The Open Inference Protocol cannot carry these rows.")
    if protocol == "open-inference":
        return f"{_target(release)}/infer", {"inputs": question.tensors}, {}
    try:
        body = grpc_calls.framed(release.model, question.tensors)
    except grpc_calls.NoForm as error:
        raise InvalidInput(f"gRPC has no form for these rows: {error}.") from error
    return grpc_calls.TARGET, body, {"Content-Type": grpc_calls.CONTENT_TYPE, "TE": "trailers"}


def _replied(answer: Answer, protocol: str, score_output: str | None, rows: int) -> Replied:
    if protocol == "invocations":
        predictions = answer.body["predictions"]
        found = answers.of_predictions(predictions, rows)
        return Replied(found, _chosen(predictions, score_output, found), answer.seconds)
    outputs = answer.body["outputs"] if protocol == "open-inference" else grpc_calls.outputs_of(answer.content)
    scores = _scores({"outputs": outputs}, score_output)
    finite = [
        {**output, "data": [None if _missing(value) else value for value in output["data"]]} for output in outputs
    ]
    return Replied(answers.of_outputs(finite, rows), scores, answer.seconds)


def _chosen(predictions: Any, score_output: str | None, rows: Sequence[Sequence[Any]]) -> Sequence[float | None]:
    """For each row the value under the name of the score, or under the first name, as the worker chooses it; of an
    array the last value."""
    if isinstance(predictions, dict) and predictions:
        values = predictions[score_output or next(iter(predictions))]
    elif predictions and isinstance(predictions, list) and all(isinstance(row, dict) for row in predictions):
        name = score_output or next(iter(predictions[0]), "")
        values = [row.get(name) for row in predictions]
    else:
        values = rows
    return [_score(value[-1] if isinstance(value, list) and value else value) for value in values]


def rows_of(document: Mapping[str, Any]) -> int:
    """The number of rows in a body of `/invocations`."""
    split = document.get("dataframe_split")
    if isinstance(split, dict):
        return len(split["data"])
    given = next(document[key] for key in ("dataframe_records", "instances", "inputs") if key in document)
    if isinstance(given, dict):
        given = next(iter(given.values()))
    return len(given) if isinstance(given, list) else 1


def _target(release: Release) -> str:
    return f"/v2/models/{quote(release.model, safe='')}"


def _accepted(release: Release, answer: Answer) -> Answer:
    """Returns the answer. Raises InvalidInput where the release refused the rows, and TemporaryError where it failed on
    them."""
    status = answer.headers.get("grpc-status", "0")  # Headers have it only without a message.
    if status == _GRPC_INVALID or 400 <= answer.status < 500:
        said = unquote(answer.headers.get("grpc-message", ""))[:_LONGEST_WORDS] or answer.error
        raise InvalidInput(f"Release {release.id} refused the rows: {said}")
    if status != "0":
        said = unquote(answer.headers.get("grpc-message", ""))[:_LONGEST_WORDS] or f"gRPC's status {status}"
        raise TemporaryError(f"Release {release.id} failed on the rows: {said}")
    if answer.status != 200:
        raise TemporaryError(f"Release {release.id} failed on the rows: {answer.error}")
    return answer


def _datatype(values: Sequence[Any]) -> str | None:
    """The datatype that all values have, where None is ignored. None if there is no such datatype. Times are sent as
    text."""
    kinds = {type(value) for value in values if value is not None}
    if not kinds:
        return None
    if kinds <= {int, float}:
        return "INT64" if kinds == {int} else "FP64"
    return "BOOL" if kinds == {bool} else "BYTES"


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def _scores(body: Any, score_output: str | None) -> Sequence[float | None]:
    """The last column of the output that is called `score_output`, or of the first output. The worker has the same
    rule."""
    try:
        output = next(one for one in body["outputs"] if score_output in (None, one["name"]))
        width = _width(output["shape"])
        return [_score(value) for value in output["data"][width - 1 :: width]]
    except _NO_ANSWER as error:
        raise TemporaryError("The release's answer holds no scores by the Open Inference Protocol.") from error


def _width(shape: Sequence[int]) -> int:
    """The number of values of a row. Raises ValueError if it is not a shape."""
    if len(shape) > _MOST_DIMENSIONS:
        raise ValueError(f"more than {_MOST_DIMENSIONS} dimensions")
    return math.prod(shape[1:])


def _score(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None
