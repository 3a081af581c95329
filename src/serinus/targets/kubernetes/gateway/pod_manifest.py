"""The pod of a gateway: Envoy, and the agent as a sidecar that starts before it and ends after it.

The agent writes Envoy's bootstrap, so Envoy's container starts once the agent is up. When the pod is deleted, Envoy
first answers those who still come, then finishes what is under way; the agent keeps it up to date until then.
"""

from __future__ import annotations

from typing import Any

from serinus.targets.kubernetes.gateway.settings import GatewaySettings
from serinus.targets.kubernetes.manifests import collecting, parts

Manifest = dict[str, Any]

CALLERS_PORT, PROBES_PORT, HEALTH_PORT = 8080, 8085, 8086
HOME = "/run/serinus"
_TLS = "/etc/serinus/tls"
_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_USER = 65532
_LINGER_SECONDS = 5
"""Until every node knows that a pod which is being deleted gets no more connections."""
_GRACE_SECONDS = 60
_TOKEN_SECONDS = 3607
"""As the API server's own projection asks for; the kubelet renews it."""


def pod_spec(settings: GatewaySettings, account: str, labels: Manifest) -> Manifest:
    """Under the restricted Pod Security Standard. Only the agent gets the token of the service account."""
    return {
        "automountServiceAccountToken": False,
        "containers": [_envoy(settings)],
        "dnsPolicy": "ClusterFirst",
        "enableServiceLinks": False,
        "initContainers": [_agent(settings)],
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "securityContext": {
            "fsGroup": _USER,
            "runAsGroup": _USER,
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "serviceAccount": account,
        "serviceAccountName": account,
        "terminationGracePeriodSeconds": _GRACE_SECONDS,
        "topologySpreadConstraints": parts.spread(labels),
        "volumes": _volumes(settings),
    }


def _envoy(settings: GatewaySettings) -> Manifest:
    words = _module("serinus.targets.kubernetes.gateway.proxy", "--home", HOME)
    return {
        **_container(settings, "envoy"),
        "command": [*words, "--threads", str(settings.threads)],
        "lifecycle": {"preStop": {"exec": {"command": [*words, "--leave", str(_LINGER_SECONDS)]}}},
        "livenessProbe": parts.probe({"tcpSocket": {"port": "http"}}, period=10, failures=6),
        "ports": [parts.port("http", CALLERS_PORT), parts.port("probes", PROBES_PORT)],
        "resources": {
            "limits": {"cpu": str(settings.threads), "memory": "1Gi"},
            "requests": {"cpu": settings.cpu_request, "memory": "256Mi"},
        },
        "startupProbe": parts.probe({"tcpSocket": {"port": "http"}}, period=1, failures=60),
        "volumeMounts": [{"mountPath": HOME, "name": "run"}],
    }


def _agent(settings: GatewaySettings) -> Manifest:
    tls = ["--tls", _TLS] if settings.tls_secret else []
    callers = ["--client-certificates"] if settings.client_certificates else []
    words = _module(
        "serinus.targets.kubernetes.gateway",
        *("--home", HOME, "--namespace", settings.namespace, "--models", settings.models),
        *("--pod", "$(POD)", "--uid", "$(UID)", "--port", str(CALLERS_PORT)),
        *("--probe-port", str(PROBES_PORT), "--health-port", str(HEALTH_PORT)),
        *("--api-keys", settings.api_keys, *tls, *callers, *_collectors(settings)),
    )
    mounts = [{"mountPath": HOME, "name": "run"}, {"mountPath": _ACCOUNT, "name": "account", "readOnly": True}]
    if settings.collectors is not None:
        mounts.append(collecting.mount())
    if settings.tls_secret:
        mounts.append({"mountPath": _TLS, "name": "tls", "readOnly": True})
    container = _container(settings, "agent")
    return {
        **container,
        "command": words,
        "env": [*container["env"], parts.field("POD", "metadata.name"), parts.field("UID", "metadata.uid")],
        "livenessProbe": parts.probe({"httpGet": _get("/live")}, period=10, failures=6),
        "ports": [parts.port("health", HEALTH_PORT)],
        "readinessProbe": parts.probe({"httpGet": _get("/ready")}, period=2, failures=2),
        "resources": {"limits": {"memory": "256Mi"}, "requests": {"cpu": "20m", "memory": "96Mi"}},
        "restartPolicy": "Always",
        "startupProbe": parts.probe({"httpGet": _get("/live")}, period=1, failures=60),
        "volumeMounts": mounts,
    }


def _collectors(settings: GatewaySettings) -> list[str]:
    known = settings.collectors
    if known is None:
        return []
    return [
        "--collectors",
        *known.addresses,
        "--collectors-name",
        known.name,
        "--collectors-authority",
        f"{collecting.DIRECTORY}/{collecting.AUTHORITY_FILE}",
        "--collectors-token",
        f"{collecting.DIRECTORY}/{collecting.TOKEN_FILE}",
    ]


def _container(settings: GatewaySettings, name: str) -> Manifest:
    packages = f"/opt/environment/lib/python{settings.python}/site-packages"
    return {
        "env": [
            {"name": "PYTHONPATH", "value": f"/opt/serinus/code:{packages}"},
            {"name": "HOME", "value": HOME},
            {"name": "TMPDIR", "value": HOME},
            {"name": "PYTHONDONTWRITEBYTECODE", "value": "1"},
            {"name": "PYTHONUNBUFFERED", "value": "1"},
        ],
        "image": settings.image,
        "imagePullPolicy": "IfNotPresent",
        "name": name,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
        },
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "workingDir": HOME,
    }


def _module(module: str, *words: str) -> list[str]:
    return ["/opt/python/bin/python3", "-P", "-m", module, *words]


def _volumes(settings: GatewaySettings) -> list[Manifest]:
    token = {"serviceAccountToken": {"expirationSeconds": _TOKEN_SECONDS, "path": "token"}}
    authority = {"configMap": {"items": [{"key": "ca.crt", "path": "ca.crt"}], "name": "kube-root-ca.crt"}}
    where = {
        "downwardAPI": {
            "items": [{"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}, "path": "namespace"}]
        }
    }
    volumes: list[Manifest] = [
        {"emptyDir": {"sizeLimit": "256Mi"}, "name": "run"},
        {"name": "account", "projected": {"defaultMode": 0o440, "sources": [token, authority, where]}},
    ]
    if settings.collectors is not None:
        volumes.append(collecting.volume())
    if settings.tls_secret:
        volumes.append({"name": "tls", "secret": {"defaultMode": 0o440, "secretName": settings.tls_secret}})
    return volumes


def _get(path: str) -> Manifest:
    return {"path": path, "port": "health", "scheme": "HTTP"}
