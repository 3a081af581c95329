"""The pod of a control plane: one container, in which `starting` prepares the home and then runs `serinus up`.

All processes of a home run in it, under the supervisor that keeps them running on one machine as well.
"""

from __future__ import annotations

from typing import Any

from serinus.targets.kubernetes.control.symbols import choice, text, whole
from serinus.targets.kubernetes.control.values import API_PORT, COLLECTORS_PORT, NAME, SECRETS, Values
from serinus.targets.kubernetes.manifests import parts
from serinus.targets.kubernetes.manifests.names import CONTROL_ROLE, ROLE_LABEL

Manifest = dict[str, Any]

LABELS = {
    "app.kubernetes.io/component": CONTROL_ROLE,
    "app.kubernetes.io/name": "serinus",
    ROLE_LABEL: CONTROL_ROLE,
}
"""Of the pods. The policies of releases and gateways let pods with this role in."""
CONFIG_FILE = "config.yaml"
DISK = "/var/lib/serinus"
"""The disk of the pod. The home is a directory in it, because the disk itself belongs to root."""
HOME = f"{DISK}/home"
_CONFIG = "/etc/serinus/config"
_USER = 65532
_START_SECONDS = 1800
"""For the first image of gateways, which may have to be built, and for what is waited for: the database, above all."""
_GRACE_SECONDS = 90
"""The supervisor waits for up to 30 s for the collector, and for up to 15 s for the control process."""


def pod_spec(values: Values, namespace: str) -> Manifest:
    """Under the restricted Pod Security Standard."""
    del namespace
    return {
        # The engine and the collector ask the API server.
        "automountServiceAccountToken": True,
        "containers": [_container(values)],
        "dnsPolicy": "ClusterFirst",
        "enableServiceLinks": False,
        "imagePullSecrets": whole(values.pull_secrets),
        "nodeSelector": whole(values.node_selector),
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "securityContext": {
            "fsGroup": _USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "runAsGroup": _USER,
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "serviceAccount": NAME,
        "serviceAccountName": NAME,
        # What the processes leave behind is then reaped by the first process of the pod.
        "shareProcessNamespace": True,
        "terminationGracePeriodSeconds": _GRACE_SECONDS,
        "tolerations": whole(values.tolerations),
        "topologySpreadConstraints": parts.spread(LABELS),
        "volumes": _volumes(values),
    }


def _container(values: Values) -> Manifest:
    return {
        "args": ["--config", f"{_CONFIG}/{CONFIG_FILE}", "--secrets", SECRETS, "--disk", DISK],
        "env": [
            {"name": "SERINUS_HOME", "value": HOME},
            {"name": "HOME", "value": DISK},
            {"name": "TMPDIR", "value": "/tmp"},  # noqa: S108  a volume of the pod
            {"name": "DOCKER_CONFIG", "value": f"{SECRETS}/registry"},
            {"name": "SERINUS_REPLICAS", "value": text(values.replicas)},
            parts.field("SERINUS_NAMESPACE", "metadata.namespace"),
        ],
        "envFrom": [{"secretRef": {"name": whole(values.secrets.variables), "optional": True}}],
        "image": whole(values.image),
        "imagePullPolicy": "IfNotPresent",
        "livenessProbe": parts.probe({"tcpSocket": {"port": "api"}}, period=20, failures=6),
        "name": "control-plane",
        "ports": [parts.port("api", API_PORT), parts.port("collectors", COLLECTORS_PORT)],
        "readinessProbe": parts.probe({"httpGet": _healthz(values)}, period=5, failures=3),
        "resources": whole(values.resources),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "startupProbe": parts.probe({"tcpSocket": {"port": "api"}}, period=5, failures=_START_SECONDS // 5),
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"mountPath": DISK, "name": "home"},
            {"mountPath": "/tmp", "name": "tmp"},  # noqa: S108  a volume of the pod
            {"mountPath": _CONFIG, "name": "config", "readOnly": True},
            *({"mountPath": f"{SECRETS}/{name}", "name": name, "readOnly": True} for name in _SECRETS),
        ],
        "workingDir": DISK,
    }


_SECRETS = {"identity": True, "store": True, "collectors": True, "api": False, "registry": False, "git": False}
"""Name -> whether the pod waits for it. `starting` says in words what is missing of the others."""
_FILES = {"registry": [{"key": ".dockerconfigjson", "path": "config.json"}]}


def _volumes(values: Values) -> list[Manifest]:
    return [
        {"emptyDir": {"sizeLimit": "4Gi"}, "name": "tmp"},
        {"configMap": {"defaultMode": 0o444, "name": NAME}, "name": "config"},
        *(
            {
                "name": name,
                "secret": {
                    # Readable by the group of the pod alone, as the check of the key of the API wants it.
                    "defaultMode": 0o440,
                    **({"items": _FILES[name]} if name in _FILES else {}),
                    "optional": not needed,
                    "secretName": whole(getattr(values.secrets, name)),
                },
            }
            for name, needed in _SECRETS.items()
        ),
    ]


def _healthz(values: Values) -> Manifest:
    return {
        "httpHeaders": [{"name": "Host", "value": NAME}],
        "path": "/healthz",
        "port": "api",
        "scheme": choice(values.config.insecure, "HTTP", "HTTPS"),
    }
