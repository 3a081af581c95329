"""What a worker answers from memory: a request whose body came before, or whose features did."""

from __future__ import annotations

import json
from typing import Any, Callable, Hashable, List, Mapping, NamedTuple, Sequence

from serinus_runtime.artifact.signature import Signature
from serinus_runtime.base.config import Config
from serinus_runtime.base.errors import ModelFailure
from serinus_runtime.base.messages import Request, Response
from serinus_runtime.cache.keys import Canonical
from serinus_runtime.cache.storage import Cache, Entry, Witness
from serinus_runtime.model.model import Answer
from serinus_runtime.values.inputs import Bound
from serinus_runtime.values.outputs import encode
from serinus_runtime.values.predictions import write_predictions

_MOST_HEADERS = 64

Scores = List["float | None"]


def memory_of(config: Config, signature: Signature, say: Callable[[str], None]) -> Memory | None:
    """None: the release has no cache. One that is asked a row at a time, or whose rows belong together, answers
    differently in company, so that none of its answers is the one to keep; of one without a score it could not be
    noticed that it contradicts itself."""
    cache, settings = config.settings.cache, config.settings
    if cache is None or settings.one_at_a_time or settings.rows == "together" or not settings.scored:
        return None
    return Memory(Cache(cache.max_bytes, cache.ttl_seconds), Canonical(signature, config.release), say)


class Known(NamedTuple):
    """Under the key of features: the model's answer in plain values, and its scores."""

    answer: Answer
    scores: Scores


class Repeat(NamedTuple):
    """Under the key of a body: the whole answer, but for the headers that are the request's own, and what its record
    needs. `header`: which of the memory's headers has the names of the columns."""

    body: bytes
    content_type: bytes
    header: int
    inputs: bytes
    scores: Scores


class Memory:
    """The cache and its keys, of one release. Ends for good when the model contradicts itself."""

    def __init__(self, cache: Cache, canonical: Canonical, say: Callable[[str], None]) -> None:
        """`say`: into the release's log."""
        self._cache = cache
        self._canonical = canonical
        self._say = say
        self._witness = Witness()
        self._headers: list[Sequence[str] | None] = []
        """Kept once, since they weigh more than the numbers below them."""
        self.off = False

    def body_key(self, request: Request) -> Hashable | None:
        """None: this request must be read to know what it asks."""
        headers = request.headers
        if self.off or request.refusal is not None or b"content-encoding" in headers:
            return None
        described = (headers.get(b"content-type"), headers.get(b"inference-header-content-length"))
        return (request.target, *described, request.body)

    def repeat(self, key: Hashable) -> Repeat | None:
        entry = self._cache.get(key)
        return None if entry is None else entry.value

    def key(self, bound: Bound, params: Mapping[str, Any] | None) -> bytes | None:
        """None: these features are to be predicted, whatever was answered before."""
        return None if self.off else self._canonical.key(bound, params)

    def row_key(self, row: Sequence[Any]) -> bytes | None:
        """Of one row of all columns, in the signature's order."""
        return None if self.off else self._canonical.row_key(row)

    def known(self, key: Hashable) -> Entry | None:
        """Its value is a `Known`."""
        return self._cache.get(key)

    def keep(self, key: Hashable, answer: Answer, scores: Scores) -> Entry | None:
        """What the model has just answered; the entry, where the key has earned one."""
        if self._witness.contradicts(key, scores):
            self.off = True
            self._cache.clear()
            self._say("the model answered equal rows otherwise than before: its predictions are not cached any more\n")
            return None
        if not self._cache.admits(key):
            return None
        if any(output.problem for output in answer.outputs):
            return None
        # As JSON has it, which is how it is answered: a model's own arrays and frames have no known weight.
        try:
            plain = json.loads(write_predictions(answer.result))
        except ModelFailure:  # which a release that is served by tensors alone may answer
            return None
        return self._cache.put(key, Known(Answer(plain, answer.outputs), scores))

    def keep_repeat(
        self,
        key: Hashable | None,
        made_from: Entry | None,
        response: Response,
        head: bytes,
        columns: Sequence[str] | None,
        inputs: Sequence[Sequence[Any]] | bytes,
        scores: Scores,
    ) -> None:
        """What answers the same body from now on, if its features are remembered in `made_from`. `head`: the headers of
        `response` that are the request's own; a response with others, or of another class, is not kept: what is sent
        for it is more than its body. `columns`, `inputs`: for the record, the rows or their JSON text."""
        if key is None or made_from is None or not self._cache.admits(key):
            return
        if type(response) is not Response or response.status != 200 or response.headers != head:
            return
        header = self._header(columns)
        if header is not None:
            text = inputs if isinstance(inputs, bytes) else encode(inputs)
            repeat = Repeat(response.body, response.content_type, header, text, scores)
            self._cache.put(key, repeat, expires=made_from.expires)

    def columns(self, repeat: Repeat) -> Sequence[str] | None:
        """Names of its rows' columns."""
        return self._headers[repeat.header]

    def _header(self, columns: Sequence[str] | None) -> int | None:
        for at, known in enumerate(self._headers):
            if known is columns or known == columns:
                return at
        if len(self._headers) == _MOST_HEADERS:
            return None
        self._headers.append(columns)
        return len(self._headers) - 1
