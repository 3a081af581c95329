"""Values of the control plane for tests."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from serinus.targets.kubernetes.control.values import Values
from serinus.targets.kubernetes.settings_file import load_as

NAMESPACE = "serinus"
LEAST: dict[str, Any] = {
    "image": f"registry.example/serinus/control@sha256:{'1' * 64}",
    "config": {
        "cluster": {
            "namespace": "fraud",
            "images": {
                "repository": "registry.example/serinus",
                "base": f"registry.example/serinus/base@sha256:{'0' * 64}",
            },
        },
        "mlflow": "http://mlflow:5000",
        "predictions": "s3://fraud/serinus/predictions",
        "database": "postgresql://serinus@db.example/serinus",
    },
}
MOST = deepcopy(LEAST) | {
    "replicas": 3,
    "pullSecrets": [{"name": "registry"}],
    "secrets": {"store": "database"},
    "storage": {"size": "50Gi", "class": "fast"},
    "service": "LoadBalancer",
    "resources": {"requests": {"cpu": 1}},
    "nodeSelector": {"pool": "platform"},
    "tolerations": [{"key": "platform", "operator": "Exists", "effect": "NoSchedule"}],
}
MOST["config"] |= {"hosts": ["serinus.example.org"], "insecure": True, "builds": True, "disk": "20GiB"}
MOST["config"]["cluster"] |= {
    "gateways": {"install": False, "replicas": 4},
    "fleet": {"remote": "https://git.example/fraud/fleet.git", "argo_cd": {"cluster": "east"}},
}


def write(directory: Path, document: Any) -> Path:
    """Returns a file with the values."""
    file = directory / "values.yaml"
    file.write_text(yaml.safe_dump(document))
    return file


def read(directory: Path, document: Any) -> Values:
    """Returns the values as they are read."""
    return load_as(Values, write(directory, document), "The values", "")
