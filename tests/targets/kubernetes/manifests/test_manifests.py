"""The objects of a release, against a file that a person has read, and against what Kubernetes takes."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import strict
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from serinus_runtime.pod import release as pod
from serinus_runtime.pod import status

from serinus.core.release import CacheSettings, Compiled, Release, Scale, ServingSettings, WarmHours
from serinus.targets.kubernetes import manifests as made
from serinus.targets.kubernetes.manifests import Collectors, Placed, Replicas, Settings, Sizing, Timing, placed
from serinus.targets.kubernetes.manifests.resources import bytes_of_a_worker, cpu, memory

GOLDEN = Path(__file__).with_name("golden")
IMAGE = "registry.example.org/serinus/models/card-fraud@sha256:" + "e" * 64
RELEASE = Release(
    "card-fraud-7-3f9a2c",
    "card-fraud",
    "7",
    "a" * 64,
    "b" * 64,
    ServingSettings(cache=CacheSettings(), score_output="fraud"),
    datetime(2026, 1, 1, tzinfo=UTC),
    Compiled("c" * 64, "d" * 64),
)
PLACED = Placed(RELEASE, Scale(max_workers=2, memory_limit_bytes=300 * 2**20), IMAGE)

USUAL = Settings()
COLLECTORS = Collectors(("10.0.0.9:7443", "[fd00::9]:7443", "collector.serinus-system.svc:7443"), "the authority's PEM")


def of_kind(kind: str, what: Placed = PLACED, how: Settings = USUAL) -> dict[str, Any]:
    return next(one for one in made.manifests(what, how) if one["kind"] == kind)


def container(what: Placed = PLACED, how: Settings = USUAL) -> dict[str, Any]:
    return of_kind("Deployment", what, how)["spec"]["template"]["spec"]["containers"][0]


def told(what: Placed = PLACED, key: str = "k" * 64) -> dict[str, Any]:
    """What the pod is told, with the references as the kubelet replaces them."""
    variables = {one["name"]: one.get("value", key) for one in container(what)["env"]}
    text = re.sub(r"\$\$|\$\((\w+)\)", lambda m: variables[m[1]] if m[1] else "$", variables["SERINUS_RELEASE"])
    return json.loads(text)


@pytest.mark.parametrize(
    ("name", "what", "how"),
    [
        ("compiled", PLACED, Settings()),
        (
            "long",
            Placed(RELEASE, Scale(), IMAGE, long=True, worker_bytes=200 * 2**20, guarded=False),
            Settings("team-a", gateways="serinus-system", replicas=Replicas(least=1), pull_secrets=("registry",)),
        ),
        ("recorded", PLACED, Settings(collectors=COLLECTORS)),
        ("in-flight", PLACED, Settings(replicas=Replicas(in_flight=8))),
    ],
)
def test_all_objects_of_a_release_are_those_of_the_golden_file(name: str, what: Placed, how: Settings) -> None:
    """Made anew by removing the file and running the test twice; read what has changed."""
    text = made.rendered(made.manifests(what, how))
    file = GOLDEN / f"{name}.yaml"
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        pytest.fail(f"{file} was not there and has been written")
    assert text == file.read_text()
    assert list(yaml.safe_load_all(text)) == list(made.manifests(what, how))


@pytest.mark.parametrize("version", strict.VERSIONS)
def test_kubernetes_takes_every_manifest(version: str) -> None:
    recorded = Settings(collectors=COLLECTORS)
    more = (made.router_secret(RELEASE, Settings(), "key"), made.collectors_authority(recorded))
    in_flight = Settings(replicas=Replicas(in_flight=8))
    told = [one for how in (Settings(), recorded, in_flight) for one in made.manifests(PLACED, how)]
    for one in (*told, *more):
        assert strict.mistakes(one, version) == []


def test_records_go_to_collectors_with_a_token_that_is_of_use_to_nobody_else() -> None:
    how = Settings(collectors=COLLECTORS)
    spec = of_kind("Deployment", how=how)["spec"]["template"]["spec"]
    assert spec["automountServiceAccountToken"] is False
    mounts = {one["name"]: one for one in spec["containers"][0]["volumeMounts"]}
    variable = next(one["value"] for one in spec["containers"][0]["env"] if one["name"] == "SERINUS_RELEASE")
    read = pod.read({"SERINUS_RELEASE": variable.replace("$(SERINUS_ROUTER_KEY)", "key")})
    assert read.collectors is not None
    assert read.collectors.addresses == [("10.0.0.9", 7443), ("fd00::9", 7443), ("collector.serinus-system.svc", 7443)]
    sources = next(one for one in spec["volumes"] if one["name"] == "collectors")["projected"]["sources"]
    where = Path(mounts["collectors"]["mountPath"])
    assert read.collectors.token == where / sources[0]["serviceAccountToken"]["path"]
    assert read.collectors.authority == where / sources[1]["configMap"]["items"][0]["path"]
    assert sources[0]["serviceAccountToken"]["audience"] == "serinus-collector"
    data = made.collectors_authority(how)
    assert data is not None
    assert data["data"] == {sources[1]["configMap"]["items"][0]["key"]: "the authority's PEM"}
    assert made.collectors_authority(USUAL) is None


def test_a_pod_reaches_collectors_and_nothing_else() -> None:
    assert "egress" not in of_kind("NetworkPolicy")["spec"]
    policy = of_kind("NetworkPolicy", how=Settings(gateways="serinus-system", collectors=COLLECTORS))["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    *rules, _ = policy["egress"]  # The last one is about names.
    peers = [rule["to"] for rule in rules]
    namespace = {"matchLabels": {"kubernetes.io/metadata.name": "serinus-system"}}
    assert peers == [
        [{"ipBlock": {"cidr": "10.0.0.9/32"}}],
        [{"ipBlock": {"cidr": "fd00::9/128"}}],
        [{"podSelector": {"matchLabels": {"serinus/role": "control"}}, "namespaceSelector": namespace}],
    ]
    assert {rule["ports"][0]["port"] for rule in rules} == {7443}


def test_a_pod_that_is_told_names_of_collectors_may_look_them_up() -> None:
    by_address = replace(COLLECTORS, addresses=("10.0.0.9:7443",))
    for collectors, ports in ((by_address, []), (COLLECTORS, [(53, "UDP"), (53, "TCP")])):
        spec = of_kind("NetworkPolicy", how=Settings(gateways="serinus-system", collectors=collectors))["spec"]
        found = [(one["port"], one["protocol"]) for rule in spec["egress"] for one in rule["ports"]]
        assert [one for one in found if one != (7443, "TCP")] == ports


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda spec: spec.update(replica=2), "replica"),
        (lambda spec: spec.pop("selector"), "selector"),
        (lambda spec: spec["template"]["spec"].update(restartPolicy="Sometimes"), "Sometimes"),
        (lambda spec: spec["template"]["spec"]["containers"][0].update(image=7), "7"),
        (lambda spec: spec["template"]["spec"]["containers"][0]["ports"][0].pop("containerPort"), "containerPort"),
    ],
)
@pytest.mark.parametrize("version", strict.VERSIONS)
def test_a_mistake_would_be_seen(version: str, change: Any, words: str) -> None:
    wrong = json.loads(json.dumps(of_kind("Deployment")))
    change(wrong["spec"])
    assert any(words in one for one in strict.mistakes(wrong, version))


def test_the_number_of_pods_belongs_to_the_autoscaler() -> None:
    assert "replicas" not in of_kind("Deployment")["spec"]
    scaled = of_kind("HorizontalPodAutoscaler", how=Settings(replicas=Replicas(3, 7, 60)))["spec"]
    assert (scaled["minReplicas"], scaled["maxReplicas"]) == (3, 7)
    assert scaled["metrics"][0]["resource"]["target"]["averageUtilization"] == 60
    assert scaled["scaleTargetRef"]["name"] == of_kind("Deployment")["metadata"]["name"]


def test_requests_in_flight_are_a_second_metric_where_they_are_measured_by_the_name_that_pods_give_them() -> None:
    metrics = of_kind("HorizontalPodAutoscaler", how=Settings(replicas=Replicas(in_flight=8)))["spec"]["metrics"]
    assert [one["type"] for one in metrics] == ["Resource", "Pods"]
    assert metrics[1]["pods"]["target"] == {"type": "AverageValue", "averageValue": "8"}
    name = metrics[1]["pods"]["metric"]["name"].removeprefix("serinus_pod_")
    assert f'"{name}"' in Path(status.__file__).read_text()


def test_more_pods_come_at_once_and_fewer_are_waited_for() -> None:
    behaviour = of_kind("HorizontalPodAutoscaler", how=Settings(replicas=Replicas(scale_down_after=120)))["spec"][
        "behavior"
    ]
    up, down = behaviour["scaleUp"], behaviour["scaleDown"]
    assert (up["stabilizationWindowSeconds"], up["selectPolicy"]) == (0, "Max")
    assert {one["type"]: one["value"] for one in up["policies"]} == {"Percent": 100, "Pods": 4}
    assert down["stabilizationWindowSeconds"] == 120
    assert down["policies"] == [{"periodSeconds": 60, "type": "Percent", "value": 50}]


def test_a_pod_is_told_what_its_release_is_and_gets() -> None:
    found = told()
    assert (found["release"], found["model"], found["version"]) == (RELEASE.id, "card-fraud", "7")
    assert (found["workers"], found["compiled"], found["digest"], found["long"]) == (2, True, "c" * 64, False)
    assert found["settings"]["cache"] == {"max_bytes": Scale().cache_bytes, "ttl_seconds": 60.0}
    assert found["memory_limit_bytes"] == 300 * 2**20
    assert found["settings"]["score_output"] == "fraud"
    assert found["router"] == "k" * 64
    read = pod.read({pod.VARIABLE: json.dumps(found)})
    assert (read.release, read.workers, read.digest, list(read.unknown)) == (RELEASE.id, 2, "c" * 64, [])
    assert read.settings.cache.max_bytes == Scale().cache_bytes


def test_a_distrusted_release_is_told_to_go_the_long_way() -> None:
    found = told(replace(PLACED, long=True))
    assert (found["long"], found["compiled"], found["digest"]) == (True, False, None)


@pytest.mark.parametrize("name", ["$(SERINUS_ROUTER_KEY)", "$$", "$", "a$(b)", '"', "\\", "é\n"])
def test_what_looks_like_a_reference_is_none(name: str) -> None:
    odd = replace(RELEASE, settings=ServingSettings(score_output=name))
    assert told(replace(PLACED, release=odd))["settings"]["score_output"] == name


def test_the_router_key_is_in_the_secret_alone() -> None:
    secret = made.router_secret(RELEASE, Settings(), "0123456789abcdef")
    assert secret["data"] == {"router": "MDEyMzQ1Njc4OWFiY2RlZg=="}
    reference = container()["env"][0]["valueFrom"]["secretKeyRef"]
    assert reference == {"key": "router", "name": secret["metadata"]["name"]}
    assert not any(one["kind"] == "Secret" for one in made.manifests(PLACED, Settings()))


def test_the_pod_satisfies_the_restricted_pod_security_standard() -> None:
    """As its documentation lists the conditions."""
    spec = of_kind("Deployment")["spec"]["template"]["spec"]
    one = spec["containers"][0]
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    assert [set(volume) - {"name"} for volume in spec["volumes"]] == [{"emptyDir"}]
    assert one["securityContext"]["allowPrivilegeEscalation"] is False
    assert one["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] != 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not any("hostPort" in port for port in one["ports"])
    assert one["securityContext"]["readOnlyRootFilesystem"] is True
    assert spec["automountServiceAccountToken"] is of_kind("ServiceAccount")["automountServiceAccountToken"] is False


def test_a_pod_is_gone_from_the_endpoints_before_it_stops() -> None:
    how = Settings(timing=Timing(endpoints=7, drain=20))
    assert container(how=how)["lifecycle"] == {"preStop": {"sleep": {"seconds": 7}}}
    grace = of_kind("Deployment", how=how)["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace > 7 + 20


def test_liveness_is_slower_to_judge_than_readiness() -> None:
    one = container()
    patience = {
        name: one[f"{name}Probe"]["periodSeconds"] * one[f"{name}Probe"]["failureThreshold"]
        for name in ("liveness", "readiness", "startup")
    }
    assert patience["liveness"] >= 60 > patience["readiness"]
    assert patience["startup"] == Timing().startup


def test_only_gateways_and_the_control_plane_reach_a_model() -> None:
    spec = of_kind("NetworkPolicy")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert "egress" not in spec
    asked, probed = spec["ingress"]
    assert asked["from"][0]["podSelector"]["matchExpressions"][0]["values"] == ["control", "gateway"]
    assert "namespaceSelector" not in asked["from"][0]
    assert (asked["ports"][0]["port"], probed["ports"][0]["port"]) == (8080, 8081)
    apart = of_kind("NetworkPolicy", how=Settings("models", gateways="system"))["spec"]["ingress"][0]["from"][0]
    assert apart["namespaceSelector"] == {"matchLabels": {"kubernetes.io/metadata.name": "system"}}


def test_an_engine_outside_of_the_cluster_reaches_a_model_from_its_networks() -> None:
    how = Settings(control_planes=("192.0.2.0/24", "2001:db8::/64"))
    asked, _ = of_kind("NetworkPolicy", how=how)["spec"]["ingress"]
    assert asked["from"][1:] == [{"ipBlock": {"cidr": "192.0.2.0/24"}}, {"ipBlock": {"cidr": "2001:db8::/64"}}]


def sizes(scale: Scale, worker_bytes: int | None = None, release: Release = RELEASE) -> dict[str, Any]:
    return container(Placed(release, scale, IMAGE, worker_bytes=worker_bytes))["resources"]


def test_a_pod_gets_what_was_measured_with_headroom_unless_the_spec_says_otherwise() -> None:
    base, cache = Sizing().base_bytes, Scale().cache_bytes
    without = replace(RELEASE, settings=ServingSettings())
    assert sizes(Scale())["limits"]["memory"] == memory(base + Sizing().worker_bytes + cache)
    assert sizes(Scale(), 100 * 2**20)["limits"]["memory"] == memory(base + 150 * 2**20 + cache)
    assert sizes(Scale(max_workers=3), 100 * 2**20, without)["limits"]["memory"] == memory(base + 450 * 2**20)
    limited = Scale(max_workers=2, memory_limit_bytes=2**30)
    assert sizes(limited, 100 * 2**20)["limits"]["memory"] == memory(base + 2 * 2**30)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize(("used", "wanted"), [(700, 1050), (160, 240), (107, 161), (69, 160)])
def test_a_pod_that_was_measured_gets_headroom_on_all_that_it_used(used: int, wanted: int, workers: int) -> None:
    scale = Scale(max_workers=workers)
    measured = bytes_of_a_worker(used * 2**20, scale, Sizing())
    without = replace(RELEASE, settings=ServingSettings())
    # Rounding up gives a few bytes more.
    given = sizes(scale, measured, without)["limits"]["memory"]
    assert given in (f"{wanted}Mi", f"{wanted + 1}Mi")


def test_processors_follow_workers_and_their_limit() -> None:
    assert sizes(Scale())["limits"]["cpu"] == "1"
    assert sizes(Scale(max_workers=3))["limits"]["cpu"] == "3"
    assert sizes(Scale(max_workers=3, cpu_limit=0.5)) == {
        "limits": {"cpu": "1500m", "memory": sizes(Scale(max_workers=3))["limits"]["memory"]},
        "requests": {"cpu": "750m", "memory": sizes(Scale(max_workers=3))["limits"]["memory"]},
    }


@pytest.mark.parametrize(
    ("size", "text"),
    [(1, "1Mi"), (2**20, "1Mi"), (2**20 + 1, "2Mi"), (2**30, "1Gi"), (3 * 2**29, "1536Mi"), (2**41, "2Ti")],
)
def test_memory_is_written_as_the_api_server_writes_it(size: int, text: str) -> None:
    assert memory(size) == text


@pytest.mark.parametrize(("thousandths", "text"), [(10, "10m"), (1000, "1"), (1500, "1500m"), (12_000, "12")])
def test_processors_are_written_as_the_api_server_writes_them(thousandths: int, text: str) -> None:
    assert cpu(thousandths) == text


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Replicas(least=0),
        lambda: Replicas(least=3, most=2),
        lambda: Replicas(scale_down_after=3601),
        lambda: Replicas(in_flight=0),
        lambda: Sizing(headroom=0.5),
        lambda: Sizing(workers=0),
        lambda: Timing(startup=700),
        lambda: Timing(endpoints=0),
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="1"):
        wrong()


def test_a_deployment_says_what_it_was_made_of() -> None:
    said = of_kind("Deployment")["metadata"]["annotations"]
    assert placed.release_id(said) == RELEASE.id
    assert placed.scale(said) == PLACED.scale
    assert said[placed.RELEASE] == placed.identity(replace(RELEASE, created_at=datetime(2027, 1, 1, tzinfo=UTC)))
    assert said[placed.RELEASE] != placed.identity(replace(RELEASE, version="8"))
    for nonsense in ({}, {placed.RELEASE: "no", placed.SCALE: "no"}, {placed.RELEASE: "[]", placed.SCALE: "[]"}):
        assert placed.release_id(nonsense) is None
        assert placed.scale(nonsense) is None


def test_a_change_of_scale_that_no_process_sees_restarts_no_pod() -> None:
    before = of_kind("Deployment")
    after = of_kind("Deployment", replace(PLACED, scale=replace(PLACED.scale, keep_warm=True)))
    assert before["metadata"]["annotations"] != after["metadata"]["annotations"]
    assert before["spec"] == after["spec"]


NAME = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")


@pytest.mark.parametrize(
    ("release_id", "name"),
    [
        ("card-fraud-7-3f9a2c", "card-fraud-7-3f9a2c"),
        ("Card_Fraud-7-3f9a2c", "card-fraud-7-3f9a2c-x"),
        ("3ds-7-3f9a2c", "r-3ds-7-3f9a2c-x"),
        ("_-7-3f9a2c", "r-7-3f9a2c-x"),
        ("m" * 128 + "-7-3f9a2c", "m" * 53 + "-x"),
        ("fraud-x01234567", "fraud-x01234567-x"),
    ],
)
def test_objects_are_named_by_the_release_as_far_as_a_name_can_be(release_id: str, name: str) -> None:
    found = made.object_name(release_id)
    assert found == name if not name.endswith("-x") else re.fullmatch(re.escape(name) + "[0-9a-f]{8}", found)
    assert made.endpoint(release_id, "serinus") == f"{found}.serinus.svc:8080"


IDS = st.text(min_size=1, max_size=160) | st.from_regex(
    r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}-\d-[0-9a-f]{6}", fullmatch=True
)


@given(IDS, IDS)
def test_names_are_valid_and_those_of_different_releases_differ(one: str, other: str) -> None:
    assert NAME.fullmatch(made.object_name(one))
    assert VALUE.fullmatch(made.label_value(one))
    assert (made.object_name(one) == made.object_name(other)) == (one == other)
    assert made.object_name(made.object_name(one)) == made.object_name(one) or made.object_name(one) != one


def settings_of() -> st.SearchStrategy[ServingSettings]:
    return st.builds(
        ServingSettings,
        timeout_ms=st.integers(1, 10_000),
        fallback_score=st.none() | st.floats(0, 1),
        score_output=st.none() | st.text(st.characters(codec="utf-8"), max_size=20),
        cache=st.none() | st.builds(CacheSettings, st.floats(0.1, 1e6)),
        batch_delay_ms=st.floats(0, 100),
        rows=st.sampled_from(("each", "together")),
    )


MODELS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", fullmatch=True)
DIGESTS = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)


@st.composite
def placements(draw: st.DrawFn) -> Placed:
    model, version = draw(MODELS), str(draw(st.integers(1, 10**9)))
    release = Release(
        f"{model}-{version}-3f9a2c",
        model,
        version,
        draw(DIGESTS),
        draw(DIGESTS),
        draw(settings_of()),
        datetime(2026, 1, 1, tzinfo=UTC),
        draw(st.none() | st.builds(Compiled, DIGESTS, DIGESTS)),
    )
    scale = Scale(
        draw(st.none() | st.integers(1, 64)),
        draw(st.booleans()),
        draw(st.sampled_from(((), (WarmHours(480, 1080),)))),
        draw(st.none() | st.integers(1, 2**45)),
        draw(st.none() | st.floats(0.01, 64)),
        draw(st.integers(1, 2**40)),
    )
    worker_bytes = draw(st.none() | st.integers(0, 2**40))
    return Placed(release, scale, IMAGE, draw(st.booleans()), worker_bytes, draw(st.booleans()))


QUANTITY = re.compile(r"[1-9]\d*(m|Mi|Gi|Ti)?")


@settings(deadline=None, max_examples=60)
@given(placements(), st.sampled_from(strict.VERSIONS))
def test_any_release_and_scale_make_manifests_that_kubernetes_takes_and_a_pod_reads(what: Placed, version: str) -> None:
    for one in made.manifests(what, Settings()):
        assert strict.mistakes(one, version) == []
        assert NAME.fullmatch(one["metadata"]["name"])
        assert all(VALUE.fullmatch(value) for value in one["metadata"]["labels"].values())
    resources = container(what)["resources"]
    assert all(QUANTITY.fullmatch(size) for kind in resources.values() for size in kind.values())
    found = told(what)
    assert list(pod.read({pod.VARIABLE: json.dumps(found)}).unknown) == []
    assert found["release"] == what.release.id
    assert found["settings"]["score_output"] == what.release.settings.score_output
    assert found.get("router") == ("k" * 64 if what.guarded else None)
    assert placed.scale(of_kind("Deployment", what)["metadata"]["annotations"]) == what.scale
