"""Serinus itself, with everything on, by its own command: as anybody would run it."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from bench import SCRATCH
from bench.models import saved
from bench.processes import DidNotStart, Group, descendants, freeze, thaw
from bench.requests import split
from serinus.core.errors import SerinusError
from serinus.core.home import Home
from serinus.core.placement import Placement
from serinus.targets.local.host import HostTarget

WITHOUT_RECHECK = ("--recheck", "off")
"""Options of `serinus up` where processor time is compared: the recheck would run in some turns and not in others."""
COMMAND = str(Path(sys.executable).parent / "serinus")
_SPEC = """
model: {model}
serving: {serving}
gates: {{evaluation: null, golden: null, latency_p99: 5s}}
rollout: {{steps: []}}
"""


class Installation:
    """One home, its processes, and the registry in it. Use as a context: it is taken down and deleted at the end."""

    def __init__(self, name: str, *, keys: bool = False, up: Sequence[str] = ()) -> None:
        """`keys`: callers of models need one (`key`), as they do wherever more than loopback is listened to. `up`:
        further options of it."""
        SCRATCH.mkdir(exist_ok=True)
        self.home = Path(tempfile.mkdtemp(prefix=f"serinus-bench-{name}-"))
        self.addresses: Mapping[str, str] = {}
        self._host: Group | None = None
        self._keys = keys
        self._up = up
        self.key: str | None = None

    def __enter__(self) -> Installation:
        try:
            everywhere = ["--listen", "0.0.0.0", "--insecure"]  # noqa: S104 - what has keys asked for; tokens guard the API
            self.addresses = self.json("up", *(everywhere if self._keys else []), *self._up)
            if self._keys:
                self.key = self.json("key", "create", "bench")["key"]
        except DidNotStart:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        thaw(self.pids())
        if self._host is not None:
            self._host.process.terminate()
            self._host.process.wait(30)
        subprocess.run([COMMAND, "--home", str(self.home), "down"], capture_output=True, check=False)
        shutil.rmtree(self.home, ignore_errors=True)

    @property
    def host(self) -> str:
        """Where callers reach models: this machine, or the gateways of a cluster."""
        return urlsplit(self.addresses["envoy"]).hostname or ""

    @property
    def port(self) -> int:
        return int(self.addresses["envoy"].rpartition(":")[2])

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [COMMAND, "--home", str(self.home), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=self.home)

    def json(self, *words: str) -> Any:
        """What `--json` prints. DidNotStart: it was refused or failed."""
        done = self.run(*words, "--json")
        if done.returncode != 0:
            raise DidNotStart(f"serinus {' '.join(words)}: {(done.stderr.strip() or done.stdout.strip())[-600:]}")
        return json.loads(done.stdout)

    # --- models -------------------------------------------------------------------------------------------

    def register(self, model: str, directory: Path) -> str:
        """Another version of `model`, of the saved MLflow model in `directory`; its number."""
        import mlflow
        from mlflow import MlflowClient

        for line in Path(self.addresses["mlflow_env"]).read_text().splitlines():
            if line.startswith("export "):
                name, _, value = shlex.split(line)[1].partition("=")
                os.environ[name] = value
        mlflow.set_tracking_uri(self.addresses["mlflow"])
        client = MlflowClient(self.addresses["mlflow"])
        if not client.search_registered_models(f"name = '{model}'"):
            client.create_registered_model(model)
        experiment = client.get_experiment_by_name("bench")
        run = client.create_run(experiment.experiment_id if experiment else client.create_experiment("bench"))
        client.log_artifacts(run.info.run_id, str(directory), "model")
        client.set_terminated(run.info.run_id)
        source = f"{run.info.artifact_uri}/model"
        return str(client.create_model_version(model, source, run.info.run_id).version)

    def champion(self, api: httpx.Client, model: str) -> str:
        """The id of its release."""
        return str(api.get(f"/v1/models/{model}").raise_for_status().json()["champion"]["release"])

    def spec(self, model: str, serving: Mapping[str, Any]) -> Path:
        path = self.home / f"{model}.yaml"
        path.write_text(_SPEC.format(model=model, serving=json.dumps({"timeout": "10s", **serving})))
        return path

    def deploy(self, model: str, version: str, *more: str, **serving: Any) -> float:
        """Takes it to full traffic; seconds that it took. DidNotStart: it was stopped on the way."""
        began = time.monotonic()
        spec = self.spec(model, serving)
        done = self.run("deploy", f"{model}@{version}", "--spec", str(spec), "--reason", "bench", *more)
        if done.returncode != 0:
            raise DidNotStart(f"deploying {model}@{version}: {(done.stdout + done.stderr).strip()[-600:]}")
        return time.monotonic() - began

    def publish(self, model: str, kind: str, **serving: Any) -> None:
        """Registers the bench's model `kind` as `model`, and takes it to full traffic."""
        self.deploy(model, self.register(model, saved(kind)), **serving)

    # --- its API ------------------------------------------------------------------------------------------

    def api(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {(self.home / 'token').read_text().strip()}"}
        return httpx.Client(base_url=self.addresses["api"], headers=headers, timeout=30, trust_env=False)

    def order(self, api: httpx.Client, model: str, version: str, spec: str) -> str:
        """Begins a deployment by the API, which takes less time than a process of the command; the rollout's id."""
        wish = {"ref": f"{model}@{version}", "spec": spec, "why": "bench"}
        return str(api.post("/v1/deployments", json=wish).raise_for_status().json()["rollout"])

    def ended(self, api: httpx.Client, rollout: str, seconds: float = 300.0) -> Mapping[str, Any]:
        """The rollout once it is promoted. DidNotStart: it was aborted, or is not done in time."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            found: Mapping[str, Any] = api.get(f"/v1/rollouts/{rollout}").raise_for_status().json()
            if found["status"]["phase"] == "promoted":
                return found
            if found["status"]["phase"] == "aborted":
                raise DidNotStart(f"{rollout} was aborted: {found['status']['reason']}")
            time.sleep(0.05)
        raise DidNotStart(f"{rollout} is not promoted after {seconds:.0f} s")

    # --- processes ----------------------------------------------------------------------------------------

    def pids(self) -> list[int]:
        """All processes: the supervisor's, and workers, which outlive the host that started them."""
        return descendants(_of_home(self.home))

    def pid_of(self, process: str) -> int:
        """Of one that the supervisor keeps: `host`, `control`, `collector`, `envoy`..."""
        return int(json.loads((self.home / "run" / f"{process}.json").read_text())["pid"])

    def host_with(self, *options: str) -> None:
        """Runs the model host with other limits than the ones it has by itself: idle times are minutes, which no
        bench can wait for. The supervisor sleeps from now on."""
        freeze([self.pid_of("supervisor")])
        host = self.pid_of("host")
        os.kill(host, signal.SIGTERM)
        _until(lambda: not Path(f"/proc/{host}/cmdline").exists() or not Path(f"/proc/{host}/cmdline").read_bytes(), 30)
        command = [sys.executable, "-P", "-m", "serinus.targets.local.host", "--home", str(self.home), *options]
        self._host = Group(command, self.home / "logs" / "bench-host.log")
        _until(self._host_answers, 60)

    def _host_answers(self) -> bool:
        try:
            self.workers()
        except SerinusError:
            return False
        return True

    def workers(self) -> Mapping[str, Placement]:
        """Release -> placement, as the host reports it."""
        return HostTarget(Home(self.home)).observe()


def _until(true: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not true():
        if time.monotonic() > until:
            raise DidNotStart(f"the model host is not there after {seconds:.0f} s")
        time.sleep(0.05)


def _of_home(home: Path) -> Sequence[int]:
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            try:
                words = (directory / "cmdline").read_bytes() + (directory / "environ").read_bytes()
                inside = str((directory / "cwd").resolve()).startswith(str(home))
            except OSError:  # ended, or somebody else's
                continue
            if inside or str(home).encode() in words:
                found.append(int(directory.name))
    return found


class Serinus:
    """One model of an installation, as a server of the bench."""

    def __init__(self, installation: Installation, name: str, model: str, kind: str, **serving: Any) -> None:
        headers = {"x-api-key": installation.key} if installation.key else {}
        self.name = name
        self.protocol = replace(split(f"/models/{model}/invocations"), headers=headers, entities=True)
        self._installation, self._model, self._kind, self._serving = installation, model, kind, serving
        self.port = 0

    def start(self) -> None:
        self._installation.publish(self._model, self._kind, **self._serving)
        self.port = self._installation.port

    def pids(self) -> Sequence[int]:
        return self._installation.pids()

    def stop(self) -> None:
        """The installation is taken down as a whole, by whoever brought it up."""
