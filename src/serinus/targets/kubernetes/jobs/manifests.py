"""The objects of one question to a model, one function a manifest. Pure.

As those of releases, they say all that the API server would add by itself.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from serinus_runtime.pod.posed import KEY, VARIABLE, part

from serinus.targets.kubernetes.jobs.posing import Posed
from serinus.targets.kubernetes.jobs.settings import JobSettings
from serinus.targets.kubernetes.manifests.names import PART_OF, ROLE_LABEL, TRIAL_ROLE, label_value
from serinus.targets.kubernetes.manifests.pod import CONTAINER, USER
from serinus.targets.kubernetes.manifests.resources import cpu, memory

Manifest = dict[str, Any]

POLICY = "serinus-trials"
"""The NetworkPolicy of all of them."""
OWNER_LABEL, ASKER_LABEL, ASKED_LABEL = "serinus/owner", "serinus/asker", "serinus/asked"
"""The installation, the process that waits for the answer, and what it asks."""
JOB_LABEL = "batch.kubernetes.io/job-name"
"""Kubernetes gives it to the pods of a Job."""
_KEPT_SECONDS = 300
"""For which a Job stays after it has ended where nobody removes it."""
_PRINTED_BYTES = 256 << 20
"""Beside the files of the model: what it prints, twice, and the question."""
_COMMAND = (
    "/opt/python/bin/python3", "-I", "-S", "-u", "-X", "faulthandler", "-c",
    "import sys; sys.path.append('/opt/serinus/runtime'); from serinus_runtime.pod.question import main; main()",
)  # fmt: skip


def job(name: str, module: str, image: str, asker: str, posed: Posed, settings: JobSettings) -> Manifest:
    """Asks once: nothing of it is started again. `module`: what of the runtime answers, `trials.reference`."""
    labels = _labels(settings) | {ASKED_LABEL: label_value(module), ASKER_LABEL: label_value(asker)}
    spec = {
        "activeDeadlineSeconds": settings.deadline_seconds,
        "backoffLimit": 0,
        "completionMode": "NonIndexed",
        "completions": 1,
        "manualSelector": False,
        "parallelism": 1,
        "podReplacementPolicy": "TerminatingOrFailed",
        "suspend": False,
        "template": {"metadata": {"labels": labels}, "spec": _pod(name, image, posed, settings)},
        "ttlSecondsAfterFinished": _KEPT_SECONDS,
    }
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": _metadata(name, labels, settings), "spec": spec}


def question(name: str, uid: str, posed: Posed, settings: JobSettings) -> Sequence[Manifest]:
    """The Secrets with the question. They belong to the Job, whose `uid` it is, and go with it."""
    owner = {
        "apiVersion": "batch/v1",
        "blockOwnerDeletion": False,
        "controller": False,
        "kind": "Job",
        "name": name,
        "uid": uid,
    }
    files = [{part(number): content} for number, content in enumerate(posed.parts)]
    files[0][KEY] = posed.key
    return [
        {
            "apiVersion": "v1",
            "data": {file: base64.b64encode(content).decode() for file, content in held.items()},
            "immutable": True,
            "kind": "Secret",
            "metadata": {
                **_metadata(_secret(name, number), _labels(settings), settings),
                "ownerReferences": [owner],
            },
            "type": "Opaque",
        }
        for number, held in enumerate(files)
    ]


def network_policy(settings: JobSettings) -> Manifest:
    """Nobody reaches the pods of Jobs, and they reach nobody: answers are read from their logs."""
    selector = {"matchLabels": {ROLE_LABEL: TRIAL_ROLE}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        # It is that of all owners in the namespace.
        "metadata": _metadata(POLICY, {**PART_OF, **selector["matchLabels"]}, settings),
        "spec": {"podSelector": selector, "policyTypes": ["Ingress", "Egress"]},
    }


def of_owner(settings: JobSettings) -> dict[str, str]:
    """The labels by which the objects of this installation are found."""
    return {ROLE_LABEL: TRIAL_ROLE, OWNER_LABEL: label_value(settings.owner)}


def _labels(settings: JobSettings) -> dict[str, str]:
    return {"app.kubernetes.io/component": TRIAL_ROLE, **PART_OF, **of_owner(settings)}


def _metadata(name: str, labels: Mapping[str, str], settings: JobSettings) -> dict[str, Any]:
    return {"labels": dict(labels), "name": name, "namespace": settings.namespace}


def _secret(name: str, number: int) -> str:
    return f"{name}-{number}"


def _pod(name: str, image: str, posed: Posed, settings: JobSettings) -> dict[str, Any]:
    pulled = [{"name": one} for one in settings.pull_secrets]
    return {
        "automountServiceAccountToken": False,
        "containers": [_container(image, posed, settings)],
        "dnsPolicy": "Default",
        "enableServiceLinks": False,
        **({"imagePullSecrets": pulled} if pulled else {}),
        "restartPolicy": "Never",
        "schedulerName": "default-scheduler",
        "securityContext": {
            "runAsGroup": USER,
            "runAsNonRoot": True,
            "runAsUser": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": 5,
        "volumes": [
            {"emptyDir": {"sizeLimit": memory(settings.scratch_bytes + _PRINTED_BYTES)}, "name": "scratch"},
            {"name": "question", "projected": {"defaultMode": 0o444, "sources": _sources(name, posed)}},
        ],
    }


def _sources(name: str, posed: Posed) -> list[dict[str, Any]]:
    return [{"secret": {"name": _secret(name, number)}} for number in range(len(posed.parts))]


def _container(image: str, posed: Posed, settings: JobSettings) -> dict[str, Any]:
    size, limit = memory(settings.memory_bytes), round(1000 * settings.processors)
    asked = max(1, round(limit * settings.requested_share))
    told = json.dumps({"parts": len(posed.parts), "sha256": posed.digest}, separators=(",", ":"))
    return {
        "command": list(_COMMAND),
        "env": [
            {"name": VARIABLE, "value": told},
            {"name": "HOME", "value": "/scratch"},
            {"name": "TMPDIR", "value": "/scratch"},
        ],
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "name": CONTAINER,
        "resources": {"limits": {"cpu": cpu(limit), "memory": size}, "requests": {"cpu": cpu(asked), "memory": size}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "volumeMounts": [
            {"mountPath": "/scratch", "name": "scratch"},
            {"mountPath": "/question", "name": "question", "readOnly": True},
        ],
    }
