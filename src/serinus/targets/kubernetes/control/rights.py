"""What the control plane may do in the cluster. `tests/targets/kubernetes/control/test_control_rights.py` compares it
with every call of the code.

The rights to install gateways are those on the objects that are installed, by name. Whoever makes a Role needs all that
the Role allows, so the rights of gateways are among them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serinus.targets.kubernetes.cluster import kinds
from serinus.targets.kubernetes.cluster.kinds import Kind, kind_of
from serinus.targets.kubernetes.distrusting import DISTRUSTED
from serinus.targets.kubernetes.gateway.manifests import all_of
from serinus.targets.kubernetes.gateway.names import NAME as GATEWAY
from serinus.targets.kubernetes.gateway.names import SECRET_NAME
from serinus.targets.kubernetes.gateway.settings import GatewaySettings
from serinus.targets.kubernetes.leading import NAME as LEASE_NAME
from serinus.targets.kubernetes.manifests import Collectors, collecting

_CONTROL, _RELEASES = "serinus-control-namespace", "serinus-releases-namespace"
"""Stand for the namespaces while manifests of gateways are looked at."""
_APPLY = ("create", "patch")
_WATCH = ("list", "watch")


@dataclass(frozen=True, slots=True)
class Right:
    """`names`: of the objects that it is about. Empty: all of the kind."""

    kind: Kind
    verbs: tuple[str, ...]
    names: tuple[str, ...] = ()
    subresource: str = ""

    @property
    def rule(self) -> dict[str, Any]:
        """As a Role has it."""
        resource = f"{self.kind.plural}/{self.subresource}" if self.subresource else self.kind.plural
        return {
            "apiGroups": [self.kind.group],
            **({"resourceNames": list(self.names)} if self.names else {}),
            "resources": [resource],
            "verbs": list(self.verbs),
        }


IN_RELEASES = (
    Right(kinds.DEPLOYMENT, ("get", *_WATCH)),
    Right(kinds.HORIZONTAL_POD_AUTOSCALER, (*_WATCH, "patch")),
    Right(kinds.POD, _WATCH),
    Right(kinds.POD, ("get",), subresource="log"),
    Right(kinds.EVENT, _WATCH),
    Right(kinds.SECRET, ("list", "create", "patch", "delete")),
    Right(kinds.SERVICE, ("get", "list")),
    Right(kinds.NETWORK_POLICY, ("list", *_APPLY)),
    Right(kinds.POD_DISRUPTION_BUDGET, ("list",)),
    Right(kinds.SERVICE_ACCOUNT, ("list",)),
    Right(kinds.CONFIG_MAP, ("create",)),
    Right(kinds.CONFIG_MAP, ("get", "patch"), (DISTRUSTED, collecting.OBJECT)),
    Right(kinds.ENDPOINT_SLICE, ("list",)),
    Right(kinds.JOB, ("get", "list", "create", "delete")),
    Right(kinds.POD_METRICS, ("list",)),
)
"""In the namespace of releases, whoever applies them."""

TO_APPLY_RELEASES = (
    Right(kinds.DEPLOYMENT, (*_APPLY, "delete")),
    Right(kinds.HORIZONTAL_POD_AUTOSCALER, ("create", "delete")),
    Right(kinds.SERVICE, (*_APPLY, "delete")),
    Right(kinds.NETWORK_POLICY, ("delete",)),
    Right(kinds.POD_DISRUPTION_BUDGET, (*_APPLY, "delete")),
    Right(kinds.SERVICE_ACCOUNT, (*_APPLY, "delete")),
)
"""There as well, where Argo CD does not apply them."""

IN_CONTROL = (
    Right(kinds.SECRET, ("create",)),
    Right(kinds.SECRET, ("get", "update"), (SECRET_NAME,)),
    Right(kinds.LEASE, ("create", "list")),
    Right(kinds.LEASE, ("get", "update"), (LEASE_NAME,)),
    Right(kinds.POD, ("list",)),
    Right(kinds.SERVICE, ("get",), (GATEWAY, f"{GATEWAY}-probes")),
)
"""In the namespace of the control plane and of gateways."""

IN_ARGO_CD = (
    Right(kinds.APPLICATION, (*_WATCH, "patch")),
    Right(kinds.APPLICATION_SET, ("get", *_APPLY)),
    Right(kinds.APP_PROJECT, _APPLY),
)
"""In the namespace of Argo CD, where it applies releases."""

IN_CLUSTER = (Right(kinds.TOKEN_REVIEW, ("create",)),)


def to_install(namespace: str) -> Mapping[str, Sequence[Right]]:
    """The rights to install gateways: `control` and `releases`, by namespace, and `cluster`. `namespace` is that of the
    control plane, as it is in names."""
    # Another Secret and another number of gateways make no other objects.
    known = Collectors(("192.0.2.1:1",), "")
    installed = all_of(GatewaySettings("image", _CONTROL, models=_RELEASES, collectors=known))
    found: dict[str, list[Right]] = {"control": [], "releases": [], "cluster": []}
    where = {_CONTROL: "control", _RELEASES: "releases", "": "cluster"}
    for manifest in installed:
        metadata = manifest["metadata"]
        at = found[where[metadata.get("namespace", "")]]
        at.append(Right(kind_of(manifest), _APPLY, (metadata["name"].replace(_CONTROL, namespace),)))
        if manifest["kind"] == "Role":
            at += _of_role(manifest)
    return {name: _merged(rights) for name, rights in found.items()}


def _of_role(manifest: Mapping[str, Any]) -> Iterable[Right]:
    for rule in manifest["rules"]:
        for group in rule["apiGroups"]:
            for plural in rule["resources"]:
                kind = next(one for one in kinds.KINDS if (one.group, one.plural) == (group, plural))
                yield Right(kind, tuple(rule["verbs"]), tuple(rule.get("resourceNames", ())))


def _merged(rights: Iterable[Right]) -> list[Right]:
    """Those of the same kind and with the same verbs in one, by all of their names."""
    found: dict[tuple[Kind, tuple[str, ...], bool], tuple[str, ...]] = {}
    for one in rights:
        key = (one.kind, one.verbs, bool(one.names))
        found[key] = tuple(dict.fromkeys((*found.get(key, ()), *one.names)))
    return [Right(kind, verbs, names) for (kind, verbs, _), names in found.items()]
