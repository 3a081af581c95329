"""An API server that runs Jobs as processes of this machine, as a node would, or does not, as a test says."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
from descent import end
from lightkube import Client
from lightkube.config.kubeconfig import KubeConfig
from lightkube.config.models import Cluster as ClusterEntry
from lightkube.config.models import User
from pods import PYTHON, SOURCE
from serinus_runtime.pod.posed import VARIABLE

from serinus.targets.kubernetes.cluster import Cluster

_ENTRY = f"import sys; sys.path.append({str(SOURCE)!r}); from serinus_runtime.pod.question import main; main()"


class JobCluster:
    """`directory`: of the containers. The image `registry.test/trials@ARTIFACT@ENVIRONMENT` has these two directories;
    see `image_of`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.requests: list[tuple[str, str]] = []
        self.jobs: dict[str, dict[str, Any]] = {}
        self.secrets: dict[str, list[dict[str, Any]]] = {}
        """By the name of the Job that they belong to."""
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.events: list[dict[str, Any]] = []
        self.pods: list[dict[str, Any]] | None = None
        """What is listed in place of the pods that run."""
        self.conditions: list[dict[str, Any]] = []
        """Of all Jobs."""
        self.refused: dict[str, Callable[[], httpx2.Response]] = {}
        """Answers to requests, by `METHOD plural`."""
        self.log: bytes | None = None
        """In place of what the container has printed."""

    def connected(self) -> Cluster:
        config = KubeConfig.from_one(cluster=ClusterEntry(server="https://10.0.0.1:6443"), user=User(token="t")).get()
        transport = httpx2.MockTransport(self)
        return Cluster(Client(config, transport=transport, field_manager="serinus", trust_env=False))

    def close(self) -> None:
        for name in list(self.processes):
            self._end(name)

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.path.split("/namespaces/serinus/")[1].split("/")
        self.requests.append((request.method, "/".join(path[::2])))
        refused = self.refused.get(f"{request.method} {'/'.join(path[::2])}")
        if refused is not None:
            return refused()
        match request.method, path:
            case "PATCH", ["networkpolicies", _]:
                return _answered(json.loads(request.content))
            case "POST", ["jobs"]:
                return _answered(self._create(json.loads(request.content)))
            case "POST", ["secrets"]:
                return _answered(self._keep(json.loads(request.content)))
            case "GET", ["jobs"]:
                return _listed(self._selected(request.url.params["labelSelector"]))
            case "GET", ["jobs", name] if name in self.jobs:
                return _answered({**self.jobs[name], "status": {"conditions": self.conditions}})
            case "DELETE", ["jobs", name] if name in self.jobs:
                self._end(name)
                del self.jobs[name]
                self.secrets.pop(name, None)
                return _answered({"kind": "Status", "status": "Success"})
            case "GET", ["pods"]:
                name = request.url.params["labelSelector"].partition("=")[2]
                return _listed(self._pods(name) if self.pods is None else self.pods)
            case "GET", ["pods", name, "log"]:
                log = self.directory / name / "log"
                return httpx2.Response(200, content=log.read_bytes() if self.log is None else self.log)
            case "GET", ["events"]:
                return _listed(self.events)
        return status(404, f'{path[0]} "{path[-1]}" not found', path[0], path[-1])

    def _selected(self, selector: str) -> list[dict[str, Any]]:
        wanted = dict(one.split("=") for one in selector.split(","))
        return [one for one in self.jobs.values() if wanted.items() <= one["metadata"]["labels"].items()]

    def _create(self, job: dict[str, Any]) -> dict[str, Any]:
        name = job["metadata"]["name"]
        job["metadata"]["uid"] = f"uid-{name}"
        self.jobs[name] = job
        return job

    def _keep(self, secret: dict[str, Any]) -> dict[str, Any]:
        owner = secret["metadata"]["ownerReferences"][0]
        name = owner["name"]
        assert owner["uid"] == self.jobs[name]["metadata"]["uid"]
        self.secrets.setdefault(name, []).append(secret)
        spec = self.jobs[name]["spec"]["template"]["spec"]
        mounted = next(one["projected"]["sources"] for one in spec["volumes"] if one["name"] == "question")
        there = {one["metadata"]["name"] for one in self.secrets[name]}
        if self.pods is None and {one["secret"]["name"] for one in mounted} <= there:
            self._run(name, spec["containers"][0])
        return secret

    def _run(self, name: str, container: dict[str, Any]) -> None:
        directory = self.directory / name
        question, scratch, message = directory / "question", directory / "scratch", directory / "termination-log"
        for one in (question, scratch):
            one.mkdir(parents=True)
        message.touch()
        for secret in self.secrets[name]:
            for file, content in secret["data"].items():
                (question / file).write_bytes(base64.b64decode(content))
        artifact, environment = container["image"].split("@")[1:]
        paths = {
            "artifact": artifact, "environment": environment, "question": str(question), "scratch": str(scratch),
            "termination_log": str(message),
        }  # fmt: skip
        told = json.loads(next(one["value"] for one in container["env"] if one["name"] == VARIABLE))
        with (directory / "log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [PYTHON, "-I", "-S", "-u", "-X", "faulthandler", "-c", _ENTRY],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={"PATH": "/usr/bin:/bin", VARIABLE: json.dumps({**told, "paths": paths})},
            )

    def _pods(self, name: str) -> list[dict[str, Any]]:
        process = self.processes.get(name)
        if process is None:
            return []
        code = process.poll()
        state: dict[str, Any] = {"running": {}}
        if code is not None:
            message = (self.directory / name / "termination-log").read_text()
            state = {"terminated": {"exitCode": code, "reason": "Error" if code else "Completed", "message": message}}
        phase = "Running" if code is None else "Failed" if code else "Succeeded"
        return [
            {
                "metadata": {"name": name, "uid": f"uid-pod-{name}"},
                "spec": self.jobs[name]["spec"]["template"]["spec"],
                "status": {"phase": phase, "containerStatuses": [{"name": "release", "state": state}]},
            }
        ]

    def _end(self, name: str) -> None:
        process = self.processes.pop(name, None)
        if process is not None:
            end(process)


def briefly(seconds: float) -> None:
    """A pause between two looks at a Job, which costs this API server nothing."""
    time.sleep(min(seconds, 0.02))


def image_of(artifact: Path, environment: Path) -> str:
    return f"registry.test/trials@{artifact}@{environment}"


def status(code: int, message: str, kind: str = "", name: str = "") -> httpx2.Response:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message}
    details = {"kind": re.sub("/.*", "", kind), "name": name}
    return httpx2.Response(code, json={**body, "details": details, "reason": "NotFound" if code == 404 else ""})


def _answered(document: dict[str, Any]) -> httpx2.Response:
    return httpx2.Response(200, json=document)


def _listed(items: list[dict[str, Any]]) -> httpx2.Response:
    return httpx2.Response(200, json={"kind": "List", "metadata": {"resourceVersion": "1"}, "items": items})
