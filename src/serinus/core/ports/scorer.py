"""What asks a placed release, past the router."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from serinus.core.examination import Question
from serinus.core.release import Release


class Scorer(Protocol):
    """Asks a placed release, past the router. Implementations: targets/local/host."""

    def score(self, endpoint: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], timeout: float) -> Scored:
        """One request with all `rows`. Raises TemporaryError where there was no answer, InvalidInput where the
        release refused the rows (its words, without values)."""
        ...

    def ask(self, address: str, release: Release, protocol: str, question: Question, timeout: float) -> Replied:
        """One request by `protocol` (`open-inference`, `invocations` or `grpc`) to the endpoint `address`: the
        release's own, or what `Router.probe` returned. Errors as of `score`."""
        ...


class Replied(Protocol):
    """An answer, row by row: all its values as JSON has them, and the score (None for what is not a finite number)."""

    @property
    def answers(self) -> Sequence[Sequence[Any]]: ...
    @property
    def scores(self) -> Sequence[float | None]: ...
    @property
    def seconds(self) -> float: ...


class Scored(Protocol):
    """An answer: one score a row (None for what is not a finite number), and how long it took."""

    @property
    def scores(self) -> Sequence[float | None]: ...
    @property
    def seconds(self) -> float: ...
