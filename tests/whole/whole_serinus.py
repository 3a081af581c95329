"""A running Serinus as the tests see it: by its API, its home, its registry."""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from mlflow import MlflowClient
from whole_load import Load, wait_until

from serinus.core.home import Home
from serinus.core.placement import Placement
from serinus.predictions import DeltaPredictionLog
from serinus.targets.local.host import HostTarget
from serinus.targets.local.supervisor import Addresses, processes

# Small minimums, so that a rollout takes seconds; wide time limits, so that a busy machine is no bad model. With the
# default of `beta` it would take 10,000 requests of the canary to show that it is not slow, and with this one 5,000.
SPEC = """
model: {model}
serving: {{timeout: {timeout}}}
gates:
  latency_p99: 2s
rollout:
  steps:
    - {{traffic: 20%, requests: 500, for: {seconds}s, at_most: 5m}}
    - {{traffic: 50%, requests: 800, for: {seconds}s, at_most: 5m}}
watch:
  errors: {{budget: 2%}}
  fallbacks: {{budget: 2%}}
  missing: {{budget: 2%}}
  slow: {{over: 1500ms}}
  beta: 40%
"""


def mlflow_environment(file: Path) -> Mapping[str, str]:
    """What a shell has after it has sourced `mlflow.env`."""
    words = ["env", "-i", "sh", "-c", f". {shlex.quote(str(file))} && env"]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    return dict(line.split("=", 1) for line in told if line.startswith("MLFLOW_"))


def spec(model: str, seconds: int, timeout: str) -> str:
    return SPEC.format(model=model, seconds=seconds, timeout=timeout)


@dataclass
class Serinus:
    home: Home
    addresses: Addresses
    api: httpx.Client
    callers: httpx.Client
    """Of Envoy, where models answer."""
    mlflow: MlflowClient
    log: DeltaPredictionLog = field(init=False)

    def __post_init__(self) -> None:
        self.log = DeltaPredictionLog(self.home)

    # --- acts ---------------------------------------------------------------------------------------------

    def deploy(self, ref: str, seconds: int = 2, timeout: str = "3s", text: str | None = None) -> str:
        """The rollout's id. `seconds`: how long each step lasts at least. `timeout`: of a request. `text`: the spec, in
        place of the one that they make."""
        wish = {"ref": ref, "spec": text or spec(ref.partition("@")[0], seconds, timeout), "why": "a test"}
        return str(self._post("/v1/deployments", wish)["rollout"])

    def deployed(self, ref: str, **how: Any) -> Mapping[str, Any]:
        """Deploys and waits for the end, whatever it is: the rollout."""
        return self.ended(self.deploy(ref, **how))

    def rolled_back(self, model: str, timeout: float = 30.0) -> tuple[Mapping[str, Any], float]:
        """To the champion before: the rollout, and how many seconds it took from the order on."""
        began = time.monotonic()
        wish = {"to": None, "why": "a test"}
        ended = self.ended(str(self._post(f"/v1/models/{model}/rollback", wish)["rollout"]), timeout)
        return ended, time.monotonic() - began

    def ended(self, rollout: str, timeout: float = 150.0) -> Mapping[str, Any]:
        def look() -> Mapping[str, Any] | None:
            found = self.rollout(rollout)
            return found if found["status"]["phase"] in ("promoted", "aborted") else None

        try:
            found: Mapping[str, Any] = wait_until(look, timeout, f"the end of {rollout}")
        except AssertionError as error:
            late = self.rollout(rollout)
            counts = [self.log.counts(step["split"]) for step in late["steps"]]
            raise AssertionError(f"{error}: {late['status']}, {counts}") from error
        return found

    def _post(self, path: str, wish: Mapping[str, Any]) -> Mapping[str, Any]:
        answer = self.api.post(path, json=wish)
        assert answer.status_code == 202, answer.text
        found: Mapping[str, Any] = answer.json()
        return found

    # --- looks --------------------------------------------------------------------------------------------

    def rollout(self, rollout: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.api.get(f"/v1/rollouts/{rollout}").raise_for_status().json()
        return found

    def model(self, model: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.api.get(f"/v1/models/{model}").raise_for_status().json()
        return found

    def process(self, name: str) -> Mapping[str, Any]:
        """As the status page shows it; also while the API is away."""
        return next(p for p in processes(self.home) if p["name"] == name)

    def placement(self, release: str) -> Placement:
        return HostTarget(self.home).observe()[release]

    def answers(self) -> bool:
        """Whether the API does."""
        try:
            return self.api.get("/v1/status").status_code == 200
        except httpx.HTTPError:
            return False

    def infer(self, model: str, rows: Sequence[Mapping[str, Any]], **more: Any) -> httpx.Response:
        return self.callers.post(f"/models/{model}/invocations", json={"dataframe_records": list(rows)}, **more)

    def load(self, model: str, rate: float) -> Load:
        return Load(self.addresses.envoy, model, rate)

    def records(self, load: Load) -> pl.DataFrame:
        """What the prediction log holds of the load's requests, the newest seconds included."""
        mine = self.log.read().filter(pl.col("request_id").str.starts_with(f"{load.prefix}-"))
        return mine.select("request_id", "release", "role", "split", "entity", "status", "time").collect()

    def logged(self, load: Load, missing: int = 0, timeout: float = 20.0) -> pl.DataFrame:
        """The records, once all but `missing` of the load's answered requests have one."""

        absent: set[str] = set()

        def look() -> pl.DataFrame | None:
            nonlocal absent
            found = self.records(load)
            absent = load.answered - set(found.filter(pl.col("status") == 200)["request_id"])
            return found if len(absent) <= missing else None

        try:
            found: pl.DataFrame = wait_until(look, timeout, "a record of every answered request")
        except AssertionError as error:
            sent = sorted(seen.at for seen in load.seen if seen.id in absent)
            start = load.seen[0].at
            between = f"{sent[0] - start:.1f} to {sent[-1] - start:.1f} s after the first one" if sent else "none"
            raise AssertionError(f"{error}: {len(absent)} of {len(load.answered)} have none, sent {between}") from error
        return found

    def fleet(self) -> Sequence[str]:
        """Subjects of the fleet repository's commits, newest first."""
        words = ["git", "-C", str(self.home.fleet), "log", "--format=%an: %s"]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()


@contextmanager
def running(home: Home, addresses: Addresses) -> Iterator[Serinus]:
    """What `up` has started, with its MLflow server as the one of this process."""
    headers = {"Authorization": f"Bearer {home.token.read_text().strip()}"}
    with (
        pytest.MonkeyPatch.context() as environment,
        httpx.Client(base_url=addresses.api, headers=headers, timeout=20, trust_env=False) as api,
        httpx.Client(base_url=addresses.envoy, timeout=20, trust_env=False) as callers,
    ):
        # What `up` has just seen answer is not doubted by the first status.
        assert not [line for line in api.get("/v1/status").json()["warnings"] if "registry" in line]
        for name, value in mlflow_environment(addresses.mlflow_env).items():
            environment.setenv(name, value)
        environment.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        environment.setenv("MLFLOW_UV_AUTO_DETECT", "false")  # this project's own lock is no part of a model
        yield Serinus(home, addresses, api, callers, MlflowClient(addresses.mlflow))


def written(home: Home, what: str) -> Sequence[Path]:
    """Log files that hold `what`."""
    return [path for path in home.logs.iterdir() if what.encode() in path.read_bytes()]
