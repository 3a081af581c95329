"""What is built: programs of Go modules whose versions are pinned by `go/<module>/go.mod` and `go.sum`."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

DIRECTORY = Path(__file__).resolve().parent / "go"
KUBERNETES = "1.37.2"
_COMPONENTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")
_MAJOR, _MINOR, _ = KUBERNETES.split(".")
_VERSION = "k8s.io/component-base/version"


@dataclass(frozen=True, slots=True)
class Module:
    name: str
    """The directory of its go.mod."""
    programs: Mapping[str, str]
    """Program -> its Go package."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """What the linker sets: name of a string variable -> its value."""
    manifests: tuple[str, ...] = ()
    """Files that the programs come with, below `manifests/` of the module `source`."""
    source: str = ""

    @property
    def directory(self) -> Path:
        return DIRECTORY / self.name

    @property
    def digest(self) -> str:
        """16 hexadecimal digits of all that decides what the programs are, but for the version of Go."""
        asked = [platform.machine(), dict(self.programs), dict(self.variables), self.manifests]
        told = hashlib.sha256(json.dumps(asked).encode())
        for path in sorted(self.directory.rglob("*")):
            if path.is_file():
                told.update(f"\n{path.relative_to(self.directory)} {path.stat().st_size}\n".encode())
                told.update(path.read_bytes())
        return told.hexdigest()[:16]

    @property
    def built(self) -> Path:
        """Where its programs and manifests are."""
        return cache() / f"{self.name}-{self.digest}"


# In the order in which they are built.
MODULES = (
    Module("pods", {name: f"serinus/clusterlab/pods/{name}" for name in ("pause", "answer")}),
    Module("etcd", {"etcd": "go.etcd.io/etcd/server/v3"}),
    Module(
        "kubernetes",
        {name: f"k8s.io/kubernetes/cmd/{name}" for name in _COMPONENTS},
        # A module that is built as a dependency does not know its version.
        {f"{_VERSION}.gitVersion": f"v{KUBERNETES}", f"{_VERSION}.gitMajor": _MAJOR, f"{_VERSION}.gitMinor": _MINOR},
    ),
    Module("coredns", {"coredns": "serinus/clusterlab/coredns"}),
    Module("metrics-server", {"metrics-server": "sigs.k8s.io/metrics-server/cmd/metrics-server"}),
    Module(
        "argo-cd",
        {"argocd": "github.com/argoproj/argo-cd/v3/cmd"},
        manifests=(
            "core-install.yaml",
            "crds/application-crd.yaml",
            "crds/applicationset-crd.yaml",
            "crds/appproject-crd.yaml",
        ),
        source="github.com/argoproj/argo-cd/v3",
    ),
)

OBJECT_STORE = Module("versitygw", {"versitygw": "github.com/versity/versitygw/cmd/versitygw"})
"""A server of S3, for tests of the prediction log. The lab runs without it."""


def cache() -> Path:
    """The directory of what is built, outside of the checkout."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(named) if Path(named).is_absolute() else Path.home() / ".cache") / "serinus-lab"


def program(name: str) -> Path:
    """Where a program is or will be."""
    [found] = (module.built / name for module in (*MODULES, OBJECT_STORE) if name in module.programs)
    return found


def manifest(name: str) -> Path:
    """As `program`, of a file of `manifests/`."""
    [found] = (module.built / "manifests" / name for module in MODULES if name in module.manifests)
    return found
