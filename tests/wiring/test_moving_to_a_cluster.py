"""The home of one machine is brought to a cluster: its store to PostgreSQL, and the keys of its callers to the
gateways."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from control_processes import cluster_file, control_plane, made
from lease_server import serving_leases
from waiting import wait_until

from serinus.backends.envoy import names
from serinus.backends.envoy.keys import Key
from serinus.backends.envoy.xds import Routes, render_routes
from serinus.backends.sql import SqlStore
from serinus.core.errors import Refused
from serinus.core.home import Home
from serinus.core.people import Access, Actor
from serinus.core.release import Release, ServingSettings
from serinus.core.rollout import ModelState
from serinus.targets.kubernetes.gateway.cluster_board import publication_of
from serinus.targets.kubernetes.gateway.publication import Wanted, parse
from serinus.targets.local.supervisor import settings
from serinus.targets.local.supervisor.settings import Settings
from serinus.wiring.stores import copy_store

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RELEASE = Release("fraud-1-abcdef", "fraud", "1", "a", "e", ServingSettings(), NOW)


def home_of_one_machine(path: Path) -> tuple[Home, Key]:
    """Returns a home with a champion, the token of its owner, a caller, and an audit record; and the caller's key."""
    home = made(path)
    settings.save(home, Settings({"api": 1, "envoy": 2, "mlflow": 3}))
    with closing(SqlStore(f"sqlite:///{home.store}")) as store:
        store.add_release(RELEASE)
        store.save_model(ModelState("fraud", champion=RELEASE))
        home.token.write_text(store.issue_token("admin", Access.ADMIN, NOW))
        key = Key(store.issue_token("shop", Access.VIEW, NOW, plane="data", models=["fraud"]), ("fraud",))
        store.audit(Actor("ada", Access.ADMIN, "cli"), "deploy", "fraud@1", "", {}, NOW)
    names.xds_directory(home).mkdir(parents=True, exist_ok=True)
    names.routes_file(home).write_text(
        render_routes(Routes(callers={"shop": key}, keys_asked=True), names.key_of(home))
    )
    return home, key


@pytest.mark.long
def test_people_and_callers_keep_their_tokens_and_the_audit_record_goes_on(
    tmp_path: Path, postgres_database: str
) -> None:
    home, key = home_of_one_machine(tmp_path / "home")
    with serving_leases(tmp_path) as (kubeconfig, _, others):

        def published() -> Wanted | None:
            kept = others.get("/api/v1/namespaces/fraud/secrets/serinus-routing")
            return parse(publication_of(kept.there).document).wanted if kept and kept.there else None

        cluster = cluster_file(tmp_path, kubeconfig, postgres_database)
        copy_store(home.path, tmp_path / "url")
        with control_plane(home, cluster) as one:
            wait_until(one.answers, what="the control plane, by the token of before")
            wanted = wait_until(published, what="the routing")
            assert wanted.routes.callers == {"shop": key}
            assert wanted.routes.keys_asked
            assert list(wanted.routes.routings) == ["fraud"]
            status = one.get("/v1/status")
            assert [model["model"] for model in status["models"]] == ["fraud"]
            assert not [line for line in status["warnings"] if "API keys" in line]
            assert one.get("/v1/keys")[0]["name"] == "shop"
            with pytest.raises(Refused, match="is used by a control plane"):
                copy_store(tmp_path / "url", made_to_go_back(tmp_path))
        back = made_to_go_back(tmp_path)
        copy_store(tmp_path / "url", back)
    with closing(SqlStore(f"sqlite:///{Home(back).store}")) as store:
        assert [entry.what for entry in store.audit_trail()][:2] == ["deploy", "begin-term"]
        assert store.audit_broken_at() is None
        assert store.last_term()[0] == 1


def made_to_go_back(directory: Path) -> Path:
    if not (directory / "back").exists():
        settings.save(made(directory / "back"), Settings({"api": 1, "envoy": 2, "mlflow": 3}))
    return directory / "back"
