"""The client on a real API server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clusters import Cluster as Lab
from clusters import eventually
from relays import as_bearer, relayed

from serinus.core.errors import NotFound, Refused, Unavailable
from serinus.targets.kubernetes.cluster import (
    Cluster,
    Conflict,
    Denied,
    Mirror,
    NotAllowed,
    QuotaExceeded,
    Unauthorised,
)
from serinus.targets.kubernetes.cluster.kinds import CONFIG_MAP, DEPLOYMENT, NAMESPACE, POD

HERE = {"serinus/test": "client"}


@pytest.fixture(scope="module")
def client(cluster: Lab) -> Iterator[Cluster]:
    made = Cluster.connected(cluster.kubeconfig)
    yield made
    made.close()


def config_map(namespace: str, name: str, version: str | None = None, **data: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "labels": HERE}
    if version is not None:
        metadata["resourceVersion"] = version
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def names(found: Any) -> set[str]:
    return {one["metadata"]["name"] for one in found}


def test_an_object_is_applied_read_changed_and_deleted(client: Cluster, namespace: str) -> None:
    assert client.find(CONFIG_MAP, "life", namespace) is None
    assert client.apply(config_map(namespace, "life", a="1", b="2"))["data"] == {"a": "1", "b": "2"}
    assert client.apply(config_map(namespace, "life", a="3"))["data"] == {"a": "3"}
    assert client.merge(CONFIG_MAP, "life", namespace, {"data": {"c": "4"}})["data"] == {"a": "3", "c": "4"}
    assert client.apply(config_map(namespace, "life", a="5"))["data"] == {"a": "5", "c": "4"}
    assert client.get(CONFIG_MAP, "life", namespace)["data"] == {"a": "5", "c": "4"}
    assert client.delete(CONFIG_MAP, "life", namespace) is True
    assert client.delete(CONFIG_MAP, "life", namespace) is False
    with pytest.raises(NotFound, match="'life'"):
        client.get(CONFIG_MAP, "life", namespace)


def test_a_dry_run_changes_nothing(client: Cluster, namespace: str) -> None:
    assert client.apply(config_map(namespace, "dry", a="1"), dry_run=True)["data"] == {"a": "1"}
    assert client.find(CONFIG_MAP, "dry", namespace) is None


def test_objects_are_listed_by_labels_and_fields(client: Cluster, namespace: str) -> None:
    for number in range(3):
        client.apply(config_map(namespace, f"listed-{number}"))
    assert {"listed-0", "listed-1", "listed-2"} <= names(client.list(CONFIG_MAP, namespace, labels=HERE).items)
    assert client.list(CONFIG_MAP, namespace, labels={"serinus/test": "other"}).items == ()
    one = client.list(CONFIG_MAP, namespace, fields={"metadata.name": "listed-1"})
    assert names(one.items) == {"listed-1"}
    assert int(one.version) > 0
    assert client.list(NAMESPACE).items


def test_only_the_latest_state_can_be_replaced(client: Cluster, namespace: str) -> None:
    made = client.create(config_map(namespace, "versions", a="1"))
    with pytest.raises(Conflict):
        client.create(config_map(namespace, "versions", a="1"))
    first = made["metadata"]["resourceVersion"]
    client.replace(config_map(namespace, "versions", first, a="2"))
    with pytest.raises(Conflict, match="has changed meanwhile"):
        client.replace(config_map(namespace, "versions", first, a="3"))
    assert client.get(CONFIG_MAP, "versions", namespace)["data"] == {"a": "2"}
    applied = client.apply(config_map(namespace, "applied", a="1"))["metadata"]["resourceVersion"]
    client.apply(config_map(namespace, "applied", applied, a="2"))
    with pytest.raises(Conflict, match="has changed meanwhile"):
        client.apply(config_map(namespace, "applied", applied, a="3"))


def test_a_field_of_another_manager_is_named_and_taken_only_by_force(
    client: Cluster, cluster: Lab, namespace: str
) -> None:
    document = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"owned"},"data":{"a":"1","b":"1"}}'
    command = ("apply", "--server-side", "--field-manager=argocd-controller", f"--namespace={namespace}")
    cluster.kubectl(*command, "--filename=-", given=document)
    with pytest.raises(Conflict, match="belong to argocd-controller") as raised:
        client.apply(config_map(namespace, "owned", a="2"))
    assert raised.value.fields == (".data.a",)
    assert client.apply(config_map(namespace, "owned", a="2"), force=True)["data"] == {"a": "2", "b": "1"}


def test_what_the_api_server_would_never_take_is_refused(client: Cluster, namespace: str) -> None:
    with pytest.raises(Refused, match="Invalid value"):
        client.apply(config_map(namespace, "odd", **{"not a key": "1"}))
    unknown = {**config_map(namespace, "odd"), "dat": {}}
    with pytest.raises(Refused, match="dat"):
        client.apply(unknown)


def test_a_namespace_that_is_missing_is_named(client: Cluster) -> None:
    with pytest.raises(Unavailable, match="no namespace 'never-made'"):
        client.apply(config_map("never-made", "x"))


def test_a_token_that_nobody_knows_is_not_accepted(cluster: Lab, namespace: str, tmp_path: Path) -> None:
    stranger = Cluster.connected(as_bearer(cluster.kubeconfig, "nonsense", tmp_path))
    with pytest.raises(Unauthorised, match="does not accept these credentials"):
        stranger.list(POD, namespace)
    with pytest.raises(Unauthorised):
        next(stranger.watch(POD, namespace, "1"))
    stranger.close()


def test_a_right_that_is_missing_is_named(cluster: Lab, namespace: str, tmp_path: Path) -> None:
    token = cluster.kubectl("create", "token", "default", f"--namespace={namespace}").strip()
    nobody = Cluster.connected(as_bearer(cluster.kubeconfig, token, tmp_path))
    with pytest.raises(NotAllowed, match=r"'list' on 'deployments\.apps'"):
        nobody.list(DEPLOYMENT, namespace)
    with pytest.raises(NotAllowed, match="'patch' on 'configmaps'") as raised:
        nobody.apply(config_map(namespace, "x"))
    assert token not in str(raised.value)
    with pytest.raises(NotAllowed, match="'watch' on 'pods'"):
        next(nobody.watch(POD, namespace, "1"))
    nobody.close()


def test_a_quota_that_is_used_up_is_named(client: Cluster, cluster: Lab, namespace: str) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}}
    cluster.apply(namespace, {**quota, "spec": {"hard": {"count/leases.coordination.k8s.io": "0"}}})

    def refused() -> bool:
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
        try:
            client.apply({**lease, "metadata": {"name": "one-more", "namespace": namespace}, "spec": {}}, dry_run=True)
        except QuotaExceeded as error:
            return "'few'" in str(error) and "leases" in str(error)
        return False

    eventually("the quota is in force", refused)


def test_a_policy_that_refuses_is_named(client: Cluster, cluster: Lab, namespace: str) -> None:
    name = f"no-{namespace}"
    api = "admissionregistration.k8s.io/v1"
    rules = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}]
    condition = "!object.metadata.name.startsWith('forbidden')"
    validation = {"expression": condition, "message": "that name is taken"}
    spec = {"matchConstraints": {"resourceRules": rules}, "validations": [validation]}
    bound = {"policyName": name, "validationActions": ["Deny"]}
    within = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
    metadata = {"name": name}
    cluster.apply(
        "default",
        {"apiVersion": api, "kind": "ValidatingAdmissionPolicy", "metadata": metadata, "spec": spec},
        {
            "apiVersion": api,
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": metadata,
            "spec": {**bound, "matchResources": within},
        },
    )
    try:

        def refused() -> bool:
            try:
                client.apply(config_map(namespace, "forbidden"), dry_run=True)
            except Denied as error:
                return name in str(error) and "that name is taken" in str(error)
            return False

        eventually("the policy is in force", refused)
    finally:
        for kind in ("validatingadmissionpolicybinding", "validatingadmissionpolicy"):
            cluster.kubectl("delete", kind, name)


def test_a_mirror_follows_what_changes(client: Cluster, namespace: str) -> None:
    told: list[int] = []
    mirror = Mirror(client, CONFIG_MAP, namespace, labels={"serinus/test": "mirror"}, changed=lambda: told.append(1))
    mirror.start()
    assert mirror.listed(30)
    assert mirror.objects() == {}
    made = config_map(namespace, "mirrored", a="1")
    made["metadata"]["labels"] = {"serinus/test": "mirror"}
    client.apply(made)
    eventually("it is seen", lambda: "mirrored" in mirror.objects())
    client.apply({**made, "data": {"a": "2"}})
    eventually("its change is seen", lambda: mirror.objects()["mirrored"]["data"] == {"a": "2"})
    client.delete(CONFIG_MAP, "mirrored", namespace)
    eventually("its end is seen", lambda: mirror.objects() == {})
    assert len(told) >= 4
    mirror.close()


def test_a_mirror_knows_at_once_what_this_process_has_done(client: Cluster, namespace: str) -> None:
    labels = {"serinus/test": "own"}
    mirror = Mirror(client, CONFIG_MAP, namespace, labels=labels)
    mirror.start()
    assert mirror.listed(30)
    made = config_map(namespace, "own", a="1")
    made["metadata"] |= {"labels": labels, "finalizers": ["serinus/test"]}
    mirror.put(client.apply(made))
    assert mirror.objects()["own"]["data"] == {"a": "1"}
    client.delete(CONFIG_MAP, "own", namespace)
    mirror.drop("own")
    assert mirror.objects() == {}
    # It is still there, and says so once more while it goes.
    client.merge(CONFIG_MAP, "own", namespace, {"data": {"a": "2"}})
    client.merge(CONFIG_MAP, "own", namespace, {"metadata": {"finalizers": None}})
    eventually("it is gone", lambda: client.find(CONFIG_MAP, "own", namespace) is None)
    mirror.put(client.apply({**made, "metadata": {**made["metadata"], "finalizers": []}}))
    eventually("another of its name is seen", lambda: mirror.objects()["own"]["data"] == {"a": "1"})
    mirror.close()


def test_a_mirror_goes_on_when_the_api_server_is_back(cluster: Lab, namespace: str, tmp_path: Path) -> None:
    labels = {"serinus/test": "cut"}

    def made(name: str) -> dict[str, Any]:
        one = config_map(namespace, name)
        one["metadata"]["labels"] = labels
        return one

    with relayed(cluster.kubeconfig, tmp_path) as (relay, file):
        straight, around = Cluster.connected(cluster.kubeconfig), Cluster.connected(file)
        straight.apply(made("before"))
        mirror = Mirror(around, CONFIG_MAP, namespace, labels=labels, stale=1.0)
        patient = Mirror(around, CONFIG_MAP, namespace, labels=labels, stale=float("inf"))
        for one in (mirror, patient):
            one.start()
            assert one.listed(30)
            assert names(one.objects().values()) == {"before"}
        relay.cut()
        straight.delete(CONFIG_MAP, "before", namespace)
        straight.apply(made("after"))

        def is_stale() -> bool:
            try:
                mirror.objects()
            except Unavailable as error:
                return "does not answer" in str(error)
            return False

        eventually("what was seen is too old", is_stale)
        assert names(patient.objects().values()) == {"before"}
        relay.mend()
        eventually("it goes on", lambda: set(patient.objects()) == {"after"})
        eventually("this one too", lambda: not is_stale())
        assert set(mirror.objects()) == {"after"}
        for one in (mirror, patient):
            one.close()
        for client in (straight, around):
            client.close()
