"""What a cluster is told to run as the control plane: pure."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from control_values import LEAST, MOST, NAMESPACE, read
from strict import VERSIONS, mistakes

from serinus.core.release import Release, ServingSettings
from serinus.targets.kubernetes import manifests as of_release
from serinus.targets.kubernetes.cluster.kinds import kind_of
from serinus.targets.kubernetes.control.manifests import manifests
from serinus.targets.kubernetes.gateway import manifests as of_gateways
from serinus.targets.kubernetes.gateway.settings import GatewaySettings
from serinus.targets.kubernetes.manifests import Collectors, Settings
from serinus.targets.kubernetes.manifests.rendering import rendered

GOLDEN = Path(__file__).parent / "golden"


def made(directory: Path, document: Any = LEAST) -> dict[tuple[str, str], dict[str, Any]]:
    """Kind and name -> manifest."""
    found = manifests(read(directory, document), NAMESPACE)
    return {(one["kind"], one["metadata"]["name"]): one for one in found}


def pod(directory: Path, document: Any = LEAST) -> dict[str, Any]:
    spec: dict[str, Any] = made(directory, document)["StatefulSet", "serinus-control"]["spec"]["template"]["spec"]
    return spec


@pytest.mark.parametrize(("name", "document"), [("least", LEAST), ("most", MOST)])
def test_the_manifests_are_those_that_were_read_and_agreed_upon(name: str, document: Any, tmp_path: Path) -> None:
    """To agree upon others: write what is rendered into the file, and read the difference."""
    text = rendered(manifests(read(tmp_path, document), NAMESPACE))
    assert (
        text.replace(f"version: {version('serinus')}\n", "version: VERSION\n") == (GOLDEN / f"{name}.yaml").read_text()
    )


@pytest.mark.parametrize("document", [LEAST, MOST])
@pytest.mark.parametrize("version_of_kubernetes", VERSIONS)
def test_every_supported_kubernetes_takes_what_is_written(
    version_of_kubernetes: str, document: Any, tmp_path: Path
) -> None:
    found = made(tmp_path, document)
    assert {("StatefulSet", "serinus-control"), ("ClusterRole", "serinus-control-tokens.serinus")} <= set(found)
    for manifest in found.values():
        assert mistakes(manifest, version_of_kubernetes) == []


def test_every_kind_is_one_that_the_client_knows_how_to_apply(tmp_path: Path) -> None:
    for manifest in made(tmp_path).values():
        assert ("namespace" in manifest["metadata"]) == kind_of(manifest).namespaced


def test_pods_meet_the_restricted_standard(tmp_path: Path) -> None:
    """Source: Kubernetes, Pod Security Standards, "restricted"."""
    assert pod(tmp_path)["securityContext"]["runAsNonRoot"] is True
    assert pod(tmp_path)["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    [container] = pod(tmp_path)["containers"]
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert {next(iter(set(volume) - {"name"})) for volume in pod(tmp_path)["volumes"]} == {
        "configMap",
        "emptyDir",
        "secret",
    }


def test_releases_and_gateways_let_the_control_plane_in(tmp_path: Path) -> None:
    labels = made(tmp_path)["StatefulSet", "serinus-control"]["spec"]["template"]["metadata"]["labels"]
    when = datetime(2026, 1, 1, tzinfo=UTC)
    release = Release("fraud-1-aaaaaa", "fraud", "1", "a" * 64, "b" * 64, ServingSettings(), when)
    [who] = of_release.network_policy(release, Settings("fraud", gateways=NAMESPACE))["spec"]["ingress"][0]["from"]
    [expression] = who["podSelector"]["matchExpressions"]
    assert labels[expression["key"]] in expression["values"]
    assert who["namespaceSelector"] == {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}}
    _, probes = of_gateways.network_policy(GatewaySettings("image", NAMESPACE))["spec"]["ingress"]
    assert probes["from"][0]["podSelector"]["matchLabels"].items() <= labels.items()


def test_pods_of_releases_reach_the_collectors_that_they_are_told(tmp_path: Path) -> None:
    """By the policies on both sides, and by names that they can look up."""
    found = made(tmp_path)
    labels = found["StatefulSet", "serinus-control"]["spec"]["template"]["metadata"]["labels"]
    collectors = Collectors((f"serinus-control-0.serinus-control.{NAMESPACE}.svc:7443",), "PEM")
    when = datetime(2026, 1, 1, tzinfo=UTC)
    release = Release("fraud-1-aaaaaa", "fraud", "1", "a" * 64, "b" * 64, ServingSettings(), when)
    policy = of_release.network_policy(release, Settings("fraud", gateways=NAMESPACE, collectors=collectors))
    out, names = policy["spec"]["egress"]
    assert out["to"][0]["podSelector"]["matchLabels"].items() <= labels.items()
    assert {(port["port"], port["protocol"]) for port in names["ports"]} == {(53, "UDP"), (53, "TCP")}
    _, records = found["NetworkPolicy", "serinus-control"]["spec"]["ingress"]
    assert records["ports"] == out["ports"]
    [releases, _] = records["from"]
    assert releases["podSelector"]["matchLabels"].items() <= policy["spec"]["podSelector"]["matchLabels"].items()
    assert releases["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "fraud"}
    # The name of a pod is looked up also while its API does not answer.
    names_of_pods = found["Service", "serinus-control"]["spec"]
    assert names_of_pods["publishNotReadyAddresses"] is True
    assert names_of_pods["clusterIP"] == "None"
    assert found["StatefulSet", "serinus-control"]["spec"]["serviceName"] == "serinus-control"


def test_services_and_probes_find_ports_of_the_pod(tmp_path: Path) -> None:
    found = made(tmp_path)
    [container] = pod(tmp_path)["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for name in ("serinus", "serinus-control"):
        assert {port["targetPort"] for port in found["Service", name]["spec"]["ports"]} <= set(ports)
    probed = [container[f"{name}Probe"] for name in ("startup", "liveness", "readiness")]
    assert {(one.get("httpGet") or one["tcpSocket"])["port"] for one in probed} == {"api"}
    opened = [rule["ports"][0]["port"] for rule in found["NetworkPolicy", "serinus-control"]["spec"]["ingress"]]
    assert opened == [ports["api"], ports["collectors"]]


def test_the_api_is_probed_as_it_is_served(tmp_path: Path) -> None:
    for document, scheme, name in ((LEAST, "HTTPS", "https"), (MOST, "HTTP", "http")):
        [container] = pod(tmp_path, document)["containers"]
        assert container["readinessProbe"]["httpGet"]["scheme"] == scheme
        assert made(tmp_path, document)["Service", "serinus"]["spec"]["ports"][0]["name"] == name


def test_a_pod_has_the_time_that_its_processes_may_take(tmp_path: Path) -> None:
    """45 s: the longest times of the collector and of the control process, see `wiring.processes`."""
    assert pod(tmp_path)["terminationGracePeriodSeconds"] > 45


def test_what_the_processes_leave_behind_is_reaped(tmp_path: Path) -> None:
    assert pod(tmp_path)["shareProcessNamespace"] is True


def test_a_change_of_the_configuration_restarts_the_pods_and_a_change_of_their_number_does_not(tmp_path: Path) -> None:
    def digest(document: Any) -> str:
        template = made(tmp_path, document)["StatefulSet", "serinus-control"]["spec"]["template"]
        return str(template["metadata"]["annotations"]["serinus/config"])

    assert digest(LEAST) == digest({**LEAST, "nodeSelector": {"a": "b"}})
    assert digest(LEAST) != digest({**LEAST, "config": {**LEAST["config"], "builds": True}})


def test_gateways_are_not_among_them_because_the_control_plane_installs_them(tmp_path: Path) -> None:
    assert [kind for kind, name in made(tmp_path) if name.startswith("serinus-gateway")] == []
