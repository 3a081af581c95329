"""What several control planes share, and two of their processes with nothing else around them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from control_processes import cluster_file, made, one_of_two_decides
from lease_server import serving_leases

from serinus.backends.sql import SqlStore
from serinus.core.errors import InvalidInput, Refused, Superseded
from serinus.core.home import Home
from serinus.core.keys import installation
from serinus.targets.kubernetes.gateway.cluster_board import TERM
from serinus.targets.kubernetes.settings import ControlSection
from serinus.targets.local.supervisor.settings import Settings
from serinus.wiring.cluster import place_on_a_cluster
from serinus.wiring.sharing import name_of, open_store


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return made(tmp_path / "home")


def control(tmp_path: Path, url: str) -> ControlSection:
    (tmp_path / "url").write_text(f"{url}\n")
    return ControlSection(store=tmp_path / "url")


# --- the store --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["", "sqlite:////tmp/store.db", "no url of :anything", "mysql://a:hidden@b/c"])
def test_only_postgresql_can_be_shared_and_no_url_is_quoted(home: Home, tmp_path: Path, url: str) -> None:
    with pytest.raises(InvalidInput, match="does not hold the URL of a PostgreSQL database") as raised:
        open_store(home, control(tmp_path, url))
    assert "hidden" not in str(raised.value)


def test_a_file_that_is_not_there_is_named(home: Home, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="gone: No such file"):
        open_store(home, ControlSection(store=tmp_path / "gone"))


def test_a_home_with_another_secret_is_refused(home: Home, tmp_path: Path, postgres_database: str) -> None:
    shared = control(tmp_path, postgres_database)
    for _ in range(2):
        open_store(home, shared).close()
    other = made(tmp_path / "other")
    with pytest.raises(Refused, match="is not the secret of the control planes that share this database"):
        open_store(other, shared)
    shutil.copy(home.secret, other.secret)
    store = open_store(other, shared)
    kept = json.dumps(dict(store.settings("")))
    assert installation(home.secret.read_text()) in kept
    assert home.secret.read_text() not in kept
    store.close()


def test_homes_on_one_machine_have_names_of_their_own(home: Home, tmp_path: Path) -> None:
    assert name_of(home) != name_of(Home(tmp_path / "other"))


# --- what may be done before the term --------------------------------------------------------------------


def test_before_its_term_a_control_plane_writes_nothing_to_the_cluster(
    home: Home, tmp_path: Path, postgres_database: str
) -> None:
    store = SqlStore(postgres_database)
    with serving_leases(tmp_path) as (kubeconfig, _, _):
        chosen = Settings({"api": 1}, cluster=str(cluster_file(tmp_path, kubeconfig, postgres_database)))
        place = place_on_a_cluster(home, chosen, store)
        try:
            assert place.leadership is not None
            for act in (place.announce, lambda: place.target.distrust("fraud-1-abcdef")):
                with pytest.raises(Superseded, match="no control plane decides yet"):
                    act()
        finally:
            place.close()
            store.close()


# --- two processes ----------------------------------------------------------------------------------------


@pytest.mark.long
def test_two_control_processes_answer_and_one_of_them_decides(tmp_path: Path, postgres_database: str) -> None:
    with serving_leases(tmp_path) as (kubeconfig, leases, others):

        def terms() -> tuple[str, int]:
            kept = others.get("/api/v1/namespaces/fraud/secrets/serinus-routing")
            if kept is None or kept.there is None or leases.there is None:
                return "", 0
            return leases.there["spec"]["holderIdentity"], int(kept.there["metadata"]["annotations"][TERM])

        one_of_two_decides(tmp_path, kubeconfig, "fraud", postgres_database, terms)
