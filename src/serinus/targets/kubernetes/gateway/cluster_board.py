"""The board in the API server: a Secret with what is published, and a Lease of each gateway with what it reports.

A Lease and not a field of the pod, because a gateway may write nothing else; it belongs to the pod, and goes with it.
That a gateway writes no other one's is the admission policy's work (`manifests.report_policy`).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from serinus.core.text import one_line
from serinus.targets.kubernetes.cluster import Cluster, Conflict, Mirror, Object
from serinus.targets.kubernetes.cluster.kinds import ENDPOINT_SLICE, LEASE, POD, SECRET
from serinus.targets.kubernetes.endpoints import service_of
from serinus.targets.kubernetes.gateway import slices
from serinus.targets.kubernetes.gateway.board import Stale, Stored
from serinus.targets.kubernetes.gateway.counting import Pod, Report
from serinus.targets.kubernetes.gateway.names import NAME, ROLE, ROLE_LABEL, SECRET_NAME
from serinus.targets.kubernetes.gateway.publication import Publication, Unreadable

SECRET_TYPE = "serinus/routing"
WANTED, NUMBER, TERM = "serinus/wanted", "serinus/number", "serinus/term"
RUNNING, REFUSED, TROUBLE, SEEN = "serinus/running", "serinus/refused", "serinus/trouble", "serinus/seen"
_LONGEST_TROUBLE = 500
_STALE = float("inf")
"""What a gateway has seen holds until it sees something else."""
_SECONDS = 30
"""That a report is said to hold, for whoever looks at the Lease."""


@dataclass(frozen=True, slots=True)
class Places:
    """`gateways`: the namespace of gateways; `models`: that of releases."""

    gateways: str
    models: str


class ClusterBoard:
    """Implements `board.Board`."""

    def __init__(self, cluster: Cluster, places: Places) -> None:
        self._cluster = cluster
        self._places = places

    def read(self) -> Stored | None:
        found = self._cluster.find(SECRET, SECRET_NAME, self._places.gateways)
        if found is None:
            return None
        return Stored(publication_of(found), found["metadata"]["resourceVersion"])

    def publish(self, publication: Publication, revision: str | None) -> Stored:
        manifest = secret_of(publication, self._places.gateways, revision)
        try:
            written = self._cluster.replace(manifest) if revision is not None else self._cluster.create(manifest)
        except Conflict as error:
            raise Stale from error
        return Stored(publication, written["metadata"]["resourceVersion"])

    def pods(self) -> Sequence[Pod]:
        found = self._cluster.list(POD, self._places.gateways, labels={ROLE_LABEL: ROLE})
        return [pod_of(one) for one in found.items]

    def reports(self) -> Sequence[Report]:
        found = self._cluster.list(LEASE, self._places.gateways, labels={ROLE_LABEL: ROLE})
        return [report_of(one) for one in found.items]

    def members(self, endpoints: Sequence[str]) -> Mapping[str, Sequence[str]]:
        asked = {service for endpoint in endpoints if (service := service_of(endpoint)) is not None}
        found: list[Object] = []
        for service in asked:
            labels = {slices.SERVICE_LABEL: service.name}
            found += self._cluster.list(ENDPOINT_SLICE, service.namespace, labels=labels).items
        return slices.members(endpoints, found)


class ClusterGatewayBoard:
    """Implements `board.GatewayBoard`."""

    def __init__(self, cluster: Cluster, places: Places) -> None:
        self._cluster = cluster
        self._places = places
        self._secrets: Mirror | None = None
        self._slices: Mirror | None = None

    def start(self, changed: Callable[[], None]) -> None:
        named = {"metadata.name": SECRET_NAME}
        gateways, models = self._places.gateways, self._places.models
        self._secrets = Mirror(self._cluster, SECRET, gateways, fields=named, changed=changed, stale=_STALE)
        self._slices = Mirror(self._cluster, ENDPOINT_SLICE, models, changed=changed, stale=_STALE)
        for mirror in (self._secrets, self._slices):
            mirror.start()

    def publication(self) -> Publication | None:
        found = _seen(self._secrets)
        return publication_of(found[0]) if found else None

    def slices(self) -> Sequence[Object] | None:
        return _seen(self._slices)

    def report(self, report: Report) -> None:
        self._cluster.apply(lease_of(report, self._places.gateways, datetime.now(UTC)), force=True)

    def close(self) -> None:
        for mirror in (self._secrets, self._slices):
            if mirror is not None:
                mirror.close()
        self._cluster.close()


def _seen(mirror: Mirror | None) -> Sequence[Object] | None:
    if mirror is None or not mirror.listed(0):
        return None
    return list(mirror.objects().values())


# --- objects ----------------------------------------------------------------------------------------------


def secret_of(publication: Publication, namespace: str, revision: str | None) -> Object:
    metadata: Object = {
        "name": SECRET_NAME,
        "namespace": namespace,
        "labels": {
            "app.kubernetes.io/name": "serinus",
            "app.kubernetes.io/component": ROLE,
            "app.kubernetes.io/managed-by": "serinus",
        },
        "annotations": {
            WANTED: publication.version,
            NUMBER: str(publication.number),
            TERM: str(publication.term),
        },
    }
    if revision is not None:
        metadata["resourceVersion"] = revision
    data = {version: base64.b64encode(document).decode() for version, document in publication.documents.items()}
    return {"apiVersion": "v1", "kind": "Secret", "type": SECRET_TYPE, "metadata": metadata, "data": data}


def publication_of(secret: Mapping[str, Any]) -> Publication:
    """Raises Unreadable: it is none, or names a document that it does not hold."""
    said = secret["metadata"].get("annotations") or {}
    version = said.get(WANTED, "")
    try:
        documents = {name: base64.b64decode(text, validate=True) for name, text in (secret.get("data") or {}).items()}
    except (binascii.Error, TypeError) as error:
        raise Unreadable(f"the Secret {SECRET_NAME} holds something else than documents") from error
    if version not in documents:
        raise Unreadable(f"the Secret {SECRET_NAME} does not hold the document that it names")
    return Publication(version, documents, _number(said.get(NUMBER)), _number(said.get(TERM)))


def lease_of(report: Report, namespace: str, now: datetime) -> Object:
    owner = {"apiVersion": "v1", "kind": "Pod", "name": report.pod, "uid": report.uid}
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": report.pod,
            "namespace": namespace,
            "labels": {ROLE_LABEL: ROLE},
            "annotations": {
                RUNNING: report.running,
                REFUSED: report.refused,
                TROUBLE: one_line(report.trouble)[:_LONGEST_TROUBLE],
                SEEN: str(report.seen),
            },
            "ownerReferences": [owner],
        },
        "spec": {
            "holderIdentity": report.uid,
            "leaseDurationSeconds": _SECONDS,
            "renewTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        },
    }


def report_of(lease: Mapping[str, Any]) -> Report:
    said = lease["metadata"].get("annotations") or {}
    return Report(
        pod=lease["metadata"]["name"],
        uid=str((lease.get("spec") or {}).get("holderIdentity", "")),
        running=str(said.get(RUNNING, "")),
        refused=str(said.get(REFUSED, "")),
        trouble=one_line(str(said.get(TROUBLE, ""))),
        seen=_number(said.get(SEEN)),
    )


def _number(text: object) -> int:
    """0: it is none, as of nobody."""
    return int(text) if isinstance(text, str) and text.isascii() and text.isdecimal() else 0


def pod_of(pod: Mapping[str, Any]) -> Pod:
    metadata, status = pod["metadata"], pod.get("status") or {}
    ready = any(one.get("type") == "Ready" and one.get("status") == "True" for one in status.get("conditions") or ())
    ended = status.get("phase") in ("Succeeded", "Failed")
    owners = metadata.get("ownerReferences") or ()
    return Pod(
        name=metadata["name"],
        uid=metadata["uid"],
        ready=ready,
        going=ended or metadata.get("deletionTimestamp") is not None,
        ours=any(_is_of_the_deployment(owner) for owner in owners),
    )


def _is_of_the_deployment(owner: Mapping[str, Any]) -> bool:
    """Deployments call their ReplicaSets so; who may make one in this namespace may change the Deployment as well."""
    name, dash, _ = str(owner.get("name")).rpartition("-")
    return bool(owner.get("controller")) and owner.get("kind") == "ReplicaSet" and dash == "-" and name == NAME
