"""Makes `argo_cd.json`: what the API server takes of the kinds of Argo CD that Serinus writes.

    .venv/bin/python tests/targets/kubernetes/schemas/reduce_argo_cd.py 3.2.11

The schemas come from the Go module of Argo CD. Needs the Go client. Descriptions are left out, and so are generators
and kinds of sources that Serinus does not write. Licence of Argo CD: Apache 2.0.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).with_name("argo_cd.json")
_CRDS = ("appproject", "applicationset")
_KEPT = ("type", "format", "required", "enum", "pattern", "maxLength", "maximum", "minimum")
_LEFT_OUT = frozenset(
    {
        *("clusterDecisionResource", "clusters", "list", "matrix", "merge", "plugin", "pullRequest", "scmProvider"),
        *("helm", "kustomize", "directory", "sources", "sourceHydrator", "operation", "selector", "status", "strategy"),
    }
)


def main(version: str) -> None:
    command = ["go", "mod", "download", "-json", f"github.com/argoproj/argo-cd/v3@v{version}"]
    module = Path(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["Dir"])
    found: dict[str, Any] = {}
    for name in _CRDS:
        crd = yaml.load((module / f"manifests/crds/{name}-crd.yaml").read_text(), Loader=yaml.CSafeLoader)
        (served,) = crd["spec"]["versions"]
        schema = _reduced(served["schema"]["openAPIV3Schema"])
        schema["properties"]["metadata"] = {"type": "object"}
        version_of = f"{crd['spec']['group']}/{served['name']}"
        schema["properties"]["apiVersion"] = {"const": version_of}
        found[crd["spec"]["names"]["kind"]] = schema
    FILE.write_text(json.dumps(found, sort_keys=True, separators=(",", ":")) + "\n")


def _reduced(schema: dict[str, Any]) -> dict[str, Any]:
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    made: dict[str, Any] = {name: schema[name] for name in _KEPT if name in schema}
    if "properties" in schema:
        kept = {name: of for name, of in schema["properties"].items() if name not in _LEFT_OUT}
        made["properties"] = {name: _reduced(of) for name, of in kept.items()}
        made["additionalProperties"] = False
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            made[name] = _reduced(schema[name])
    return made


if __name__ == "__main__":
    main(*sys.argv[1:])
