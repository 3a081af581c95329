"""The paths and protocols of predictions."""

from __future__ import annotations

from typing import Any, Callable, Protocol, Sequence

from serinus_runtime.artifact.signature import Signature
from serinus_runtime.base.messages import Request, Response
from serinus_runtime.protocols import grpc
from serinus_runtime.protocols.invocations import Invocations
from serinus_runtime.protocols.oip import Asked, OpenInference
from serinus_runtime.serving.layouts import Layouts
from serinus_runtime.values.outputs import Output


class Scoring(Protocol):
    """The requests and responses of one protocol."""

    exact: bool

    def parse(self, request: Request) -> Asked:
        """Parses a request. Raises RequestError."""

    def reply(self, result: Any, outputs: Sequence[Output], asked: Asked, head: bytes) -> Response:
        """Returns the response to a request."""

    def fallback(self, output: Output, reason: str, asked: Asked, head: bytes) -> Response:
        """Returns a response with the fallback score."""

    def error(self, status: int, message: str, head: bytes) -> Response:
        """Returns an error response."""


MODEL_INFER = f"{grpc.SERVICE}/ModelInfer".encode()
Around = Callable[[Output, Asked], "tuple[bytes, bytes] | None"]


class Route:
    """A path for predictions. `around` and `layouts` belong to the fast path, where the protocol has one."""

    __slots__ = ("around", "layouts", "scoring")

    def __init__(self, scoring: Scoring, around: Around | None = None, columns: Sequence[str] | None = None) -> None:
        self.scoring = scoring
        self.around = around
        self.layouts = None if around is None else Layouts(columns)


def routes_of(model: str, version: str, signature: Signature, protocols: Sequence[str]) -> dict[bytes, Route]:
    """Returns the routes of a model that is served by `protocols`, by path."""
    names = [column.name for column in signature.columns]
    columns = None if None in names or not names else tuple([column.label for column in signature.columns])
    inference = OpenInference(model, version, signature.params)
    invocations = Invocations(signature)
    open_inference = Route(inference, inference.around, columns)
    mlflow = Route(invocations, invocations.around, columns)
    routes: dict[str, Route] = {}
    if "open-inference" in protocols:
        routes.update(dict.fromkeys(_infer_paths(model, version), open_inference))
        routes[MODEL_INFER.decode()] = Route(grpc.GrpcInference(model, version, signature.params))
    if "invocations" in protocols:
        routes.update(dict.fromkeys(_invocation_paths(model), mlflow))
    return {path.encode(): route for path, route in routes.items()}


def unserved(model: str, version: str, protocols: Sequence[str]) -> dict[str, str]:
    """Returns an error text for each path that the model has in other protocols only."""
    inference = f"the Open Inference Protocol, by `serving.protocols`: ask at /models/{model}/invocations"
    invocations = f"MLflow's scoring protocol, by `serving.protocols`: ask at /v2/models/{model}/infer"
    said = {}
    if "open-inference" not in protocols:
        paths = [*_infer_paths(model, version), MODEL_INFER.decode()]
        said.update(dict.fromkeys(paths, f"this model is not served by {inference}"))
    if "invocations" not in protocols:
        said.update(dict.fromkeys(_invocation_paths(model), f"this model is not served by {invocations}"))
    return said


def _infer_paths(model: str, version: str) -> list[str]:
    return [f"/v2/models/{model}/infer", f"/v2/models/{model}/versions/{version}/infer"]


def _invocation_paths(model: str) -> list[str]:
    return [f"/models/{model}/invocations", "/invocations"]
