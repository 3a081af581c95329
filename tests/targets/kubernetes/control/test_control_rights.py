"""The rights of the control plane: all that the code asks the API server for, and nothing else.

Every call of the client is found in the source. Where the source does not say which kind a call is about, `SAID` does.
A call that is in neither is a failure, and so is a right that no call needs.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from control_values import LEAST, MOST, NAMESPACE, read

import serinus
from serinus.targets.kubernetes.cluster import kinds
from serinus.targets.kubernetes.cluster.kinds import KINDS, Kind, kind_of
from serinus.targets.kubernetes.control.manifests import manifests
from serinus.targets.kubernetes.gateway.manifests import all_of
from serinus.targets.kubernetes.gateway.settings import GatewaySettings
from serinus.targets.kubernetes.manifests import Collectors

ROOT = Path(str(serinus.__file__)).parent
RELEASES, CONTROL, ARGO_CD, CLUSTER = "fraud", NAMESPACE, "argocd", ""
VERBS = {
    "find": ("get",),
    "get": ("get",),
    "list": ("list",),
    "watch": ("watch",),
    "merge": ("patch",),
    "delete": ("delete",),
    "Mirror": ("list", "watch"),
    "apply": ("create", "patch"),
    "create": ("create",),
    "replace": ("update",),
    "log": ("get",),
}
"""What the methods of the client, and a mirror, ask for."""
OBJECTS = (
    kinds.SERVICE_ACCOUNT,
    kinds.NETWORK_POLICY,
    kinds.SERVICE,
    kinds.DEPLOYMENT,
    kinds.HORIZONTAL_POD_AUTOSCALER,
    kinds.POD_DISRUPTION_BUDGET,
)
"""Of a release, which Argo CD applies where there is one."""
SAID: dict[str, tuple[Kind, ...]] = {
    "applying.bring apply": OBJECTS,
    "gateway.cluster_board.publish replace": (kinds.SECRET,),
    "gateway.cluster_board.publish create": (kinds.SECRET,),
    "gitops.applier._tell_of_itself apply": (kinds.APP_PROJECT, kinds.APPLICATION_SET),
    "jobs.jobs.ask apply": (kinds.NETWORK_POLICY,),
    "jobs.jobs.ask create": (kinds.JOB, kinds.SECRET),
    "leading._take create": (kinds.LEASE,),
    "leading._take replace": (kinds.LEASE,),
    "leading.release replace": (kinds.LEASE,),
    "leading._give_back replace": (kinds.LEASE,),
    "leading._renew replace": (kinds.LEASE,),
    "leading._renew_changed replace": (kinds.LEASE,),
    "removing.sweep list": (
        kinds.HORIZONTAL_POD_AUTOSCALER,
        kinds.POD_DISRUPTION_BUDGET,
        kinds.SERVICE,
        kinds.NETWORK_POLICY,
        kinds.SECRET,
        kinds.SERVICE_ACCOUNT,
    ),
    "target._bring apply": (kinds.SECRET, kinds.CONFIG_MAP),
    "applying.keep list": (
        kinds.SERVICE_ACCOUNT,
        kinds.NETWORK_POLICY,
        kinds.SERVICE,
        kinds.HORIZONTAL_POD_AUTOSCALER,
        kinds.POD_DISRUPTION_BUDGET,
    ),
    "distrusting.add create": (kinds.CONFIG_MAP,),
    "keeping.keep_shared apply": (kinds.CONFIG_MAP,),
    "keeping.keep_secrets apply": (kinds.SECRET,),
    "tokens.owner create": (kinds.TOKEN_REVIEW,),
}
"""Module, function and method of calls with a manifest or a variable -> what they are about."""
SAID["removing.sweep delete"] = SAID["removing.sweep list"]
NOT_BY_THE_CONTROL_PLANE = (
    "gateway.cluster_board.report ",
    "gateway.cluster_board.start ",
    "cluster.",
    "control.",
)
"""What gateways ask for, the client itself, and what an administrator does."""
BY_AN_ADMINISTRATOR = ("wiring.installing.", "wiring.control_plane.")


def calls() -> Iterator[tuple[str, str, Kind | None]]:
    """Module and function, the method, and the kind where the source says it."""
    files = [*(ROOT / "targets" / "kubernetes").rglob("*.py"), *(ROOT / "wiring").rglob("*.py")]
    for file in sorted(files):
        relative = file.relative_to(ROOT).with_suffix("")
        module = importlib.import_module(".".join(("serinus", *relative.parts)))
        short = ".".join(relative.parts).removeprefix("targets.kubernetes.")
        for function in ast.walk(ast.parse(file.read_text())):
            if isinstance(function, ast.FunctionDef):
                for call in ast.walk(function):
                    if isinstance(call, ast.Call) and (method := _method(call)):
                        yield f"{short}.{function.name}", method, _kind(call, module)


def _method(call: ast.Call) -> str:
    """Of the client, which the code calls `cluster`, `client` or `leases`; or a mirror."""
    if isinstance(call.func, ast.Name):
        return "Mirror" if call.func.id == "Mirror" else ""
    if not isinstance(call.func, ast.Attribute) or call.func.attr not in VERBS:
        return ""
    of = call.func.value
    name = of.attr if isinstance(of, ast.Attribute) else of.id if isinstance(of, ast.Name) else ""
    return call.func.attr if name.strip("_") in ("cluster", "leases") else ""


def _kind(call: ast.Call, module: Any) -> Kind | None:
    for argument in call.args[:2]:
        found = getattr(module, argument.id, None) if isinstance(argument, ast.Name) else None
        if isinstance(found, Kind):
            return found
    return kinds.POD if isinstance(call.func, ast.Attribute) and call.func.attr == "log" else None


def where(place: str, kind: Kind) -> str:
    if not kind.namespaced:
        return CLUSTER
    if kind.api_version.startswith("argoproj.io"):
        return ARGO_CD
    in_control = place.startswith(("leading.", "gateway.")) and kind != kinds.ENDPOINT_SLICE
    return CONTROL if in_control else RELEASES


def needed() -> set[tuple[str, str, str, str]]:
    """Namespace, resource, verb, and the part of the code."""
    found = set()
    for place, method, kind in calls():
        name = f"{place} {method}"
        if name.startswith(NOT_BY_THE_CONTROL_PLANE) or place.startswith(BY_AN_ADMINISTRATOR):
            continue
        about = (kind,) if kind is not None else SAID.get(name)
        assert about is not None, f"What `{name}` is about is not in SAID."
        for one in about:
            resource = f"{one.resource}/log" if method == "log" else one.resource
            # A Service is read where it lies: of a release, and of gateways.
            places = (RELEASES, CONTROL) if place.startswith("services.") else (where(place, one),)
            found |= {(at, resource, verb, place) for at in places for verb in VERBS[method]}
    return found


def granted(document: Any, directory: Path, *, without: tuple[str, ...] = ()) -> set[tuple[str, str, str]]:
    found = set()
    for one in manifests(read(directory, document), NAMESPACE):
        if one["kind"] in ("Role", "ClusterRole") and not one["metadata"]["name"].startswith(without or "-"):
            for rule in one["rules"]:
                for plural in rule["resources"]:
                    [group] = rule["apiGroups"]
                    kind = next(k for k in KINDS if (k.group, k.plural) == (group, plural.partition("/")[0]))
                    resource = kind.resource + plural[len(kind.plural) :]
                    at = one["metadata"].get("namespace", CLUSTER)
                    found |= {(at, resource, verb) for verb in rule["verbs"]}
    return found


FOR_GATEWAYS = ("serinus-control-gateways", "serinus-control-endpoints", "serinus-control-policies")


@pytest.mark.parametrize("argo_cd", [False, True])
def test_the_rights_are_those_that_the_calls_of_the_code_need(argo_cd: bool, tmp_path: Path) -> None:
    wanted = {
        (at, resource, verb)
        for at, resource, verb, place in needed()
        if not (place.startswith("gitops.") and not argo_cd)
        and not (place.startswith("applying.") and argo_cd)
        # What Argo CD has applied, it also takes away.
        and not (place == "removing.sweep" and verb == "delete" and resource != "secrets" and argo_cd)
    }
    assert granted(MOST if argo_cd else LEAST, tmp_path, without=FOR_GATEWAYS) == wanted


def test_with_argo_cd_nothing_of_a_release_is_written_but_its_secret_and_its_floor(tmp_path: Path) -> None:
    writing = {
        (resource, verb)
        for at, resource, verb in granted(MOST, tmp_path)
        if at == RELEASES and verb in ("create", "patch", "update", "delete")
    }
    assert writing == {
        ("configmaps", "create"),
        ("configmaps", "patch"),
        ("horizontalpodautoscalers.autoscaling", "patch"),
        ("jobs.batch", "create"),
        ("jobs.batch", "delete"),
        ("networkpolicies.networking.k8s.io", "create"),  # of the pods that examine models
        ("networkpolicies.networking.k8s.io", "patch"),
        ("secrets", "create"),
        ("secrets", "delete"),
        ("secrets", "patch"),
    }


def test_gateways_can_be_installed_by_these_rights_and_no_other_objects_of_their_kinds(tmp_path: Path) -> None:
    collectors = Collectors(("10.0.0.9:7443",), "PEM")
    settings = GatewaySettings("image", NAMESPACE, models=RELEASES, collectors=collectors, tls_secret="tls", replicas=5)
    rules = _rules(LEAST, tmp_path)
    for manifest in all_of(settings):
        kind, metadata = kind_of(manifest), manifest["metadata"]
        at = metadata.get("namespace", CLUSTER)
        for verb in ("create", "patch"):
            assert _allowed(rules, at, kind, verb, metadata["name"]), (kind.name, metadata["name"])
            if kind not in (kinds.CONFIG_MAP, kinds.NETWORK_POLICY) or at == CONTROL:
                assert not _allowed(rules, CONTROL, kind, verb, "another"), kind.name


def test_the_roles_of_gateways_allow_nothing_that_the_control_plane_may_not_do(tmp_path: Path) -> None:
    """Kubernetes refuses a Role that allows more than its author may."""
    rules = _rules(LEAST, tmp_path)
    seen = 0
    for manifest in all_of(GatewaySettings("image", NAMESPACE, models=RELEASES)):
        for rule in manifest["rules"] if manifest["kind"] == "Role" else ():
            [group], [plural] = rule["apiGroups"], rule["resources"]
            kind = next(one for one in KINDS if (one.group, one.plural) == (group, plural))
            for verb in rule["verbs"]:
                for name in rule.get("resourceNames", [None]):
                    seen += 1
                    assert _allowed(rules, manifest["metadata"]["namespace"], kind, verb, name), rule
    assert seen == 8


def test_without_gateways_to_install_their_rights_are_not_asked_for(tmp_path: Path) -> None:
    assert granted(MOST, tmp_path) == granted(MOST, tmp_path, without=FOR_GATEWAYS)
    assert ("", "validatingadmissionpolicies.admissionregistration.k8s.io", "patch") in granted(LEAST, tmp_path)


def test_every_binding_is_of_its_role_and_of_the_control_plane(tmp_path: Path) -> None:
    found = manifests(read(tmp_path, LEAST), NAMESPACE)
    roles = {(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in found}
    bindings = [one for one in found if one["kind"].endswith("Binding")]
    assert len(bindings) == 7
    for one in bindings:
        assert (one["roleRef"]["kind"], one["metadata"].get("namespace"), one["roleRef"]["name"]) in roles
        assert one["subjects"] == [{"kind": "ServiceAccount", "name": "serinus-control", "namespace": NAMESPACE}]


def test_every_call_that_is_said_is_in_the_code() -> None:
    assert set(SAID) <= {f"{place} {method}" for place, method, _ in calls()}


def _rules(document: Any, directory: Path) -> list[tuple[str, dict[str, Any]]]:
    """Namespace and rule."""
    return [
        (one["metadata"].get("namespace", CLUSTER), rule)
        for one in manifests(read(directory, document), NAMESPACE)
        if one["kind"] in ("Role", "ClusterRole")
        for rule in one["rules"]
    ]


def _allowed(rules: list[tuple[str, dict[str, Any]]], at: str, kind: Kind, verb: str, name: str | None) -> bool:
    return any(
        of == at
        and kind.group in rule["apiGroups"]
        and kind.plural in rule["resources"]
        and verb in rule["verbs"]
        and ("resourceNames" not in rule or name in rule["resourceNames"])
        for of, rule in rules
    )
