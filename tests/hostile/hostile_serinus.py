"""A running Serinus, and what somebody does to it who means harm."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hostile_models
import httpx
import mlflow
import pytest
from whole_load import wait_until
from whole_serinus import Serinus, mlflow_environment

from serinus.core.home import Home
from serinus.targets.local.supervisor import down, up

SPEC = """
model: {model}
serving: {{timeout: 20s, compile: off}}
gates: {{latency_p99: 10s, accept: [unasked]}}
rollout: {{steps: []}}
"""
"""Nothing that a busy machine decides, and no steps."""


@dataclass
class Attacked(Serinus):
    directory: Path
    """Where a test may put files of the same user, outside of the home. Its path is short."""

    def register(self, name: str, files: Mapping[str, str | bytes] = {}, requirements: Sequence[str] = ()) -> str:
        """An artifact made by hand: `name@version`. `files` over those of a harmless model."""
        whole = hostile_models.artifact(files, [*requirements])
        return f"{name}@{hostile_models.register(self.mlflow, name, whole)}"

    def asked(self, ref: str, spec: str | None = None, token: str | None = None) -> httpx.Response:
        """The answer to a wish to deploy `ref`."""
        text = spec or SPEC.format(model=ref.partition("@")[0])
        return self.post("/v1/deployments", {"ref": ref, "spec": text, "why": "a test"}, token)

    def post(self, path: str, body: Any, token: str | None = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return self.api.post(path, json=body, headers=headers)

    def attempt(self, ref: str, spec: str | None = None, token: str | None = None) -> Mapping[str, Any]:
        """Deploys `ref`; the rollout once it has ended, or waits for an approval."""
        answer = self.asked(ref, spec, token)
        assert answer.status_code == 202, answer.text
        return self.settled(str(answer.json()["rollout"]))

    def settled(self, rollout: str, timeout: float = 120.0) -> Mapping[str, Any]:
        def look() -> Mapping[str, Any] | None:
            found = self.rollout(rollout)
            return found if found["status"]["phase"] in ("promoted", "aborted", "approval") else None

        found: Mapping[str, Any] = wait_until(look, timeout, f"the end of {rollout}")
        return found

    def promoted(self, ref: str, spec: str | None = None) -> str:
        """Deploys it; the release, which is champion."""
        ended = self.attempt(ref, spec)
        assert ended["status"]["phase"] == "promoted", ended["status"]
        return str(ended["candidate"]["id"])

    def champion(self, model: str) -> str | None:
        releases = self.api.get("/v1/releases", params={"model": model}).raise_for_status().json()
        return next((str(one["id"]) for one in releases if one["champion"]), None)

    def token(self, access: str) -> tuple[str, str]:
        """Name and token of somebody new."""
        name = fresh(access)
        answer = self.post("/v1/tokens", {"name": name, "access": access})
        return name, str(answer.raise_for_status().json()["token"])

    def events(self, model: str) -> list[str]:
        found = self.api.get("/v1/events", params={"model": model, "limit": 50}).raise_for_status().json()
        return [str(event["text"]) for event in found]

    def said(self, *words: str) -> bytes:
        """What the command line prints, errors included, as the home's own user."""
        own = {name: value for name, value in os.environ.items() if name != "SERINUS_TOKEN"}
        command = [str(Path(sys.executable).with_name("serinus")), *words, "--home", str(self.home.path)]
        done = subprocess.run(
            command, capture_output=True, env={**own, "NO_COLOR": "1"}, cwd=self.directory, check=False, timeout=60
        )
        return done.stdout + done.stderr


def shared(*packages: str) -> list[str]:
    """Requirements of an environment that most models here have in common, so that it is made once."""
    return hostile_models.requirements("scikit-learn", "cloudpickle", *packages)


@dataclass
class Shell:
    """A deployed model that runs what it is sent."""

    serinus: Attacked
    model: str
    release: str

    def run(self, code: str, *, fails: bool = False, **names: Any) -> str:
        """What `code` prints in the worker. With `fails` it may end in an error or without an answer."""
        given = "".join(f"{name} = {value!r}\n" for name, value in names.items())
        answer = self.serinus.infer(self.model, [{"code": given + code}])
        if answer.status_code != 200:
            assert fails, answer.text
            return f"HTTP {answer.status_code}"
        printed = str(answer.json()["predictions"][0]["out"])
        assert fails or "Traceback" not in printed, printed
        return printed

    @property
    def pid(self) -> int:
        return int(self.run("import os; print(os.getpid())"))


def fresh(name: str) -> str:
    """A name that was not used before."""
    return f"{name}-{secrets.token_hex(3)}"


@contextlib.contextmanager
def running() -> Iterator[Attacked]:
    directory = Path(tempfile.mkdtemp(prefix="serinus-hostile-", dir="/tmp"))
    home = Home(directory / "home")
    (directory / "w").mkdir()
    try:
        addresses = up(home)
        headers = {"Authorization": f"Bearer {home.token.read_text().strip()}"}
        with (
            pytest.MonkeyPatch.context() as environment,
            httpx.Client(base_url=addresses.api, headers=headers, timeout=60, trust_env=False) as api,
            httpx.Client(base_url=addresses.envoy, timeout=60, trust_env=False) as callers,
        ):
            for name, value in mlflow_environment(addresses.mlflow_env).items():
                environment.setenv(name, value)
            environment.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
            registry = mlflow.MlflowClient(addresses.mlflow)
            yield Attacked(home, addresses, api, callers, registry, directory / "w")
    finally:
        down(home)
        if "SERINUS_KEEP_HOME" not in os.environ:
            shutil.rmtree(directory, ignore_errors=True)
