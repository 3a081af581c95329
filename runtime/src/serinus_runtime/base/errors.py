"""The exception tree of the runtime. No text holds a value that a caller sent, or what a model said of it.

RuntimeFailure
├── RequestError     the caller's fault: answered with its 4xx status, the connection goes on
├── ProtocolError    bytes that are not HTTP: answered, then the connection is closed
├── ModelFailure     the model's fault: answered with 500, or with the fallback score
└── StartFailure     the worker cannot start; reported to the host
"""

from __future__ import annotations


class RuntimeFailure(Exception):
    """`str()` is meant to be read."""


class RequestError(RuntimeFailure):
    """The caller's fault. `code` is the short word that goes into the prediction record."""

    def __init__(self, message: str, status: int = 400, code: str = "bad-request") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class ProtocolError(RuntimeFailure):
    """What comes next on the connection can no longer be told apart."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class ModelFailure(RuntimeFailure):
    """The model raised, or answered what cannot be an answer."""

    def __init__(self, message: str, code: str = "model-error") -> None:
        super().__init__(message)
        self.code = code


class StartFailure(RuntimeFailure):
    """The model, its environment or this machine does not let the worker start. `environment`: whether it might in
    another environment."""

    def __init__(self, message: str, *, environment: bool = True) -> None:
        super().__init__(message)
        self.environment = environment
