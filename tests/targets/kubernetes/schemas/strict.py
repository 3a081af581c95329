"""Whether the API servers of several versions of Kubernetes take an object: no unknown field, all that is required, and
every value of its type and enumeration. Stricter than they are: what they read in several forms has one here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs

_FILE = Path(__file__).with_name("kinds.json")
_ARGO_CD = Path(__file__).with_name("argo_cd.json")
VERSIONS = ("1.34", "1.35", "1.36", "1.37")


def mistakes(manifest: Mapping[str, Any], version: str) -> list[str]:
    """In words, with the path of each; none: it is taken."""
    validator = _validator(str(manifest.get("kind")), version)
    return [f"{'.'.join(map(str, one.instance_path))}: {one.message}" for one in validator.iter_errors(dict(manifest))]


@cache
def _validator(kind: str, version: str) -> Any:
    of_argo_cd = json.loads(_ARGO_CD.read_text()).get(kind)
    if of_argo_cd is not None:  # Kubernetes takes them in all versions alike.
        return jsonschema_rs.Draft202012Validator(of_argo_cd)
    content = json.loads(_FILE.read_text())
    definitions = {
        name: schema
        for name, variants in content["definitions"].items()
        for versions, schema in variants
        if version in versions
    }
    root = content["kinds"][kind]
    group_version = _api_version(root)
    whole = {
        "allOf": [{"$ref": f"#/$defs/{root}"}],
        "required": ["apiVersion", "kind", "metadata"],
        "properties": {"apiVersion": {"const": group_version}, "kind": {"const": kind}},
        "$defs": definitions,
    }
    return jsonschema_rs.Draft202012Validator(whole)


_GROUPS = {
    "admissionregistration": "admissionregistration.k8s.io",
    "coordination": "coordination.k8s.io",
    "networking": "networking.k8s.io",
    "rbac": "rbac.authorization.k8s.io",
}


def _api_version(definition: str) -> str:
    """`io.k8s.api.apps.v1.Deployment` is of `apps/v1`."""
    _, _, _, group, version, _ = definition.split(".")
    return version if group == "core" else f"{_GROUPS.get(group, group)}/{version}"
