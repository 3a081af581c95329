"""What wiring adds to the parts of a cluster: certificates, rights, measurements, and what the status shows."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from api_server import cluster_of, not_found

from serinus.backends.git import Remote
from serinus.backends.sql import SqlStore
from serinus.core.errors import InvalidInput, NotFound, Refused, Unavailable
from serinus.core.examination import GateResult, Outcome
from serinus.core.home import Home
from serinus.core.people import Access, Actor
from serinus.core.release import Release, Scale, ServingSettings
from serinus.core.rollout import Kind, Phase, Plan, Policy, Rollout, Status
from serinus.targets.kubernetes.gateway.manifests import all_of
from serinus.targets.kubernetes.gitops import GitApplier
from serinus.targets.kubernetes.jobs import ClusterTrials
from serinus.targets.kubernetes.manifests import Sizing
from serinus.targets.kubernetes.settings import ClusterSettings
from serinus.targets.local.host import Trials
from serinus.targets.local.supervisor.directories import make
from serinus.targets.local.supervisor.settings import Settings
from serinus.wiring.cluster import Watch, cluster_settings, known_bytes, measured_bytes, place_on_a_cluster
from serinus.wiring.collectors import authority_of, identity, make_identity, run_collector
from serinus.wiring.gitops import build_applier, build_fleet
from serinus.wiring.installing import check_rights, gateway_settings
from serinus.wiring.local import build_world, place_here

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RELEASE = Release("fraud-1-abcdef", "fraud", "1", "a", "e", ServingSettings(), NOW)
DOCUMENT: dict[str, Any] = {
    "namespace": "fraud",
    "images": {"repository": "registry.example/serinus", "base": f"registry.example/base@sha256:{'0' * 64}"},
    "collectors": {"listen": "127.0.0.1:7443", "addresses": ["192.0.2.10:7443"]},
}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.path.mkdir()
    make(home)
    return home


def settings(**changes: Any) -> ClusterSettings:
    return ClusterSettings.model_validate({**DOCUMENT, **changes} | {"images": DOCUMENT["images"]}, strict=False)


# --- collectors ---------------------------------------------------------------------------------------------


def test_the_certificate_of_collectors_is_made_once_for_the_owner_of_the_home(home: Home) -> None:
    make_identity(home, settings())
    found, pem = identity(home, settings()), authority_of(home, settings())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(found.chain, found.key)
    assert {path.stat().st_mode & 0o777 for path in (found.chain, found.key, found.authority)} == {0o600}
    make_identity(home, settings())
    assert authority_of(home, settings()) == pem
    renamed = settings(collectors={**DOCUMENT["collectors"], "name": "another"})
    make_identity(home, renamed)
    assert authority_of(home, renamed) != pem


def test_a_certificate_of_the_operator_is_used_instead(home: Home, tmp_path: Path) -> None:
    own = {name: tmp_path / name for name in ("chain", "key", "authority")}
    given = settings(collectors={**DOCUMENT["collectors"], "certificate": {n: str(p) for n, p in own.items()}})
    make_identity(home, given)
    assert not home.collectors.exists()
    own["authority"].write_text("theirs")
    assert authority_of(home, given) == "theirs"


def test_a_certificate_that_is_not_there_is_said(home: Home) -> None:
    with pytest.raises(Refused, match=r"authority\.pem, cannot be used: No such file"):
        authority_of(home, settings())
    with pytest.raises(Refused, match=r"server\.pem, cannot be used: No such file"):
        run_collector(home, settings())


# --- rights -------------------------------------------------------------------------------------------------


class ApiServer:
    """Lets nobody write roles and policies."""

    def __init__(self) -> None:
        self.asked: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request)
        if any(kind in request.url.path for kind in ("/roles/", "/validatingadmissionpolicies/")):
            said = {"kind": "Status", "code": 403, "reason": "Forbidden", "message": "User cannot patch resource"}
            return httpx2.Response(403, json=said)
        return httpx2.Response(200, json=json.loads(request.content))


def test_all_missing_rights_are_named_and_nothing_is_changed() -> None:
    server = ApiServer()
    manifests = all_of(gateway_settings(settings(), f"registry.example/gateway@sha256:{'0' * 64}", "3.11", "PEM"))
    with pytest.raises(Refused) as raised:
        check_rights(cluster_of(server), manifests)
    assert len(server.asked) == len(manifests)
    assert {request.url.params["dryRun"] for request in server.asked} == {"All"}
    said = raised.value.message.splitlines()
    assert said[0] == "Rights are missing to install gateways:"
    assert len(said) == 4  # two roles and one policy
    assert "patch roles.rbac.authorization.k8s.io 'serinus-gateway' in the namespace 'fraud'" in said[1]
    assert "patch validatingadmissionpolicies.admissionregistration.k8s.io" in said[3]
    assert "gateways.install: false" in raised.value.hint


def test_a_dry_run_may_find_no_role_for_a_binding_but_no_other_object_may_be_missing() -> None:
    """As the API server answers who may not bind every role."""
    manifests = all_of(gateway_settings(settings(), f"registry.example/gateway@sha256:{'0' * 64}", "3.11", "PEM"))
    of_binding = {"kind": "Status", "code": 404, "reason": "NotFound", "message": 'roles "serinus-gateway" not found'}
    for path, raised in (("/rolebindings/", nullcontext()), ("/services/", pytest.raises(NotFound))):

        def answer(request: httpx2.Request, path: str = path) -> httpx2.Response:
            if path in request.url.path:
                return httpx2.Response(404, json=of_binding)
            return httpx2.Response(200, json=json.loads(request.content))

        with raised:
            check_rights(cluster_of(answer), manifests)
    without_roles = [one for one in manifests if one["kind"] != "Role"]
    with pytest.raises(NotFound):
        check_rights(cluster_of(lambda _: httpx2.Response(404, json=of_binding)), without_roles)


def test_gateways_are_told_what_the_document_says() -> None:
    gateways = {"namespace": "edge", "replicas": 3, "threads": 2, "cpu_request": "1", "service": "NodePort"}
    keys = {"tls_secret": "tls", "client_certificates": True, "api_keys": "required"}
    found = gateway_settings(
        settings(gateways={**gateways, **keys}, control_planes=["192.0.2.0/24"]), "image", "3.12", "PEM"
    )
    assert (found.image, found.python, found.models) == ("image", "3.12", "fraud")
    assert {name: getattr(found, name) for name in (*gateways, *keys)} == {**gateways, **keys}
    assert found.control_planes == ("192.0.2.0/24",)
    assert found.collectors is not None
    assert (found.collectors.addresses, found.collectors.authority) == (("192.0.2.10:7443",), "PEM")


# --- measurements -------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    store = SqlStore(f"sqlite:///{tmp_path / 'store.db'}")
    store.add_release(RELEASE)
    yield store
    store.close()


def ended(store: SqlStore, number: int, *gates: GateResult, kind: Kind = Kind.DEPLOY, workers: int = 2) -> None:
    plan = Plan(None, None, (), Policy(), False, ServingSettings(), scale=Scale(max_workers=workers))
    rollout = Rollout(
        id=f"fraud-r{number}", model="fraud", kind=kind, version="1", asked_as="fraud@1",
        actor=Actor("ann", Access.DEPLOY), why="", created_at=NOW, spec="model: fraud\n", salt="s", plan=plan,
        status=Status(Phase.GATES, NOW), candidate=RELEASE, gates=gates,
    )  # fmt: skip
    store.create(rollout)
    store.save(replace(rollout, status=Status(Phase.PROMOTED, NOW)))


def measured(mebibytes: int | None) -> GateResult:
    return GateResult("memory", Outcome.PASS, "", {"used_bytes": mebibytes and mebibytes * 2**20, "budget_bytes": None})


def test_a_worker_is_known_by_what_the_gate_has_measured_last(store: SqlStore) -> None:
    sizing = Sizing(base_bytes=150 * 2**20, headroom=1.5)
    assert measured_bytes(store, sizing, RELEASE.id) is None
    ended(store, 1, measured(300))
    assert measured_bytes(store, sizing, RELEASE.id) == 100 * 2**20
    ended(store, 2, GateResult("latency", Outcome.PASS, ""), measured(500))
    assert measured_bytes(store, sizing, RELEASE.id) == 200 * 2**20
    ended(store, 3, measured(None))  # it could not be read
    ended(store, 4, kind=Kind.ROLLBACK)  # which has no gates
    assert measured_bytes(store, sizing, RELEASE.id) == 200 * 2**20


def test_a_worker_of_a_release_that_was_taken_over_is_known_by_its_record(store: SqlStore) -> None:
    sizing = Sizing(base_bytes=150 * 2**20, headroom=1.5)
    recorded: dict[str, int] = {RELEASE.id: 70 * 2**20}
    assert known_bytes(store, sizing, recorded.get, RELEASE.id) == 70 * 2**20
    ended(store, 1, measured(300))
    assert known_bytes(store, sizing, recorded.get, RELEASE.id) == 100 * 2**20


# --- the status ---------------------------------------------------------------------------------------------


def test_the_status_shows_what_the_last_look_has_found() -> None:
    found: list[str] = ["one", "two"]

    def away() -> Sequence[str]:
        raise Unavailable("The API server does not answer.")

    watch = Watch({"a": lambda: list(found), "b": away, "c": away})
    assert watch.warnings() == ()
    watch.look()
    assert watch.warnings() == ("one", "two", "The API server does not answer.")
    found.clear()
    watch.look()
    assert watch.warnings() == ("The API server does not answer.",)


def test_a_look_that_fails_does_not_end_the_watch() -> None:
    stop = threading.Event()
    looks: list[Callable[[], Sequence[str]]] = [lambda: [][0], lambda: stop.set() or ()]  # type: ignore[func-returns-value]
    watch = Watch({"the first": looks[0], "the second": looks[1]})
    watch.run(stop)
    assert watch.warnings() == ("the first could not be looked at: IndexError",)


# --- the assembly -------------------------------------------------------------------------------------------


def test_a_place_is_assembled_without_asking_anybody(home: Home, store: SqlStore, tmp_path: Path) -> None:
    kubeconfig = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
    (tmp_path / "cluster.yaml").write_text(
        yaml.safe_dump({**DOCUMENT, "kubeconfig": "kubeconfig", "gateways": {"api_keys": "none"}})
    )
    chosen = Settings({"api": 1, "mlflow": 2, "envoy": 3}, cluster=str(tmp_path / "cluster.yaml"))
    make_identity(home, cluster_settings(chosen))
    place = place_on_a_cluster(home, chosen, store)
    try:
        assert not place.asks_keys
        assert place.fields["serving.warm"] == "a release on a cluster is not scaled to zero"
        with pytest.raises(Unavailable, match=r"http://127\.0\.0\.1:1 does not answer"):
            place.router.all_in_force()
        assert isinstance(place.rescorer, ClusterTrials)
        assert build_world(home, chosen, store, place).trials is place.trials
        assert isinstance(place.trials, ClusterTrials)
        assert isinstance(build_world(home, chosen, store, place_here(home, chosen)).trials, Trials)
    finally:
        place.close()


def test_a_home_of_one_machine_has_no_settings_of_a_cluster() -> None:
    with pytest.raises(InvalidInput, match="Releases run on this machine"):
        cluster_settings(Settings({"api": 1}))


# --- the fleet repository -----------------------------------------------------------------------------------


def test_without_a_git_server_the_fleet_is_in_the_home_and_objects_are_applied_by_the_api(home: Home) -> None:
    fleet = build_fleet(home, settings())
    assert fleet.repository.remote is None
    assert build_applier(fleet, cluster_of(lambda _: not_found()), settings()) is None


def test_a_git_server_is_used_with_and_without_argo_cd(home: Home, tmp_path: Path) -> None:
    section = {"remote": "https://git.example/fleet.git", "branch": "live", "credentials": tmp_path / "c"}
    chosen = settings(fleet=section | {"reviewed": True})
    fleet = build_fleet(home, chosen)
    assert fleet.repository.remote == Remote("https://git.example/fleet.git", "live", tmp_path / "c", reviewed=True)
    assert build_applier(fleet, cluster_of(lambda _: not_found()), chosen) is None
    by_argo_cd = settings(fleet=section | {"argo_cd": {"cluster": "east"}})
    assert isinstance(build_applier(fleet, cluster_of(lambda _: not_found()), by_argo_cd), GitApplier)
