"""The exceptions of the runtime. Their messages contain no values of callers and no messages of models.

RuntimeFailure
├── RequestError     the caller's mistake: answered with a 4xx status, and the connection stays open
├── ProtocolError    bytes that are not HTTP: answered, and the connection is closed
├── ModelFailure     the model's failure: answered with 500 or the fallback score
└── StartFailure     the worker cannot start: reported to the host
"""

from __future__ import annotations


class RuntimeFailure(Exception):
    """An error whose `str()` is meant for people."""


class RequestError(RuntimeFailure):
    """The caller's mistake. `code` is the short name in the prediction record."""

    def __init__(self, message: str, status: int = 400, code: str = "bad-request") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class ProtocolError(RuntimeFailure):
    """The end of the request on the connection cannot be determined."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class ModelFailure(RuntimeFailure):
    """The model raised, or gave an invalid answer."""

    def __init__(self, message: str, code: str = "model-error") -> None:
        super().__init__(message)
        self.code = code


class StartFailure(RuntimeFailure):
    """The worker cannot start because of the model, its environment or the machine. `environment`: another environment
    might help."""

    def __init__(self, message: str, *, environment: bool = True) -> None:
        super().__init__(message)
        self.environment = environment
