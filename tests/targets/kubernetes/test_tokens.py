"""Who a token of a pod belongs to. The answers of the API server are those of Kubernetes 1.37."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from api_server import cluster_of, not_found

from serinus.core.errors import Unavailable
from serinus.core.ports import Writer
from serinus.targets.kubernetes.manifests import object_name
from serinus.targets.kubernetes.manifests.names import AUDIENCE
from serinus.targets.kubernetes.manifests.placed import RELEASE
from serinus.targets.kubernetes.tokens import ClusterWriters

LONG = f"{'a-model-' * 9}7-3f9a2c"
"""An id that is too long for the name of a Service."""


class ApiServer:
    """Answers reviews with `status`, and knows one Deployment."""

    def __init__(self, status: dict[str, Any]) -> None:
        self.status = status
        self.asked: list[dict[str, Any]] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/apis/authentication.k8s.io/v1/tokenreviews":
            self.asked.append(json.loads(request.content))
            return httpx2.Response(201, json={**self.asked[-1], "status": self.status})
        if request.url.path == f"/apis/apps/v1/namespaces/serinus/deployments/{object_name(LONG)}":
            annotations = {RELEASE: json.dumps({"id": LONG})}
            return httpx2.Response(200, json={"metadata": {"name": object_name(LONG), "annotations": annotations}})
        return not_found()


def writers(server: Any) -> ClusterWriters:
    return ClusterWriters(cluster_of(server), "serinus", ("serinus-system", "serinus-gateway"))


def accepted(account: str, **changes: Any) -> dict[str, Any]:
    extra = {"authentication.kubernetes.io/pod-uid": ["uid-1"], "authentication.kubernetes.io/pod-name": ["p"]}
    user = {"username": f"system:serviceaccount:{account}", "extra": extra}
    return {"authenticated": True, "audiences": [AUDIENCE], "user": user, **changes}


@pytest.mark.parametrize(
    ("account", "owner"),
    [
        ("serinus:card-fraud-7-3f9a2c", Writer(release="card-fraud-7-3f9a2c", holder="uid-1")),
        (f"serinus:{object_name(LONG)}", Writer(release=LONG, holder="uid-1")),
        ("serinus-system:serinus-gateway", Writer(gateway="serinus-gateway", holder="uid-1")),
        # Another namespace, and a made name that no release has.
        ("default:card-fraud-7-3f9a2c", None),
        ("serinus:model-x00000000", None),
    ],
)
def test_the_service_account_says_whose_a_token_is(account: str, owner: Writer | None) -> None:
    server = ApiServer(accepted(account))
    assert writers(server).owner("a token") == owner
    assert server.asked[0]["spec"] == {"audiences": [AUDIENCE], "token": "a token"}


@pytest.mark.parametrize(
    "status",
    [
        {},
        {"authenticated": False, "error": "expired"},
        accepted("serinus:card-fraud-7-3f9a2c", authenticated=False),
        # An API server that ignores audiences, a token for another one, and one that no pod was given.
        accepted("serinus:card-fraud-7-3f9a2c", audiences=[]),
        accepted("serinus:card-fraud-7-3f9a2c", audiences=["https://kubernetes.default.svc"]),
        accepted("serinus:card-fraud-7-3f9a2c", user={"username": "system:serviceaccount:serinus:card-fraud-7-3f9a2c"}),
        accepted("serinus:x", user={"username": "admin", "extra": {"authentication.kubernetes.io/pod-uid": ["u"]}}),
    ],
)
def test_a_token_that_is_not_the_collectors_belongs_to_nobody(status: dict[str, Any]) -> None:
    assert writers(ApiServer(status)).owner("a token") is None


def test_without_the_api_server_nobody_is_turned_away() -> None:
    def away(_: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused")

    with pytest.raises(Unavailable):
        writers(away).owner("a token")
