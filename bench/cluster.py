"""`python -m bench.cluster`: what Serinus does on a Kubernetes cluster, beside what it does on one machine.

    sudo make lab-up
    sudo .venv/bin/python -m bench.cluster           prints the table
    sudo .venv/bin/python -m bench.cluster --write   and puts it into docs/kubernetes.md

The engine runs outside of the cluster. The lab has the cluster on this machine (docs/lab.md), so that root sees what
its pods take of processors and memory. Turns of both are interleaved. Exit code 1 where a goal is not met.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import signal
import statistics
import subprocess
import sys
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from bench import ROOT, SCRATCH, wrk
from bench.cpu import spent_us, table
from bench.data import request_rows
from bench.fleets import with_requirements
from bench.models import saved
from bench.openloop import OpenLoop
from bench.processes import free_port, freeze, kind_of, thaw, usage
from bench.product import WITHOUT_RECHECK, Installation
from bench.requests import split
from bench.rollouts import asks_of, first_canary, rollback
from clusterlab import lifecycle, serving
from clusterlab.modules import program
from serinus.targets.kubernetes.images import debian
from serinus.targets.kubernetes.images.registry import DockerConfig, Registries

_MODEL = "asked"
_RATE = 100
"""Requests a second while something is deployed or rolled back."""
_CONNECTIONS = 8
_TURNS, _SECONDS = 7, 3.0
_DOCUMENT = ROOT / "docs" / "kubernetes.md"
_HEADING = "| what must be reached | goal | measured |"


@dataclass(frozen=True)
class Line:
    what: str
    goal: str
    measured: str
    met: bool

    @property
    def row(self) -> str:
        return f"| {self.what} | {self.goal} | {self.measured}{'' if self.met else ' (not met)'} |"


class Lab:
    """The namespace of this benchmark in the lab."""

    def __init__(self) -> None:
        told = lifecycle.status()
        if told["state"] != "up":
            raise SystemExit("The lab does not run: `sudo make lab-up` starts it.")
        self.kubeconfig, self.registry, self.machine = told["kubeconfig"], told["registry"], told["machine"]
        self.namespace = f"bench-{uuid.uuid4().hex[:6]}"

    def kubectl(self, *words: str, given: str | None = None) -> str:
        command = [str(program("kubectl")), f"--kubeconfig={self.kubeconfig}", *words]
        return subprocess.run(command, input=given, check=True, capture_output=True, text=True).stdout

    @contextmanager
    def settings(self) -> Iterator[Path]:
        """The file for `serinus up --cluster`. The namespace is there, and goes at the end."""
        base = debian.push(Registries(DockerConfig(), plain=[self.registry]).of(self.registry), "serinus/base")
        # A repository of its own, in which no layer is.
        repository = f"{self.registry}/{self.namespace}"
        document = serving.settings(
            self.kubeconfig, self.namespace, repository, str(base), [self.registry], self.machine, free_port()
        )
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        metadata = {"name": self.namespace, "labels": labels}
        self.kubectl(
            "apply", "--filename=-", given=json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        )
        file = SCRATCH / f"{self.namespace}.yaml"
        SCRATCH.mkdir(exist_ok=True)
        file.write_text(yaml.safe_dump(document))
        try:
            yield file
        finally:
            file.unlink()
            for kind in serving.OF_THE_WHOLE_CLUSTER:
                self.kubectl("delete", kind, f"serinus-gateway-reports.{self.namespace}", "--ignore-not-found")
            self.kubectl("delete", "namespace", self.namespace, "--wait=false")

    def pids(self, selector: str = "") -> list[int]:
        """The processes in the pods of the namespace, as this machine sees them."""
        words = ("get", "pods", f"--namespace={self.namespace}", f"--selector={selector}", "--output=json")
        return serving.processes_of(json.loads(self.kubectl(*words))["items"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beside", action="store_true", help="only the comparison with one machine")
    parser.add_argument("--write", action="store_true", help="put the table into docs/kubernetes.md")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what runs is stopped on the way out
    if not wrk.there():
        raise SystemExit(wrk.HOW_TO_GET)
    lab = Lab()
    with Installation("machine", up=WITHOUT_RECHECK) as machine, lab.settings() as settings:
        machine.publish(_MODEL, "xgboost")
        freeze(machine.pids())
        with Installation("cluster", up=(*WITHOUT_RECHECK, "--cluster", str(settings))) as cluster:
            cluster.publish(_MODEL, "xgboost")
            lines = [] if asked.beside else [*_deployments(cluster), *_rollbacks(cluster)]
            lines += _beside(lab, cluster, machine)
    print("\n".join(["", _HEADING, "|---|---|---|", *(line.row for line in lines)]))
    if asked.write:
        _write(lines)
    return 0 if all(line.met for line in lines) else 1


def _deployments(cluster: Installation) -> list[Line]:
    other, elsewhere = cluster.home / "other", cluster.home / "other-environment"
    shutil.copytree(saved("xgboost"), other)
    (other / "notes.txt").write_text("Other files than the champion's, so nothing that was found of those is known.")
    known = first_canary(cluster, _MODEL, other, _RATE)
    with_requirements(saved("xgboost"), ["six==1.16.0"], elsewhere)
    cold = first_canary(cluster, _MODEL, elsewhere, _RATE)
    return [
        Line("deploy to first canary request, known environment", "<= 60 s", f"{known:.0f} s", known <= 60),
        Line("the same, with an environment that was never built", "<= 180 s", f"{cold:.0f} s", cold <= 180),
    ]


def _rollbacks(cluster: Installation) -> list[Line]:
    cluster.publish(_MODEL, "xgboost")
    effects, failed, answered = [], 0, 0
    for _ in range(3):
        loop = OpenLoop(cluster.port, asks_of(_MODEL), _RATE, releases=True, host=cluster.host)
        effects.append(rollback(cluster, _MODEL, loop) / 1e3)
        failed, answered = failed + loop.report.failed, answered + loop.report.answered
        print(f"  rollback: in effect after {effects[-1]:.2f} s, {loop.report.failed} failed", flush=True)
    said = f"{statistics.median(effects):.1f} s, at most {max(effects):.1f} s; {failed} of {answered:,} failed"
    return [Line("rollback of all traffic", "<= 5 s, none failed", said, max(effects) <= 5 and not failed)]


def _beside(lab: Lab, cluster: Installation, machine: Installation) -> list[Line]:
    lua = SCRATCH / f"{lab.namespace}.lua"
    lua.write_text(wrk.script(split(f"/models/{_MODEL}/invocations"), request_rows(strings=False)))
    found: dict[str, list[Mapping[str, float]]] = {"cluster": [], "machine": []}
    for _ in range(_TURNS):
        found["cluster"].append(_turn(cluster, lambda: [*lab.pids(), *cluster.pids()], lua))
        thaw(machine.pids())
        found["machine"].append(_turn(machine, machine.pids, lua))
        freeze(machine.pids())
        print("  " + ", ".join(f"{name}: {turns[-1]['all']:.0f} us" for name, turns in found.items()), flush=True)
    lua.unlink()
    print(f"\n{table(found)}")
    ratio = statistics.median(
        here["all"] / there["all"] for there, here in zip(found["cluster"], found["machine"], strict=True)
    )
    there, here = (1e6 / statistics.median(turn["all"] for turn in found[name]) for name in ("cluster", "machine"))
    with cluster.api() as api:
        pss = usage(lab.pids(f"serinus/release={cluster.champion(api, _MODEL)}")).pss_mb
    compared = f"{ratio:.0%} ({there:,.0f} : {here:,.0f})"
    return [
        Line("requests a second of a core, against one machine", ">= 90%", compared, ratio >= 0.9),
        Line("memory of the pod of a compiled release", "<= 150 MB", f"{pss:.0f} MB PSS", pss <= 150),
    ]


def _turn(side: Installation, pids: Callable[[], Sequence[int]], lua: Path) -> dict[str, float]:
    """Microseconds of processor time a request by kind of process, and of `all` processes: the collector's and the
    control plane's included, and those that begin meanwhile. `requests/s` beside."""
    wrk.run(side.port, lua, _CONNECTIONS, 1, side.host)
    before = {pid: spent_us(pid)[0] for pid in pids()}
    seen = wrk.run(side.port, lua, _CONNECTIONS, _SECONDS, side.host)
    if seen.failed:
        raise SystemExit(f"{seen.failed} of {seen.requests} requests failed at port {side.port}")
    used: defaultdict[str, float] = defaultdict(float)
    for pid in pids():
        used[kind_of(pid) or "ended"] += spent_us(pid)[0] - before.get(pid, 0.0)
    a_request = {kind: spent / seen.requests for kind, spent in used.items()}
    return {**a_request, "all": sum(a_request.values()), "requests/s": seen.rps}


def _write(lines: Sequence[Line]) -> None:
    before, heading, after = _DOCUMENT.read_text().partition(_HEADING)
    if not heading:
        raise SystemExit(f"{_DOCUMENT} has no table {_HEADING!r}")
    rows = "\n".join(line.row for line in lines)
    _DOCUMENT.write_text(
        before + heading + re.sub(r"(\|---.*\|\n)(\|.*\n)*", lambda one: f"{one[1]}{rows}\n", after, count=1)
    )


if __name__ == "__main__":
    sys.exit(main())
