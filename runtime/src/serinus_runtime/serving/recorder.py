"""The prediction records of an application."""

from __future__ import annotations

from time import time
from typing import Any, Callable, Sequence

from serinus_runtime.records.sender import Record
from serinus_runtime.serving.call import Call
from serinus_runtime.values.outputs import Scores


class Recorder:
    """Records each request that came through the router. Requests of gates are not traffic."""

    def __init__(self, append: Callable[[Record], None] | None, full: Callable[[], bool] | None) -> None:
        """`append` takes a record. None: records are not kept. `full` says whether a further one would be lost. None:
        none would."""
        self._append = append
        self._full = full

    def refuses(self, call: Call) -> bool:
        """Whether the request must be refused, because its record would be lost and the release is configured so."""
        return self._full is not None and call.split is not None and self._full()

    def keep(
        self,
        call: Call,
        status: int,
        rows: int = 0,
        *,
        columns: Sequence[str] | None = None,
        inputs: list[list[Any]] | bytes | None = None,
        scores: Scores | None = None,
        fallback: list[float] | None = None,
        code: str | None = None,
        cached: bool = False,
    ) -> None:
        """Records a request. `inputs` are the rows or their JSON text. `fallback` are the scores that were answered in
        place of the model's. `code` is that of an error. `cached`: the scores come from the response cache."""
        if self._append is None or call.split is None:
            return
        now = time()
        # In the order of `records.batches.FIELDS`. A named tuple would take several times as long to create.
        self._append((
            now, call.id, call.entity, call.role, call.split, status, (now - call.start) * 1000, rows, scores, fallback,
            fallback is not None, code, cached, columns, inputs, call.prediction, call.caller,
        ))  # fmt: skip
