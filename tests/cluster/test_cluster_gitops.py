"""Releases by way of Git: Serinus commits, Argo CD applies, and neither undoes what the other or the HPA does. A target
by Git does what every Target must do."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from clusters import Cluster as Lab
from clusters import eventually
from relays import as_bearer, relayed
from released import Released, made
from target_contract import TargetContract, ready

from serinus.backends.git import GitFleet, Remote
from serinus.backends.sql import SqlStore
from serinus.core.home import Home
from serinus.core.placement import Placement, PlacementState
from serinus.core.ports import Target
from serinus.core.release import Release, Scale
from serinus.targets.kubernetes.cluster import Cluster
from serinus.targets.kubernetes.cluster.kinds import KINDS, SECRET
from serinus.targets.kubernetes.gitops import GitOps
from serinus.targets.kubernetes.manifests import Replicas, Settings, Sizing
from serinus.targets.kubernetes.recording import DeploymentRecords
from serinus.targets.kubernetes.target import KubernetesTarget
from serinus.wiring.gitops import build_git_applier
from serinus.wiring.kept_images import KeptImages
from serinus.wiring.kubernetes import build_target

pytestmark = pytest.mark.timeout(600)
_NUMBERS = itertools.count(1)
ONE = Replicas(least=1, most=1)
SMALL = Sizing(requested_share=0.05)
"""Of the processors, which are few where the lab runs."""


@pytest.fixture(scope="module")
def released(cluster: Lab, tmp_path_factory: pytest.TempPathFactory) -> Released:
    if cluster.git is None:
        pytest.skip("this cluster has no Argo CD with a Git server that these tests may use: the lab has")
    return made(Home(tmp_path_factory.mktemp("released") / "home"), cluster.registry, cluster.plain)


@pytest.fixture
def release(released: Released) -> Release:
    return released.release()


@dataclass(frozen=True)
class Place:
    """A namespace, a repository and an ApplicationSet of one test."""

    lab: Lab
    namespace: str
    gitops: GitOps
    server: Path
    """The bare repository."""
    home: Path

    def application(self, release: Release) -> dict[str, Any]:
        name = self.gitops.application(release.id)
        found: dict[str, Any] = self.lab.get("application", name, "--namespace=argocd")
        return found

    def state(self, release: Release) -> tuple[str, str]:
        status = self.application(release).get("status") or {}
        return tuple((status.get(part) or {}).get("status", "") for part in ("sync", "health"))  # type: ignore[return-value]

    def deployment(self, release: Release) -> dict[str, Any]:
        found: dict[str, Any] = self.lab.get("deployment", release.id, f"--namespace={self.namespace}")
        return found

    def patch(self, release: Release, spec: dict[str, Any]) -> None:
        """As `kubectl edit` does."""
        patch = json.dumps({"spec": spec})
        self.lab.kubectl("patch", "deployment", release.id, f"--namespace={self.namespace}", "--patch", patch)

    def git(self, *arguments: str) -> str:
        command = ["git", "-c", "safe.directory=*", "-C", str(self.server), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def files(self) -> list[str]:
        return self.git("ls-tree", "-r", "--name-only", "main").splitlines()


@pytest.fixture
def place(cluster: Lab, namespace: str, tmp_path: Path, released: Released) -> Iterator[Place]:
    assert cluster.git is not None
    number = next(_NUMBERS)
    own = f"{namespace}-{number}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.apply("default", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": own, "labels": labels}})
    name = f"gitops-{os.getpid()}-{number}"
    bare = cluster.git.directory / f"{name}.git"
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", bare], check=True)
    gitops = GitOps(f"{cluster.git.url}/{name}.git", name)
    yield Place(cluster, own, gitops, bare, tmp_path / "fleet")
    cluster.leave_argo_cd(name)
    cluster.kubectl("delete", "namespace", own, "--wait=false")
    shutil.rmtree(bare)


@pytest.fixture
def target_in(place: Place, released: Released) -> Iterator[Callable[..., KubernetesTarget]]:
    """Makes targets that bring releases by Git."""
    with ExitStack() as ended:

        def make(kubeconfig: Path | None = None, replicas: Replicas = ONE) -> KubernetesTarget:
            client = Cluster.connected(kubeconfig or place.lab.kubeconfig)
            ended.callback(client.close)
            settings = Settings(place.namespace, replicas=replicas, sizing=SMALL)
            fleet = GitFleet(place.home, Remote(place.gitops.repository))
            applier = build_git_applier(fleet, client, place.gitops, place.namespace)
            kept = KeptImages(released.home, released.image_of, SqlStore(f"sqlite:///{place.home}.db"))
            target = build_target(released.home, client, settings, kept, applier=applier)
            ended.callback(target.close)
            return target

        yield make


@pytest.fixture
def target(target_in: Callable[..., KubernetesTarget]) -> KubernetesTarget:
    return target_in()


class TestByGit(TargetContract):
    @pytest.fixture
    def away(
        self, place: Place, target_in: Callable[..., KubernetesTarget], tmp_path: Path
    ) -> Iterator[KubernetesTarget]:
        with relayed(place.lab.kubeconfig, tmp_path) as (relay, file):
            relay.cut()
            yield target_in(file)


_NAMES = (
    *("Deployment", "HorizontalPodAutoscaler", "NetworkPolicy", "Pod"),
    *("PodDisruptionBudget", "Secret", "Service", "ServiceAccount"),
)
OWN = [kind for kind in KINDS if kind.name in _NAMES]


def left(client: Cluster, namespace: str) -> set[str]:
    """The kinds of which a release still has an object."""
    return {kind.name for kind in OWN if client.list(kind, namespace, labels={"serinus/role": "release"}).items}


@pytest.fixture
def client(cluster: Lab) -> Iterator[Cluster]:
    one = Cluster.connected(cluster.kubeconfig)
    yield one
    one.close()


def reason(target: Target, release: Release, words: str) -> Placement:
    """What it says once it says this."""

    def said() -> bool:
        found = target.observe()[release.id]
        assert words in found.reason, found
        return True

    eventually(words, said)
    return target.observe()[release.id]


def test_a_release_is_committed_synced_and_ready_and_pruned_after_its_removal(
    place: Place, target: KubernetesTarget, release: Release, client: Cluster
) -> None:
    target.place(release)
    ready(target, release)
    folder = f"rendered/{place.gitops.cluster}/card-fraud/{release.id}"
    assert f"{folder}/deployment.yaml" in place.files()
    assert not any("secret" in path for path in place.files())
    eventually("synced and healthy", lambda: place.state(release) == ("Synced", "Healthy"))
    assert target.observe()[release.id].reason == ""
    assert left(client, place.namespace) == set(_NAMES)

    target.remove(release.id)
    assert target.observe() == {}
    eventually("the folder is gone", lambda: not place.files())
    while "Pod" in (there := left(client, place.namespace)):
        assert "NetworkPolicy" in there or "Pod" not in left(client, place.namespace)
    eventually("nothing is left", lambda: not left(client, place.namespace))
    name = place.gitops.application(release.id)
    eventually("its Application is gone", lambda: name not in place.lab.kubectl("get", "applications", "-A"))


def test_what_a_person_edits_or_deletes_in_the_cluster_is_healed(
    place: Place, target: KubernetesTarget, release: Release
) -> None:
    target.place(release)
    ready(target, release)
    eventually("synced and healthy", lambda: place.state(release) == ("Synced", "Healthy"))
    place.patch(release, {"progressDeadlineSeconds": 999})
    place.lab.kubectl("delete", "service", release.id, f"--namespace={place.namespace}")
    eventually("the edit is undone", lambda: place.deployment(release)["spec"]["progressDeadlineSeconds"] == 600)
    eventually("the Service is back", lambda: place.lab.get("service", release.id, f"--namespace={place.namespace}"))
    assert len(place.git("rev-list", "main").splitlines()) == 1


def test_argo_cd_and_the_autoscaler_never_undo_each_other(
    place: Place, target_in: Callable[..., KubernetesTarget], release: Release
) -> None:
    # Pods that start use more processors than all others, and are no load.
    target = target_in(replicas=Replicas(least=2, most=4, cpu_percent=1000, scale_down_after=0))
    target.place(release)
    ready(target, release)
    eventually("the autoscaler has decided", lambda: place.deployment(release)["spec"]["replicas"] == 2)
    eventually("synced and healthy", lambda: place.state(release) == ("Synced", "Healthy"))

    # A person asks for more, which is no drift: the autoscaler alone takes it back.
    place.patch(release, {"replicas": 3})
    states, counts = set(), []

    def back() -> bool:
        states.add(place.state(release)[0])
        counts.append(place.deployment(release)["spec"]["replicas"])
        return counts[-1] == 2

    eventually("the autoscaler has taken it back", back)
    assert states == {"Synced"}
    assert counts[0] == 3

    # A change in Git is applied while the autoscaler goes on deciding.
    target.place(release, Scale(max_workers=2))
    seen: list[int] = []

    def applied() -> bool:
        one = place.deployment(release)
        seen.append(one["spec"]["replicas"])
        return '"max_workers":2' in one["metadata"]["annotations"]["serinus/scale"] and (
            place.state(release) == ("Synced", "Healthy")
        )

    eventually("the change is applied", applied, seconds=240)
    assert set(seen) == {2}
    # So does the floor that the engine sets for load that is coming.
    target.expect(release.id, 6)
    eventually("three pods", lambda: place.deployment(release)["spec"]["replicas"] == 3)
    target.place(release, Scale(max_workers=2, keep_warm=True))
    floors: set[int] = set()

    def applied_again() -> bool:
        autoscaler = place.lab.get("horizontalpodautoscaler", release.id, f"--namespace={place.namespace}")
        floors.add(autoscaler["spec"]["minReplicas"])
        said = place.deployment(release)["metadata"]["annotations"]["serinus/scale"]
        return '"keep_warm":true' in said and place.state(release) == ("Synced", "Healthy")

    eventually("the change is applied", applied_again, seconds=240)
    assert floors == {3}
    assert target.observe()[release.id].expected == 6
    owners = {
        field["manager"]
        for field in json.loads(
            place.lab.kubectl(
                *("get", "deployment", release.id, f"--namespace={place.namespace}"),
                *("--output=json", "--show-managed-fields"),
            )
        )["metadata"]["managedFields"]
        if "f:replicas" in field["fieldsV1"].get("f:spec", {})
    }
    assert not any(owner.startswith("argocd") or owner == "serinus" for owner in owners), owners


def test_what_people_push_meanwhile_is_kept(
    place: Place, target: KubernetesTarget, release: Release, tmp_path: Path
) -> None:
    clone, done = tmp_path / "clone", threading.Event()
    subprocess.run(["git", "clone", "--quiet", place.gitops.repository, clone], check=True, capture_output=True)
    pushed = 0

    def git(*arguments: str) -> int:
        who = ("-c", "user.name=Carla", "-c", "user.email=carla@example.org")
        return subprocess.run(["git", "-C", clone, *who, *arguments], capture_output=True).returncode

    def push() -> None:
        nonlocal pushed
        for number in itertools.count():
            (clone / f"note-{number}.md").write_text("By hand\n")
            git("add", "--all")
            git("commit", "--quiet", "-m", f"Note {number}")
            while git("push", "--quiet", "origin", "HEAD:main") != 0:
                git("pull", "--quiet", "--rebase", "origin", "main")
            pushed += 1
            if done.wait(1.0):
                return

    person = threading.Thread(target=push)
    person.start()
    try:
        target.place(release)
        ready(target, release)
    finally:
        done.set()
        person.join()
    assert pushed > 1
    notes = [path for path in place.files() if path.startswith("note-")]
    assert len(notes) == pushed
    assert f"rendered/{place.gitops.cluster}/card-fraud/{release.id}/deployment.yaml" in place.files()


def emptied(place: Place) -> None:
    """The namespace is another one of the same name: Argo CD applies what is in Git, and nobody else anything."""
    place.lab.kubectl("delete", "namespace", place.namespace, "--timeout=180s")
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    metadata = {"name": place.namespace, "labels": labels}
    place.lab.apply("default", {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})


@pytest.mark.parametrize("away", [False, True], ids=["while the engine runs", "while it is away"])
def test_a_namespace_that_was_emptied_serves_again_from_git_and_nothing_is_committed(
    place: Place, target_in: Callable[..., KubernetesTarget], release: Release, client: Cluster, away: bool
) -> None:
    target = target_in()
    target.place(release)
    ready(target, release)
    head = place.git("rev-parse", "main")
    if away:
        target.close()
    emptied(place)
    # Another control plane is told to place nothing, and does so by what runs.
    target = target_in() if away else target
    eventually("it is applied", lambda: release.id in target.observe(), seconds=240)
    ready(target, release)
    assert left(client, place.namespace) == set(_NAMES)
    assert place.git("rev-parse", "main") == head


def test_a_secret_that_is_deleted_is_made_anew_and_what_git_says_is_read_back(
    place: Place, target_in: Callable[..., KubernetesTarget], release: Release, client: Cluster
) -> None:
    target = target_in()
    target.place(release)
    ready(target, release)
    place.lab.kubectl("delete", "secret", release.id, f"--namespace={place.namespace}")
    eventually("it is there", lambda: client.find(SECRET, release.id, place.namespace), seconds=90)
    fleet = GitFleet(place.home.with_name("another"), Remote(place.gitops.repository))
    records = DeploymentRecords(build_git_applier(fleet, client, place.gitops, place.namespace).recorded)
    [found] = records.recorded()
    assert replace(found.release, created_at=release.created_at) == release
    assert records.image_of(release) == place.deployment(release)["spec"]["template"]["spec"]["containers"][0]["image"]


def test_a_protected_branch_is_said_and_the_release_comes_once_it_is_allowed(
    place: Place, target: KubernetesTarget, release: Release
) -> None:
    hook = place.server / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'main is protected: open a merge request' >&2\nexit 1\n")
    hook.chmod(0o755)
    target.place(release)
    found = reason(target, release, "main is protected: open a merge request")
    assert found.state is PlacementState.STARTING
    assert "The Git server refuses commits of Serinus" in found.reason
    hook.unlink()
    ready(target, release)


def test_a_sync_that_fails_is_said_in_argo_cds_own_words(
    place: Place, target: KubernetesTarget, release: Release
) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team"}}
    place.lab.apply(place.namespace, {**quota, "spec": {"hard": {"count/services": "0"}}})
    namespace = f"--namespace={place.namespace}"
    eventually("it is in force", lambda: place.lab.get("resourcequota", "team", namespace)["status"]["hard"])
    target.place(release)
    found = reason(target, release, "Argo CD cannot apply it: Service")
    assert "exceeded quota: team" in found.reason
    assert found.state is PlacementState.STARTING
    place.lab.kubectl("delete", "resourcequota", "team", namespace)
    ready(target, release)


RULES = """
- {apiGroups: [apps], resources: [deployments], verbs: [get, list, watch]}
- {apiGroups: [autoscaling], resources: [horizontalpodautoscalers], verbs: [list, watch, patch]}
- {apiGroups: [policy], resources: [poddisruptionbudgets], verbs: [list]}
- {apiGroups: [networking.k8s.io], resources: [networkpolicies], verbs: [list]}
- {apiGroups: [''], resources: [services, serviceaccounts], verbs: [list]}
- {apiGroups: [''], resources: [secrets], verbs: [list, create, patch, delete]}
- {apiGroups: [''], resources: [pods, events], verbs: [list, watch]}
- {apiGroups: [''], resources: [configmaps], verbs: [get, create, patch]}
- {apiGroups: [metrics.k8s.io], resources: [pods], verbs: [list]}
"""
RULES_IN_ARGO_CD = """
- {apiGroups: [argoproj.io], resources: [applications], verbs: [list, watch, patch]}
- {apiGroups: [argoproj.io], resources: [applicationsets], verbs: [get, create, patch]}
- {apiGroups: [argoproj.io], resources: [appprojects], verbs: [create, patch]}
"""


def test_the_documented_rights_suffice_and_releases_need_none_to_be_written(
    place: Place, target_in: Callable[..., KubernetesTarget], release: Release, client: Cluster, tmp_path: Path
) -> None:
    api, name = "rbac.authorization.k8s.io/v1", place.gitops.cluster
    subject = {"kind": "ServiceAccount", "name": name, "namespace": place.namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    metadata = {"name": name}
    place.lab.apply(place.namespace, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
    try:
        for namespace, rules in ((place.namespace, RULES), ("argocd", RULES_IN_ARGO_CD)):
            place.lab.apply(
                namespace,
                {"apiVersion": api, "kind": "Role", "metadata": metadata, "rules": yaml.safe_load(rules)},
                {
                    "apiVersion": api,
                    "kind": "RoleBinding",
                    "metadata": metadata,
                    "roleRef": role,
                    "subjects": [subject],
                },
            )
        token = place.lab.kubectl("create", "token", name, f"--namespace={place.namespace}").strip()
        target = target_in(as_bearer(place.lab.kubeconfig, token, tmp_path))
        target.place(release)
        ready(target, release)
        target.remove(release.id)
        eventually("nothing is left", lambda: not left(client, place.namespace), seconds=180)
    finally:
        for kind in ("role", "rolebinding"):
            place.lab.kubectl("delete", kind, name, "--namespace=argocd", "--ignore-not-found")
