"""The scorer, which sends requests to releases without the router."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from serinus.core.examination import Question
from serinus.core.release import Release


class Scorer(Protocol):
    """Sends requests to a placed release, without the router. Implementations: targets/local/host."""

    def score(self, endpoint: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], timeout: float) -> Scored:
        """Scores all `rows` in one request.

        Raises TemporaryError where there was no answer, and InvalidInput where the release refused the rows. The
        message is the release's, without values.
        """
        ...

    def ask(self, address: str, release: Release, protocol: str, question: Question, timeout: float) -> Replied:
        """Sends one request by `protocol` (`open-inference`, `invocations` or `grpc`) to the endpoint `address`.

        The address is the release's own or the one that `Router.probe` returned. Raises the same errors as `score`.
        """
        ...


class Replied(Protocol):
    """An answer: for each row all its values as JSON values, and its score. None stands for a score that is not a
    finite number."""

    @property
    def answers(self) -> Sequence[Sequence[Any]]:
        """All values of each row's answer."""

    @property
    def scores(self) -> Sequence[float | None]:
        """One score for each row."""

    @property
    def seconds(self) -> float:
        """The duration of the request."""


class Scored(Protocol):
    """An answer: one score for each row. None stands for a score that is not a finite number."""

    @property
    def scores(self) -> Sequence[float | None]:
        """One score for each row."""

    @property
    def seconds(self) -> float:
        """The duration of the request."""
