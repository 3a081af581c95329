"""What a control plane knows of a routing that was deleted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from serinus.backends.envoy import names
from serinus.backends.envoy.keys import Key
from serinus.backends.envoy.xds import Routes, render_routes
from serinus.backends.sql import SqlStore
from serinus.core.home import Home
from serinus.core.people import Access
from serinus.core.release import Release, ServingSettings
from serinus.core.rollout import ModelState, Retired
from serinus.core.routing import WHOLE, Role
from serinus.wiring.known_routing import known_routing, lost_keys

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RELEASE = Release("fraud-1-abcdef", "fraud", "1", "a", "e", ServingSettings(timeout_ms=90, fallback_score=0.5), NOW)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    names.xds_directory(home).mkdir(parents=True)
    home.secret.write_text("secret")
    return home


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    store = SqlStore(f"sqlite:///{tmp_path / 'store.db'}")
    store.set_setting("taken-over", NOW.isoformat())
    yield store
    store.close()


def test_nothing_is_known_before_it_is_known_whether_the_store_was_lost(home: Home, tmp_path: Path) -> None:
    store = SqlStore(f"sqlite:///{tmp_path / 'empty.db'}")
    assert known_routing(store, home, "serinus") is None
    store.close()


def known(store: SqlStore, home: Home) -> Routes:
    found = known_routing(store, home, "serinus")
    assert found is not None
    return found.routes


def test_champions_have_all_of_the_traffic_and_retired_models_are_told_so(store: SqlStore, home: Home) -> None:
    store.save_model(ModelState("fraud", champion=RELEASE, since=NOW))
    gone = replace(RELEASE, id="old-1-abcdef", model="old")
    store.save_model(ModelState("old", retired=Retired(gone, NOW, "ada", "unused")))
    store.save_model(ModelState("never"))
    found = known(store, home)
    assert list(found.routings) == ["fraud"]
    routing = found.routings["fraud"]
    [arm] = routing.arms
    assert (arm.release, arm.weight, arm.role) == (RELEASE.id, WHOLE, Role.CHAMPION)
    assert arm.endpoint == "fraud-1-abcdef.serinus.svc:8080"
    assert (routing.timeout_ms, routing.fallback_score) == (90, 0.5)
    assert found.retired == {"old"}
    assert not found.keys_asked


def test_where_a_key_was_ever_issued_nobody_gets_in_without_one(store: SqlStore, home: Home) -> None:
    store.issue_token("admin", Access.ADMIN, NOW)
    assert not known(store, home).keys_asked
    store.issue_token("payments", Access.VIEW, NOW, plane="data")
    assert known(store, home).keys_asked
    store.revoke_token("payments", NOW)
    assert known(store, home).keys_asked


def test_keys_that_one_machine_has_issued_go_on_working_while_the_store_says_that_they_are_valid(
    store: SqlStore, home: Home
) -> None:
    issued = {
        name: Key(store.issue_token(name, Access.VIEW, NOW, plane="data", models=models), models)
        for name, models in (("shop", None), ("payments", ("fraud",)), ("gone", None), ("replaced", None))
    }
    person = store.issue_token("ada", Access.ADMIN, NOW)
    callers = {**issued, "stranger": Key("srn_unknown"), "other": issued["shop"], "ada": Key(person)}
    names.routes_file(home).write_text(render_routes(Routes(callers=callers, keys_asked=True), names.key_of(home)))
    for name in ("gone", "replaced"):  # after the home came to the cluster
        store.revoke_token(name, NOW)
    store.issue_token("replaced", Access.VIEW, NOW, plane="data")
    found = known(store, home)
    assert found.callers == {name: issued[name] for name in ("shop", "payments")}
    assert found.keys_asked
    [said] = lost_keys(store, found.callers, NOW + timedelta(minutes=5))
    assert "refuse callers with them: replaced." in said
    store.revoke_token("replaced", NOW)
    assert lost_keys(store, found.callers, NOW + timedelta(minutes=5)) == []


def test_keys_that_open_nothing_are_named(store: SqlStore) -> None:
    later = NOW + timedelta(minutes=5)
    store.issue_token("admin", Access.ADMIN, NOW)
    for name in ("shop", "payments", "billing", "gone"):
        store.issue_token(name, Access.VIEW, NOW, plane="data")
    store.revoke_token("gone", NOW)
    store.issue_token("being-issued", Access.VIEW, later, plane="data")
    [said] = lost_keys(store, {"billing"}, later)
    assert "refuse callers with them: payments, shop. Either the Secret" in said
    assert lost_keys(store, {"billing", "payments", "shop"}, later) == []


def test_keys_that_open_models_and_are_unknown_are_named(store: SqlStore) -> None:
    store.issue_token("payments", Access.VIEW, NOW, plane="data")
    store.issue_token("gone", Access.VIEW, NOW, plane="data")
    store.revoke_token("gone", NOW)
    [said] = lost_keys(store, {"payments", "shop", "gone"}, NOW)
    assert "not in the store, which was lost: gone, shop." in said
