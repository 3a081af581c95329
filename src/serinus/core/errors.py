"""The exception tree.

    SerinusError                 what a person may read: message, and what to do next
    ├── PermanentError           trying again changes nothing
    │   ├── InvalidInput         the caller's mistake (HTTP 422, exit 2 where it is usage)
    │   ├── NotFound             no such model, version, release, rollout (404)
    │   ├── Refused              against a rule or the present state (409)
    │   ├── Forbidden            the token's role does not allow it (403)
    │   └── Unbuildable          the artifact or its environment cannot be made to work
    └── TemporaryError           worth another try after `delay` seconds (503)
        └── Unavailable          a part that Serinus stands on does not answer

HTTP statuses are mapped in `api` only.
"""

from __future__ import annotations

from serinus.core.text import fit


class SerinusError(Exception):
    """An error whose text is meant to be read: what, where, and the next step.

    `message` never holds input values, tokens or secrets. What it quotes of a model or a tool is made
    harmless for a terminal, and loses its credentials.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.message, self.hint = fit(message), fit(hint)
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class PermanentError(SerinusError):
    """Trying again changes nothing."""


class InvalidInput(PermanentError):
    """The caller's mistake: a wrong field, an unknown word."""


class NotFound(PermanentError):
    """No such model, version, release or rollout."""


class Refused(PermanentError):
    """Against a rule, or against the present state."""


class Forbidden(PermanentError):
    """The token's role does not allow the act."""


class Unbuildable(PermanentError):
    """The artifact or its environment cannot be made to work as it is."""


class TemporaryError(SerinusError):
    """Worth another try after `delay` seconds."""

    def __init__(self, message: str, *, hint: str = "", delay: float = 5.0) -> None:
        super().__init__(message, hint=hint)
        self.delay = delay


class Unavailable(TemporaryError):
    """A part that Serinus stands on (registry, router, host, store) does not answer."""
