"""Makes `kinds.json`: what the API servers of several versions of Kubernetes take of the kinds that Serinus writes.

    .venv/bin/python tests/targets/kubernetes/schemas/reduce.py 1.34.4 1.35.4 1.36.3 1.37.2

The OpenAPI documents and the code that they are made of come from the Go module `k8s.io/kubernetes`; the documents
leave out the values of enumerations, the code has them. Needs the Go client. Descriptions and defaults are left out,
and what is equal in several versions is kept once. Licence of Kubernetes: Apache 2.0.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("kinds.json")
KINDS = (
    "api.admissionregistration.v1.ValidatingAdmissionPolicy",
    "api.admissionregistration.v1.ValidatingAdmissionPolicyBinding",
    "api.apps.v1.Deployment",
    "api.apps.v1.StatefulSet",
    "api.autoscaling.v2.HorizontalPodAutoscaler",
    "api.batch.v1.Job",
    "api.coordination.v1.Lease",
    "api.core.v1.ConfigMap",
    "api.core.v1.Secret",
    "api.core.v1.Service",
    "api.core.v1.ServiceAccount",
    "api.networking.v1.NetworkPolicy",
    "api.policy.v1.PodDisruptionBudget",
    "api.rbac.v1.ClusterRole",
    "api.rbac.v1.ClusterRoleBinding",
    "api.rbac.v1.Role",
    "api.rbac.v1.RoleBinding",
)
_KEPT = ("type", "format", "required", "enum", "oneOf")
_STRICT = {"additionalProperties": False}


def main(versions: list[str]) -> None:
    merged: dict[str, list[tuple[list[str], Any]]] = {}
    for version in versions:
        for name, schema in _reduced(version).items():
            variants = merged.setdefault(name, [])
            same = next((known for known, found in variants if found == schema), None)
            if same is None:
                variants.append(([_minor(version)], schema))
            else:
                same.append(_minor(version))
    content = {"kinds": {name.rpartition(".")[2]: f"io.k8s.{name}" for name in KINDS}, "definitions": merged}
    FILE.write_text(json.dumps(content, sort_keys=True, separators=(",", ":")) + "\n")


def _minor(version: str) -> str:
    return version.rpartition(".")[0]


def _reduced(version: str) -> dict[str, Any]:
    """Name -> schema of the kinds and of all that they refer to."""
    command = ["go", "mod", "download", "-json", f"k8s.io/kubernetes@v{version}"]
    module = Path(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["Dir"])
    published: dict[str, Any] = {}
    for file in sorted((module / "api/openapi-spec/v3").glob("*_openapi.json")):
        published |= json.loads(file.read_text()).get("components", {}).get("schemas", {})
    enums = dict(_enums((module / "pkg/generated/openapi/zz_generated.openapi.go").read_text()))
    found: dict[str, Any] = {}
    pending = [f"io.k8s.{name}" for name in KINDS]
    while pending:
        name = pending.pop()
        if name not in found:
            found[name] = _definition(published[name], enums.get(name, {}))
            pending += _references(found[name])
    return found


def _definition(schema: Mapping[str, Any], enums: Mapping[str, list[str]]) -> dict[str, Any]:
    made = _schema(schema)
    for name, values in enums.items():
        of = made["properties"].get(name)
        if of is not None:
            target = of["items"] if of.get("type") == "array" else of
            target["enum"] = values
    if "properties" in made:
        made |= _STRICT
    return made


def _schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Without what only people read, and a reference as nothing but that."""
    if "allOf" in schema:
        return _schema(schema["allOf"][0])
    if "$ref" in schema:
        return {"$ref": "#/$defs/" + schema["$ref"].rpartition("/")[2]}
    made: dict[str, Any] = {name: schema[name] for name in _KEPT if name in schema}
    if "properties" in schema:
        made["properties"] = {name: _schema(of) for name, of in schema["properties"].items()}
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), Mapping):
            made[name] = _schema(schema[name])
    return made


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, Mapping):
        for name, value in schema.items():
            if name == "$ref":
                yield value.rpartition("/")[2]
            else:
                yield from _references(value)
    elif isinstance(schema, list):
        for one in schema:
            yield from _references(one)


_FUNCTION = re.compile(r"func schema_k8sio_api_(\w+)_(v\w+?)_(\w+)\(")
_PROPERTY = re.compile(r'\t{5}"([^"]+)": \{')
_ENUM = re.compile(r"\t+Enum: +\[\]interface\{\}\{(.*)\},")


def _enums(code: str) -> Iterator[tuple[str, dict[str, list[str]]]]:
    """Definition -> property -> its values, as the generated code lists them."""
    definition, name = "", ""
    found: dict[str, list[str]] = {}
    for line in code.splitlines():
        if match := _FUNCTION.match(line):
            yield definition, found
            definition, found = "io.k8s.api." + ".".join(match.groups()), {}
        elif match := _PROPERTY.match(line):
            name = match[1]
        elif match := _ENUM.match(line):
            found[name] = json.loads(f"[{match[1]}]")
    yield definition, found


if __name__ == "__main__":
    main(sys.argv[1:])
