"""What a cluster is told to run as gateways: pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from strict import VERSIONS, mistakes

from serinus.core.errors import InvalidInput
from serinus.core.release import Release, ServingSettings
from serinus.targets.kubernetes import manifests as of_release
from serinus.targets.kubernetes.cluster.kinds import kind_of
from serinus.targets.kubernetes.gateway.__main__ import arguments
from serinus.targets.kubernetes.gateway.cluster_board import lease_of, secret_of
from serinus.targets.kubernetes.gateway.counting import Report
from serinus.targets.kubernetes.gateway.manifests import all_of, deployment, network_policy, role, service
from serinus.targets.kubernetes.gateway.publication import Wanted, first
from serinus.targets.kubernetes.gateway.settings import GatewaySettings
from serinus.targets.kubernetes.manifests import Collectors, Settings

SETTINGS = GatewaySettings("registry.example/serinus/gateway@sha256:" + "a" * 64, "serinus-system")
WITH_TLS = replace(SETTINGS, tls_secret="gateway-tls", client_certificates=True, service="LoadBalancer", threads=2)
RECORDED = replace(SETTINGS, collectors=Collectors(("10.0.0.9:7443", "collector.n.svc:7443"), "the authority's PEM"))
GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize(("name", "settings"), [("plain", SETTINGS), ("tls", WITH_TLS), ("recorded", RECORDED)])
def test_the_manifests_are_those_that_were_read_and_agreed_upon(name: str, settings: GatewaySettings) -> None:
    """To agree upon others: write what is rendered into the file, and read the difference."""
    rendered = yaml.safe_dump_all(all_of(settings)).replace(f"version: {version('serinus')}\n", "version: VERSION\n")
    assert rendered == (GOLDEN / f"{name}.yaml").read_text()


@pytest.mark.parametrize("version_of_kubernetes", VERSIONS)
def test_every_supported_kubernetes_takes_what_is_written(version_of_kubernetes: str) -> None:
    report = lease_of(Report("gateway-0", "uid-0", "v1"), "serinus-system", datetime.now(UTC))
    published = secret_of(first(Wanted(), str.upper, 1), "serinus-system", "17")
    for manifest in (*all_of(SETTINGS), *all_of(WITH_TLS), *all_of(RECORDED), report, published):
        assert mistakes(manifest, version_of_kubernetes) == []


def pod(settings: GatewaySettings = SETTINGS) -> dict[str, Any]:
    found: dict[str, Any] = deployment(settings)["spec"]["template"]["spec"]
    return found


def containers(settings: GatewaySettings = SETTINGS) -> list[dict[str, Any]]:
    return [*pod(settings)["containers"], *pod(settings)["initContainers"]]


def test_every_kind_is_one_that_the_client_knows_how_to_apply() -> None:
    for manifest in all_of(WITH_TLS):
        kind = kind_of(manifest)
        assert ("namespace" in manifest["metadata"]) == kind.namespaced


def test_pods_meet_the_restricted_standard() -> None:
    """Source: Kubernetes, Pod Security Standards, "restricted"."""
    assert pod()["securityContext"]["runAsNonRoot"] is True
    assert pod()["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in containers():
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert not any("hostPath" in volume for volume in pod()["volumes"])


def test_only_the_agent_has_the_token_of_the_service_account() -> None:
    assert pod()["automountServiceAccountToken"] is False
    having = [one["name"] for one in containers() if "account" in {mount["name"] for mount in one["volumeMounts"]}]
    assert having == ["agent"]


def test_only_the_agent_reads_the_certificate() -> None:
    having = [one["name"] for one in containers(WITH_TLS) if "tls" in {mount["name"] for mount in one["volumeMounts"]}]
    assert having == ["agent"]


def test_no_gateway_is_taken_before_another_one_is_ready() -> None:
    assert deployment(SETTINGS)["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_the_agent_starts_before_envoy_and_ends_after_it() -> None:
    """A sidecar: an init container that is restarted always."""
    [agent] = pod()["initContainers"]
    assert agent["restartPolicy"] == "Always"
    assert agent["startupProbe"]["httpGet"]["path"] == "/live"


def test_a_pod_that_goes_has_time_to_finish() -> None:
    [envoy] = pod()["containers"]
    words = envoy["lifecycle"]["preStop"]["exec"]["command"]
    assert float(words[words.index("--leave") + 1]) < pod()["terminationGracePeriodSeconds"]


@pytest.mark.parametrize("settings", [SETTINGS, WITH_TLS])
def test_the_agent_understands_what_it_is_told(settings: GatewaySettings) -> None:
    [agent] = pod(settings)["initContainers"]
    words = agent["command"]
    given = arguments().parse_args(words[words.index("-m") + 2 :])
    assert (given.namespace, given.models) == ("serinus-system", "serinus")
    assert given.client_certificates is settings.client_certificates
    assert (given.tls is not None) == (settings.tls_secret is not None)


def test_a_gateway_may_read_the_one_secret_with_what_is_published() -> None:
    [secrets, leases] = role(SETTINGS)["rules"]
    assert secrets["resourceNames"] == ["serinus-routing"]
    assert secrets["verbs"] == ["get", "list", "watch"]
    assert leases["resources"] == ["leases"]


def test_callers_come_from_everywhere_and_probes_from_the_control_plane() -> None:
    everybody, probes = network_policy(replace(SETTINGS, control_planes=("10.9.0.0/16",)))["spec"]["ingress"]
    assert "from" not in everybody
    assert [port["port"] for port in probes["ports"]] == [8085]
    assert probes["from"] == [
        {"podSelector": {"matchLabels": {"serinus/role": "control"}}},
        {"ipBlock": {"cidr": "10.9.0.0/16"}},
    ]


def test_the_policies_of_releases_let_gateways_in() -> None:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    release = Release("fraud-1-aaaaaa", "fraud", "1", "a" * 64, "b" * 64, ServingSettings(), when)
    rules = of_release.network_policy(release, Settings("serinus", gateways="serinus-system"))["spec"]["ingress"]
    [who] = rules[0]["from"]
    [expression] = who["podSelector"]["matchExpressions"]
    assert deployment(SETTINGS)["spec"]["template"]["metadata"]["labels"][expression["key"]] in expression["values"]
    assert who["namespaceSelector"] == {"matchLabels": {"kubernetes.io/metadata.name": SETTINGS.namespace}}
    ports = network_policy(SETTINGS)["spec"]["egress"][0]["ports"]
    assert ports == rules[0]["ports"]


def test_callers_with_tls_find_the_usual_port() -> None:
    assert service(SETTINGS)["spec"]["ports"][0]["port"] == 80
    assert service(WITH_TLS)["spec"]["ports"][0]["port"] == 443


@pytest.mark.parametrize(
    "changes",
    [
        {"namespace": "No Name"},
        {"models": "a' || true || '"},
        {"replicas": 0},
        {"threads": 0},
        {"client_certificates": True},
    ],
)
def test_settings_that_no_cluster_could_run_are_invalid(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        replace(SETTINGS, **changes)
