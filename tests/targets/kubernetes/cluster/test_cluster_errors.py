"""What the API server refuses, in words. The answers are those of Kubernetes 1.37."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import httpx2
import pytest
from api_server import cluster_of

from serinus.core.errors import InvalidInput, NotFound, Refused, SerinusError, Unavailable
from serinus.targets.kubernetes.cluster import (
    Cluster,
    Conflict,
    Denied,
    Expired,
    NotAllowed,
    QuotaExceeded,
    Unauthorised,
    kinds,
)

TOKEN = "eyJhbGciOiJSUzI1NiJ9.secret.token"
MANIFEST = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "fraud-7-3f9a2c", "namespace": "serinus"},
}


def cluster(answer: Callable[[httpx2.Request], httpx2.Response]) -> Cluster:
    return cluster_of(answer, TOKEN)


def status(code: int, message: str, reason: str = "", details: Mapping[str, Any] | None = None) -> httpx2.Response:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message}
    return httpx2.Response(code, json={**body, "reason": reason, "details": details or {}})


def applied(code: int, message: str, reason: str = "", details: Mapping[str, Any] | None = None) -> SerinusError:
    with pytest.raises(SerinusError) as raised:
        cluster(lambda _: status(code, message, reason, details)).apply(MANIFEST)
    assert TOKEN not in str(raised.value)
    return raised.value


CONFLICT = 'Apply failed with 1 conflict: conflict with "kubectl-edit" using apps/v1: .spec.paused'
CAUSE = {
    "reason": "FieldManagerConflict",
    "message": 'conflict with "kubectl-edit" using apps/v1 at 2026-11-29T10:00:00Z',
    "field": ".spec.paused",
}
QUOTA = 'pods "fraud" is forbidden: exceeded quota: team, used: limits.cpu=7, limited: limits.cpu=8'
POD_SECURITY = 'pods "fraud" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false'
POLICY = (
    "deployments.apps \"fraud\" is forbidden: ValidatingAdmissionPolicy 'images' with binding 'all' denied request: "
    "only images of our registry"
)


@pytest.mark.parametrize(
    ("code", "message", "kind", "words"),
    [
        (401, "Unauthorized", Unauthorised, "does not accept these credentials"),
        (403, 'deployments.apps is forbidden: User "x" cannot patch', NotAllowed, "patch deployments.apps"),
        (403, QUOTA, QuotaExceeded, "'team' of the namespace 'serinus' is used up"),
        (403, POD_SECURITY, Denied, "allowPrivilegeEscalation"),
        (422, POLICY, Denied, "'images' of the cluster does not allow"),
        (400, 'admission webhook "sign.example.org" denied the request: no signature', Denied, "no signature"),
        (
            500,
            'Internal error occurred: failed calling webhook "sign.example.org": connection refused',
            Denied,
            "'sign.example.org' of the cluster does not answer",
        ),
        (409, "the object has been modified; please apply your changes", Conflict, "has changed meanwhile"),
        (410, "too old resource version: 1 (2)", Expired, "no history"),
        (422, "Deployment.apps is invalid: spec.selector: field is immutable", Refused, "field is immutable"),
        (500, "failed to create typed patch object (a/b; /v1): .dat: field not declared", Refused, ".dat: field not"),
        (429, "too many requests", Unavailable, "too busy"),
        (500, "etcdserver: request timed out", Unavailable, "request timed out"),
        (503, "", Unavailable, "status 503"),
    ],
)
def test_each_refusal_has_its_words(code: int, message: str, kind: type[SerinusError], words: str) -> None:
    error = applied(code, message)
    assert type(error) is kind
    assert words in str(error)


def test_a_missing_right_is_named_as_a_role_names_it() -> None:
    error = applied(403, 'deployments.apps "fraud" is forbidden: User "x" cannot patch resource "deployments"')
    assert "'patch' on 'deployments.apps'" in error.hint


def test_the_owner_of_a_field_and_the_field_are_named() -> None:
    error = applied(409, CONFLICT, "Conflict", {"causes": [CAUSE]})
    assert isinstance(error, Conflict)
    assert "belong to kubectl-edit: .spec.paused" in error.message
    assert error.fields == (".spec.paused",)


def test_a_namespace_that_is_missing_can_be_made_while_a_rollout_waits() -> None:
    error = applied(404, 'namespaces "serinus" not found', "NotFound", {"name": "serinus", "kind": "namespaces"})
    assert isinstance(error, Unavailable)
    assert "kubectl create namespace serinus" in error.hint


def test_an_object_that_is_missing_is_not_found() -> None:
    missing = status(404, 'deployments.apps "f" not found', "NotFound", {"name": "f", "kind": "deployments"})
    asked = cluster(lambda _: missing)
    with pytest.raises(NotFound, match=r"no deployments\.apps 'f' in the namespace 'serinus'"):
        asked.get(kinds.DEPLOYMENT, "f", "serinus")
    assert asked.find(kinds.DEPLOYMENT, "f", "serinus") is None
    assert asked.delete(kinds.DEPLOYMENT, "f", "serinus") is False


@pytest.mark.parametrize("headers", [{}, {"content-type": "text/html"}, {"content-type": "application/json"}])
def test_an_error_that_is_not_the_api_servers_is_told_by_its_status(headers: Mapping[str, str]) -> None:
    asked = cluster(lambda _: httpx2.Response(502, content=b"<html>bad gateway", headers=dict(headers)))
    with pytest.raises(Unavailable, match="status 502"):
        asked.list(kinds.POD, "serinus")


def test_an_answer_that_is_no_json_is_said() -> None:
    asked = cluster(lambda _: httpx2.Response(200, content=b"<html>sign in"))
    with pytest.raises(Unavailable, match="did not answer with JSON"):
        asked.list(kinds.POD, "serinus")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (httpx2.ConnectError("[Errno 111] Connection refused"), "Connection refused"),
        (httpx2.ReadTimeout("timed out"), "did not answer in time"),
        (httpx2.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate has expired"), "certificate has expired"),
        (httpx2.RemoteProtocolError("Server disconnected"), "Server disconnected"),
    ],
)
def test_an_api_server_that_is_away_is_unavailable_with_its_address(error: Exception, words: str) -> None:
    def fails(_: httpx2.Request) -> httpx2.Response:
        raise error

    with pytest.raises(Unavailable, match=r"at https://10\.0\.0\.1:6443 does not answer") as raised:
        cluster(fails).list(kinds.POD, "serinus")
    assert words in str(raised.value)
    with pytest.raises(Unavailable, match="does not answer"):
        next(cluster(fails).watch(kinds.POD, "serinus", "1"))


@pytest.mark.parametrize(("code", "kind"), [(410, Expired), (403, NotAllowed), (401, Unauthorised)])
def test_a_watch_is_refused_in_the_same_words(code: int, kind: type[SerinusError]) -> None:
    with pytest.raises(kind):
        next(cluster(lambda _: status(code, "no")).watch(kinds.POD, "serinus", "1"))


def test_a_watch_whose_history_has_gone_says_so() -> None:
    gone = {
        "kind": "Status",
        "apiVersion": "v1",
        "code": 410,
        "message": "too old resource version",
        "status": "Failure",
    }
    line = json.dumps({"type": "ERROR", "object": gone}).encode() + b"\n"
    with pytest.raises(Expired):
        next(cluster(lambda _: httpx2.Response(200, content=line)).watch(kinds.POD, "serinus", "1"))


def test_what_no_code_of_ours_writes_is_refused_before_it_is_sent() -> None:
    with pytest.raises(InvalidInput, match="CronJob"):
        cluster(lambda _: status(500, "never asked")).apply({"apiVersion": "batch/v1", "kind": "CronJob"})


def test_an_apply_names_its_manager_and_forces_nothing_unless_it_is_told_to() -> None:
    seen: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(200, json=json.loads(request.content))

    asked = cluster(answer)
    assert asked.apply(MANIFEST) == MANIFEST
    asked.apply(MANIFEST, force=True)
    first, second = (dict(request.url.params) for request in seen)
    assert first == {"fieldManager": "serinus"}
    assert second == {"fieldManager": "serinus", "force": "true"}
    assert {request.headers["content-type"] for request in seen} == {"application/apply-patch+yaml"}
    assert seen[0].url.path == "/apis/apps/v1/namespaces/serinus/deployments/fraud-7-3f9a2c"


def test_a_list_is_read_page_by_page() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        more = "continue" not in request.url.params
        names = ["a", "b"] if more else ["c"]
        metadata = {"resourceVersion": "7", **({"continue": "next"} if more else {})}
        items = [{"metadata": {"name": name}} for name in names]
        assert request.url.params["labelSelector"] == "serinus/role=release"
        assert request.url.params["fieldSelector"] == "metadata.name=a"
        return httpx2.Response(200, json={"metadata": metadata, "items": items})

    found = cluster(answer).list(
        kinds.POD, "serinus", labels={"serinus/role": "release"}, fields={"metadata.name": "a"}
    )
    assert [one["metadata"]["name"] for one in found.items] == ["a", "b", "c"]
    assert found.version == "7"


def test_a_list_of_nothing_has_a_version() -> None:
    empty = httpx2.Response(200, json={"metadata": {"resourceVersion": "9"}, "items": []})
    assert cluster(lambda _: empty).list(kinds.POD, "serinus").version == "9"


def test_a_list_of_what_is_measured_has_none() -> None:
    measured = httpx2.Response(200, json={"metadata": {}, "items": [{"metadata": {"name": "p"}}]})
    found = cluster(lambda _: measured).list(kinds.POD_METRICS, "serinus")
    assert (found.version, len(found.items)) == ("", 1)
