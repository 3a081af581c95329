"""What Argo CD is told, and the files of a release, against files that a person has read."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from strict import VERSIONS, mistakes

from serinus.core.release import Release, Scale, ServingSettings
from serinus.targets.kubernetes import manifests as of_release
from serinus.targets.kubernetes.cluster.kinds import kind_of
from serinus.targets.kubernetes.gitops.manifests import DIGEST, application_set, files_of, project
from serinus.targets.kubernetes.gitops.settings import GitOps
from serinus.targets.kubernetes.manifests import Placed, Settings, rendered

GITOPS = GitOps("https://git.example/fraud/fleet.git", "east")
GOLDEN = Path(__file__).parent / "golden"
RELEASE = Release(
    "card-fraud-7-3f9a2c", "card-fraud", "7", "a" * 64, "b" * 64, ServingSettings(), datetime(2026, 1, 1, tzinfo=UTC)
)
PLACED = Placed(RELEASE, Scale(), "registry.example/serinus/models/card-fraud@sha256:" + "e" * 64)


def test_what_argo_cd_is_told_is_what_was_read_and_agreed_upon() -> None:
    """To agree upon something else: write what is rendered into the file, and read the difference."""
    told = [project(GITOPS, "fraud-team"), application_set(GITOPS, "fraud-team")]
    assert rendered(told) == (GOLDEN / "argo_cd.yaml").read_text()


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_it(version: str) -> None:
    for manifest in (project(GITOPS, "fraud-team"), application_set(GITOPS, "fraud-team")):
        assert mistakes(manifest, version) == []
        assert kind_of(manifest).namespaced
    for text in files_of(of_release.manifests(PLACED, Settings()))[0].values():
        assert mistakes(yaml.safe_load(text), version) == []


def test_an_unknown_field_would_be_a_mistake() -> None:
    wrong = application_set(GITOPS, "fraud-team")
    wrong["spec"]["template"]["spec"]["syncPolicy"]["automatic"] = {}
    assert len(mistakes(wrong, VERSIONS[-1])) == 1


def files() -> dict[str, dict[str, Any]]:
    return {name: yaml.safe_load(text) for name, text in files_of(of_release.manifests(PLACED, Settings()))[0].items()}


def test_a_release_is_a_file_for_each_object_and_no_secret() -> None:
    found = files()
    assert sorted(found) == [
        "deployment.yaml",
        "horizontalpodautoscaler.yaml",
        "networkpolicy.yaml",
        "poddisruptionbudget.yaml",
        "service.yaml",
        "serviceaccount.yaml",
    ]
    for one in of_release.manifests(PLACED, Settings()):
        same = found[f"{one['kind'].lower()}.yaml"]
        assert {**same, "metadata": None} == {**one, "metadata": None}


def test_whatever_is_placed_is_of_a_kind_that_the_project_allows() -> None:
    spec = project(GITOPS, "fraud-team")["spec"]
    allowed = {(one["group"], one["kind"]) for one in spec["namespaceResourceWhitelist"]}
    placed = {(kind_of(one).group, one["kind"]) for one in of_release.manifests(PLACED, Settings())}
    assert placed == allowed
    assert spec["clusterResourceWhitelist"] == []
    assert [one["namespace"] for one in spec["destinations"]] == ["fraud-team"]


def test_what_protects_others_is_applied_before_the_pods_and_goes_after_them() -> None:
    waves = {
        name: int(one["metadata"].get("annotations", {}).get("argocd.argoproj.io/sync-wave", "0"))
        for name, one in files().items()
    }
    first = {name for name, wave in waves.items() if wave == 0}
    assert first == {"networkpolicy.yaml", "service.yaml", "serviceaccount.yaml"}
    assert set(waves.values()) == {0, 1}


def test_a_deployment_shows_which_files_are_applied() -> None:
    _, digest = files_of(of_release.manifests(PLACED, Settings()))
    assert files()["deployment.yaml"]["metadata"]["annotations"][DIGEST] == digest
    other = of_release.manifests(PLACED, Settings(replicas=of_release.Replicas(least=3)))
    assert files_of(other)[1] != digest, "the Deployment is the same, but the HorizontalPodAutoscaler is not"
    assert "replicas" not in files()["deployment.yaml"]["spec"]


@pytest.mark.parametrize("cluster", ["", "East", "a.b", "-a", "a" * 43, "a/b"])
def test_a_cluster_needs_a_name_that_argo_cd_and_git_take(cluster: str) -> None:
    with pytest.raises(ValueError, match="cluster: a name of up to 42"):
        replace(GITOPS, cluster=cluster)


def test_applications_are_named_by_cluster_and_release() -> None:
    name = GITOPS.application("card-fraud-7-3f9a2c")
    assert (name, GITOPS.release(name)) == ("east.card-fraud-7-3f9a2c", "card-fraud-7-3f9a2c")
