"""Where predictions are asked for, and by which protocol."""

from __future__ import annotations

from typing import Any, Callable, Protocol, Sequence

from serinus_runtime import grpc
from serinus_runtime.http1 import Request
from serinus_runtime.invocations import Invocations
from serinus_runtime.layouts import Layouts
from serinus_runtime.oip import Asked, OpenInference
from serinus_runtime.outputs import Output
from serinus_runtime.responses import Response
from serinus_runtime.signature import Signature


class Scoring(Protocol):
    """One protocol's way to ask and to answer."""

    exact: bool

    def parse(self, request: Request) -> Asked: ...
    def reply(self, result: Any, outputs: Sequence[Output], asked: Asked, head: bytes) -> Response: ...
    def fallback(self, score: float, rows: int, name: str, reason: str, asked: Asked, head: bytes) -> Response: ...
    def error(self, status: int, message: str, head: bytes) -> Response: ...


Around = Callable[[Output, Asked], "tuple[bytes, bytes] | None"]


class Route:
    """Where predictions are asked for. `around`, `layouts`: of the short way, where the protocol has one."""

    __slots__ = ("around", "layouts", "scoring")

    def __init__(self, scoring: Scoring, around: Around | None = None, columns: Sequence[str] | None = None) -> None:
        self.scoring = scoring
        self.around = around
        self.layouts = None if around is None else Layouts(columns)


def routes_of(model: str, version: str, signature: Signature) -> dict[bytes, Route]:
    """By their paths, for one model."""
    names = [column.name for column in signature.columns]
    columns = None if None in names or not names else tuple([column.label for column in signature.columns])
    inference = OpenInference(model, version, signature.params)
    invocations = Invocations(signature)
    open_inference = Route(inference, inference.around, columns)
    mlflow = Route(invocations, invocations.around, columns)
    paths = {
        f"/v2/models/{model}/infer": open_inference,
        f"/v2/models/{model}/versions/{version}/infer": open_inference,
        f"/models/{model}/invocations": mlflow,
        "/invocations": mlflow,
        f"{grpc.SERVICE}/ModelInfer": Route(grpc.GrpcInference(model, version, signature.params)),
    }
    return {path.encode(): route for path, route in paths.items()}
