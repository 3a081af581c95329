"""The lab as the demo uses it: a namespace, a fleet repository, and what is left of them."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from clusterlab import LabError, building, lifecycle, serving
from clusterlab.modules import program

NAME = "serinus-demo"
"""Of the namespace, of the repository, and of the cluster in Git."""
ARGO_CD = "argocd"
_APPLICATIONS_GO_SECONDS = 150
_RELEASES = {
    # The lab has two processors for everything. Little is requested, so that the load of the demo is much of it.
    "replicas": {"least": 1, "most": 2, "cpu_percent": 70, "scale_down_after": "10s"},
    "sizing": {"requested_share": 0.05},
}


@dataclass(frozen=True)
class Lab:
    kubeconfig: str
    registry: str
    """Asked without TLS, by this machine and by the nodes."""
    machine: str
    """This machine's address, as pods reach it."""
    git: str
    """The URL of the directory that holds the repositories."""
    repositories: Path
    """That directory."""

    @property
    def fleet(self) -> str:
        return f"{self.git}/{NAME}.git"

    @property
    def bare(self) -> Path:
        return self.repositories / f"{NAME}.git"

    def kubectl(self, *words: str, given: str | None = None) -> str:
        """What it prints. Raises SystemExit with what it reports."""
        done = subprocess.run(self._line(words), input=given, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"kubectl {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def get(self, *words: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.kubectl("get", *words, "--output=json"))["items"]
        return found

    def shown(self, *words: str) -> None:
        """What it prints, on the screen, indented."""
        print(f"\n  $ kubectl {' '.join(words)}", flush=True)
        done = subprocess.run(
            self._line(words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        for line in done.stdout.splitlines():
            print(f"    {line}", flush=True)

    def _line(self, words: Sequence[str]) -> list[str]:
        built = program("kubectl")
        return [str(built) if built.exists() else "kubectl", f"--kubeconfig={self.kubeconfig}", *words]

    # --- what the demo makes ------------------------------------------------------------------------------

    def prepare(self, settings: Path) -> None:
        """Makes the namespace, an empty fleet repository, the base image, and the file of the cluster's settings."""
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        metadata = {"name": NAME, "labels": labels}
        self.kubectl(
            "apply", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        )
        subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(self.bare)], check=True)
        words = [sys.executable, "-m", "serinus.targets.kubernetes.images", f"{self.registry}/serinus/base", "--plain"]
        base = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
        settings.write_text(yaml.safe_dump(self.settings(base, free_port()), sort_keys=False))

    def settings(self, base: str, port: int) -> dict[str, Any]:
        """The settings of the cluster, with the collector of this machine at `port`."""
        repository = f"{self.registry}/serinus"
        usual = serving.settings(
            self.kubeconfig, NAME, repository, base, [self.registry], self.machine, port, _RELEASES
        )
        return {**usual, "fleet": {"remote": self.fleet, "argo_cd": {"cluster": NAME}}}

    def clear(self) -> None:
        """Removes all that a demo made, also one that was killed. Serinus must have ended: it would make the
        ApplicationSet again. Images stay in the registry."""
        with ExitStack() as steps:  # Each is tried, in the order from the last one to the first one.
            steps.callback(shutil.rmtree, self.bare, ignore_errors=True)
            for kind in serving.OF_THE_WHOLE_CLUSTER:
                steps.callback(self._delete, kind, f"serinus-gateway-reports.{NAME}")
            steps.callback(self._delete, "namespace", NAME)
            steps.callback(self._delete, "appproject", f"serinus-{NAME}", f"--namespace={ARGO_CD}")
            steps.callback(self._wait_for_applications)  # No Application ends without its project.
            steps.callback(self._delete, "applicationset", f"serinus-{NAME}", f"--namespace={ARGO_CD}")

    def _delete(self, *words: str) -> None:
        self.kubectl("delete", *words, "--ignore-not-found", "--timeout=150s")

    def _wait_for_applications(self) -> None:
        deadline = time.monotonic() + _APPLICATIONS_GO_SECONDS
        while left := [one["metadata"]["name"] for one in self.applications()]:
            if time.monotonic() > deadline:
                raise SystemExit(f"Argo CD has not removed its Applications {', '.join(left)}")
            time.sleep(0.5)

    def applications(self) -> list[dict[str, Any]]:
        return self.get("applications", f"--namespace={ARGO_CD}", f"--selector=serinus/cluster={NAME}")

    def pods_wanted(self, release: str) -> int:
        """How many the autoscaler of the release wants it to have."""
        told = self.kubectl("get", "horizontalpodautoscaler", release, f"--namespace={NAME}", "--output=json")
        return int(json.loads(told)["status"].get("desiredReplicas", 0))

    def rescales(self, release: str) -> list[dict[str, Any]]:
        """The events of that autoscaler in which it has changed the number of pods."""
        of = f"involvedObject.kind=HorizontalPodAutoscaler,involvedObject.name={release},reason=SuccessfulRescale"
        return self.get("events", f"--namespace={NAME}", f"--field-selector={of}")

    def states(self) -> dict[str, str]:
        """What Argo CD says of each Application that is not being removed."""
        found = {}
        for one in self.applications():
            if "deletionTimestamp" not in one["metadata"]:
                said = [one.get("status", {}).get(part, {}).get("status", "unknown") for part in ("sync", "health")]
                found[one["metadata"]["name"]] = " ".join(said)
        return found

    def synced(self, seconds: float) -> bool:
        """Whether there are Applications, and all are in sync and healthy within this time."""
        deadline = time.monotonic() + seconds
        while set(self.states().values()) != {"Synced Healthy"}:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.5)
        return True


@contextmanager
def running() -> Iterator[Lab]:
    """The lab of this machine, without anything of an earlier demo; what is made in it is removed at the end. Where it
    does not run it is started, and ended afterwards. Raises SystemExit with what is missing."""
    if named := os.environ.get("SERINUS_KUBECONFIG"):
        raise SystemExit(
            f"SERINUS_KUBECONFIG names the cluster of {named}, and this demo runs on the lab alone: it makes "
            "repositories on the Git server of the lab, from which its Argo CD reads. Unset the variable, or install "
            "Serinus on that cluster as docs/one-machine-to-kubernetes.md says."
        )
    started = lifecycle.status()["state"] != "up"
    if started and (missing := building.missing()):
        raise SystemExit(
            f"The lab does not run, and {len(missing)} of its programs are not built. Run `make lab-build` first, as "
            "the user who runs the demo: it takes 20 to 30 minutes on two processors, once (docs/lab.md)."
        )
    try:
        with lifecycle.running(_indented) as told:
            for name in lifecycle.proxies():  # The lab is reached without one.
                del os.environ[name]
            lab = Lab(told["kubeconfig"], told["registry"], told["machine"], told["git"], Path(told["repositories"]))
            for path in (lab.kubeconfig, lab.repositories):
                if not os.access(path, os.R_OK):
                    raise SystemExit(
                        f"{path} belongs to another user. Run the demo as root, or start the lab with "
                        f"`python -m clusterlab up --owner {os.geteuid()}`."
                    )
            lab.clear()
            try:
                yield lab
            finally:
                if not started:  # Else all of it ends with the lab.
                    lab.clear()
    except LabError as error:
        raise SystemExit(str(error)) from None


def _indented(line: str) -> None:
    print(f"  {line}", flush=True)


def free_port() -> int:
    with socket.create_server(("", 0)) as free:
        port: int = free.getsockname()[1]
    return port
