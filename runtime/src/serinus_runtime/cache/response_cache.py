"""The response cache of a worker: answers to bodies or features that were answered before.

It holds two kinds of entries. A `CachedResponse` is found by the whole body of a request, which is then not parsed. An
`Answer` of the model is found by the features of a request, however they were sent. Every response in the cache was
made from an answer in it, and expires with that.
"""

from __future__ import annotations

import json
from typing import Any, Callable, Hashable, Mapping, NamedTuple, Sequence

from serinus_runtime.artifact.signature import Signature
from serinus_runtime.base.config import Config
from serinus_runtime.base.errors import ModelFailure
from serinus_runtime.base.messages import Request, Response
from serinus_runtime.cache.keys import CacheKeys
from serinus_runtime.cache.storage import Cache, ConsistencyCheck, Entry
from serinus_runtime.model.model import Answer
from serinus_runtime.values.inputs import Bound
from serinus_runtime.values.outputs import Scores, encode
from serinus_runtime.values.predictions import write_predictions

_MOST_HEADERS = 64


def response_cache_of(config: Config, signature: Signature, say: Callable[[str], None]) -> ResponseCache | None:
    """Returns the response cache of a release. None: it has no cache.

    A release whose rows are predicted one at a time, or belong together, has none, because its answers depend on other
    rows. Neither has one without scores, because contradictions could not be noticed.
    """
    cache, settings = config.settings.cache, config.settings
    if cache is None or settings.one_at_a_time or settings.rows == "together" or not settings.scored:
        return None
    return ResponseCache(Cache(cache.max_bytes, cache.ttl_seconds), CacheKeys(signature, config.release), say)


class RecordedRows(NamedTuple):
    """The rows of a request in its prediction record. `inputs` are the rows or their JSON text."""

    columns: Sequence[str] | None
    inputs: Sequence[Sequence[Any]] | bytes
    scores: Scores


class CachedResponse(NamedTuple):
    """A response without the headers that depend on the request, and the data for its record. `header` is the index of
    its column names in `ResponseCache.columns`."""

    body: bytes
    content_type: bytes
    header: int
    inputs: bytes
    scores: Scores


class ResponseCache:
    """The response cache of one release. It is closed permanently when the model contradicts itself."""

    def __init__(self, entries: Cache, keys: CacheKeys, say: Callable[[str], None]) -> None:
        """`say` writes to the release's log."""
        self._entries = entries
        self._keys = keys
        self._say = say
        self._consistency = ConsistencyCheck()
        self._headers: list[Sequence[str] | None] = []
        """Stored only once, since they take more memory than the numbers below them."""
        self.off = False

    def body_key(self, request: Request) -> Hashable | None:
        """Returns the key of a body. None: the request must be parsed first."""
        headers = request.headers
        if self.off or request.refusal is not None or b"content-encoding" in headers:
            return None
        described = (headers.get(b"content-type"), headers.get(b"inference-header-content-length"))
        return (request.target, *described, request.body)

    def key(self, bound: Bound, params: Mapping[str, Any] | None) -> bytes | None:
        """Returns the key of features. None: they must be predicted."""
        return None if self.off else self._keys.key(bound, params)

    def row_key(self, row: Sequence[Any]) -> bytes | None:
        """Returns the key of one row of all columns in the signature's order."""
        return None if self.off else self._keys.row_key(row)

    def response(self, body_key: Hashable) -> CachedResponse | None:
        """Returns the response to a body. None: there is none."""
        entry = self._entries.get(body_key)
        return None if entry is None else entry.value

    def answer(self, key: Hashable) -> Entry | None:
        """Returns the entry of features, whose value is an `Answer` of plain values. None: there is none."""
        return self._entries.get(key)

    def keep_answer(self, key: Hashable, answer: Answer, scores: Scores) -> Entry | None:
        """Stores what the model has just answered. Returns the entry, or None where the key is not requested often
        enough."""
        if self._consistency.contradicts(key, scores):
            self.off = True
            self._entries.clear()
            self._say("the model answered equal rows differently from before: its predictions are no longer cached\n")
            return None
        if not self._entries.admits(key):
            return None
        if any(output.problem for output in answer.outputs):
            return None
        # It is stored as JSON values, as it is answered, because the size of a model's arrays and frames is unknown.
        try:
            plain = json.loads(write_predictions(answer.result))
        except ModelFailure:  # A release that only answers tensors may have such values.
            return None
        return self._entries.put(key, Answer(plain, answer.outputs))

    def keep_response(
        self, body_key: Hashable | None, made_from: Entry | None, response: Response, head: bytes, rows: RecordedRows
    ) -> None:
        """Stores the response to a body, if the answer to its features (`made_from`) is in the cache.

        `head` are the headers of `response` that depend on the request. A response with other headers, or of another
        class, is not stored, because it consists of more than its body.
        """
        if body_key is None or made_from is None or not self._entries.admits(body_key):
            return
        if type(response) is not Response or response.status != 200 or response.headers != head:
            return
        header = self._header(rows.columns)
        if header is not None:
            inputs = rows.inputs if isinstance(rows.inputs, bytes) else encode(rows.inputs)
            cached = CachedResponse(response.body, response.content_type, header, inputs, rows.scores)
            self._entries.put(body_key, cached, expires=made_from.expires)

    def columns(self, cached: CachedResponse) -> Sequence[str] | None:
        """Returns the column names of its rows."""
        return self._headers[cached.header]

    def _header(self, columns: Sequence[str] | None) -> int | None:
        for at, known in enumerate(self._headers):
            if known is columns or known == columns:
                return at
        if len(self._headers) == _MOST_HEADERS:
            return None
        self._headers.append(columns)
        return len(self._headers) - 1
