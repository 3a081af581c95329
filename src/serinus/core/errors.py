"""The exceptions of Serinus.

    SerinusError                 an error with a message and a hint for people
    ├── PermanentError           another attempt would not help
    │   ├── InvalidInput         the caller's mistake (HTTP 422, exit 2 where it is usage)
    │   ├── NotFound             no such model, version, release, rollout (404)
    │   ├── Refused              against a rule or the present state (409)
    │   ├── Forbidden            the token's role does not allow it (403)
    │   └── Unbuildable          the artifact or its environment cannot be made to work
    └── TemporaryError           another attempt may succeed after `delay` seconds (503)
        ├── Unavailable          a component that Serinus depends on does not answer
        └── Superseded           another control plane decides

Only `api` maps them to HTTP statuses.
"""

from __future__ import annotations

from serinus.core.text import fit


class SerinusError(Exception):
    """An error whose text is meant for people: `message` says what is wrong and where, `hint` what to do next.

    The message never holds input values, tokens or secrets. Text that it quotes from a model or a tool is stripped of
    control characters and credentials.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.message, self.hint = fit(message), fit(hint)
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class PermanentError(SerinusError):
    """Another attempt would not help."""


class InvalidInput(PermanentError):
    """The caller's mistake, such as a wrong field or an unknown word."""


class NotFound(PermanentError):
    """There is no such model, version, release or rollout."""


class Refused(PermanentError):
    """The request is against a rule or the present state."""


class Forbidden(PermanentError):
    """The role of the token does not allow the act."""


class Unbuildable(PermanentError):
    """The artifact or its environment cannot be made to work as it is."""


class TemporaryError(SerinusError):
    """Another attempt may succeed after `delay` seconds."""

    def __init__(self, message: str, *, hint: str = "", delay: float = 5.0) -> None:
        super().__init__(message, hint=hint)
        self.delay = delay


class Unavailable(TemporaryError):
    """A component that Serinus depends on (registry, router, host, store) does not answer."""


class Superseded(TemporaryError):
    """Another control plane decides, or none does. This one may not act."""
