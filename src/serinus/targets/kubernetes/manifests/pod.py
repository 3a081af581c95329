"""The pod of a release: what it is told, what it gets, and how it is asked how it is."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from serinus.targets.kubernetes.manifests import collecting
from serinus.targets.kubernetes.manifests.names import HEALTH_PORT, PORT, labels, object_name, selector
from serinus.targets.kubernetes.manifests.placed import Placed, as_json
from serinus.targets.kubernetes.manifests.resources import memory, resources, workers_of
from serinus.targets.kubernetes.manifests.settings import Settings

CONTAINER = "release"
USER = 65532
VARIABLE = "SERINUS_RELEASE"
ROUTER_VARIABLE = "SERINUS_ROUTER_KEY"
ROUTER_FIELD = "router"
"""Of the Secret that has the release's name: the key that gateways show."""
_SCRATCH = "/scratch"


def template(placed: Placed, settings: Settings) -> dict[str, Any]:
    """`spec.template` of its Deployment, with every field that the API server would add."""
    release = placed.release
    return {
        "metadata": {"labels": labels(release.id, release.model, release.version)},
        "spec": {
            "automountServiceAccountToken": False,
            "containers": [_container(placed, settings)],
            "dnsPolicy": "ClusterFirst",
            "enableServiceLinks": False,
            **_pull_secrets(settings),
            "restartPolicy": "Always",
            "schedulerName": "default-scheduler",
            "securityContext": {
                "runAsGroup": USER,
                "runAsNonRoot": True,
                "runAsUser": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "serviceAccount": object_name(release.id),
            "serviceAccountName": object_name(release.id),
            "terminationGracePeriodSeconds": _grace(settings),
            "topologySpreadConstraints": [_spread(release.id, key) for key in _DOMAINS],
            "volumes": [
                {"name": "scratch", "emptyDir": {"sizeLimit": memory(settings.sizing.scratch_bytes)}},
                *([collecting.volume()] if settings.collectors else []),
            ],
        },
    }


def _container(placed: Placed, settings: Settings) -> dict[str, Any]:
    return {
        "env": _variables(placed, settings),
        "image": placed.image,
        "imagePullPolicy": "IfNotPresent",
        # The kubelet begins it when the pod is deleted, and sends SIGTERM after it.
        "lifecycle": {"preStop": {"sleep": {"seconds": settings.timing.endpoints}}},
        # Slow to judge: a worker that computes for long is busy, and the supervisor itself replaces one that hangs.
        "livenessProbe": _probe("/live", period=10, timeout=5, failures=6),
        "name": CONTAINER,
        "ports": [
            {"containerPort": PORT, "name": "http", "protocol": "TCP"},
            {"containerPort": HEALTH_PORT, "name": "health", "protocol": "TCP"},
        ],
        "readinessProbe": _probe("/ready", period=2, timeout=2, failures=2),
        "resources": resources(placed, settings.sizing),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "startupProbe": _probe("/startup", period=1, timeout=2, failures=settings.timing.startup),
        "terminationMessagePath": "/dev/termination-log",
        # Where a process could not write its last words itself, its last lines are in the pod's status.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"mountPath": _SCRATCH, "name": "scratch"},
            *([collecting.mount()] if settings.collectors else []),
        ],
    }


def _variables(placed: Placed, settings: Settings) -> list[dict[str, Any]]:
    # What another variable refers to has to be before it.
    guard = [_from_secret(ROUTER_VARIABLE, object_name(placed.release.id), ROUTER_FIELD)] if placed.guarded else []
    return [
        *guard,
        {"name": VARIABLE, "value": document(placed, settings)},
        {"name": "HOME", "value": _SCRATCH},
        {"name": "TMPDIR", "value": _SCRATCH},
    ]


def document(placed: Placed, settings: Settings) -> str:
    """The value of `VARIABLE`, as `serinus_runtime.pod.release` reads it. The router key is not in it: the kubelet puts
    it in the place of a reference, so that nobody reads it in a Deployment or in Git."""
    release, scale = placed.release, placed.scale
    behaviour = asdict(release.settings)
    if release.settings.cache is not None:
        behaviour["cache"] = {"max_bytes": scale.cache_bytes, "ttl_seconds": release.settings.cache.ttl_seconds}
    compiled = release.compiled if not placed.long else None
    said = {
        "release": release.id,
        "model": release.model,
        "version": release.version,
        "settings": behaviour,
        "workers": workers_of(scale, settings.sizing),
        "long": placed.long,
        "compiled": compiled is not None,
        "digest": compiled.digest if compiled is not None else None,
        "memory_limit_bytes": scale.memory_limit_bytes,
        "confinement": settings.confinement,
        "drain_seconds": settings.timing.drain,
        **_said_of_collectors(settings),
    }
    # A dollar sign begins a reference to a variable unless there are two of them.
    text = as_json(said).replace("$", "$$")
    return f'{text[:-1]},"router":"$({ROUTER_VARIABLE})"}}' if placed.guarded else text


def _said_of_collectors(settings: Settings) -> dict[str, Any]:
    if settings.collectors is None:
        return {}
    directory = collecting.DIRECTORY
    files = {
        "authority": f"{directory}/{collecting.AUTHORITY_FILE}",
        "token": f"{directory}/{collecting.TOKEN_FILE}",
    }
    return {"collectors": {"addresses": list(settings.collectors.addresses), "name": settings.collectors.name, **files}}


def _from_secret(name: str, secret: str, key: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"secretKeyRef": {"key": key, "name": secret}}}


def _probe(path: str, *, period: int, timeout: int, failures: int) -> dict[str, Any]:
    return {
        "failureThreshold": failures,
        "httpGet": {"path": path, "port": "health", "scheme": "HTTP"},
        "periodSeconds": period,
        "successThreshold": 1,
        "timeoutSeconds": timeout,
    }


_DOMAINS = ("topology.kubernetes.io/zone", "kubernetes.io/hostname")


def _spread(release_id: str, key: str) -> dict[str, Any]:
    """Evenly where that can be; where it cannot, a pod somewhere is better than none."""
    return {
        "labelSelector": {"matchLabels": selector(release_id)},
        "matchLabelKeys": ["pod-template-hash"],
        "maxSkew": 1,
        "topologyKey": key,
        "whenUnsatisfiable": "ScheduleAnyway",
    }


def _grace(settings: Settings) -> int:
    """Beyond what the pod needs by itself, before it is killed."""
    return settings.timing.endpoints + settings.timing.drain + 10


def _pull_secrets(settings: Settings) -> dict[str, Any]:
    return {"imagePullSecrets": [{"name": name} for name in settings.pull_secrets]} if settings.pull_secrets else {}
