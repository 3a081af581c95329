"""The prediction records of one application."""

from __future__ import annotations

from time import time
from typing import Any, Callable, Sequence

from serinus_runtime.records.sender import Record
from serinus_runtime.serving.call import Call
from serinus_runtime.values.outputs import Scores


class Recorder:
    """Leaves a record of each request that came through the router: a gate's rows are not traffic."""

    def __init__(self, append: Callable[[Record], None] | None, full: Callable[[], bool] | None) -> None:
        """`append`: takes a record; None: nobody keeps them. `full`: whether a further one would be lost; None: none
        would."""
        self._append = append
        self._full = full

    def refuses(self, call: Call) -> bool:
        """Of a release that answers nothing whose record would be lost: whether this request's would be."""
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
        """`inputs`: the rows, or their JSON text. `fallback`: the scores that were answered in place of the model's.
        `code`: of the error. `cached`: the scores are the response cache's."""
        if self._append is None or call.split is None:
            return
        now = time()
        # In the order of `records.batches.FIELDS`. A plain tuple: one with names takes several times as long to make.
        self._append((
            now, call.id, call.entity, call.role, call.split, status, (now - call.start) * 1000, rows, scores, fallback,
            fallback is not None, code, cached, columns, inputs, call.prediction, call.caller,
        ))  # fmt: skip
