"""A whole rollout under constant load: canary, promotion, rollback, and not one failed request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl
import pytest
from whole_load import wait_until
from whole_serinus import Serinus

from serinus.backends.envoy import EnvoyRouter, admin_socket
from serinus.backends.git import GitFleet

MODEL = "card"


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_no_request_fails_and_no_entity_changes_sides_while_a_release_is_promoted_and_rolled_back(
    serinus: Serinus, register: Callable[..., str], rate: float
) -> None:
    first, second = register(MODEL, 1.0), register(MODEL, 0.1)
    before = serinus.deployed(f"{MODEL}@{first}")
    assert before["status"]["phase"] == "promoted", before["status"]

    with serinus.load(MODEL, rate) as load:
        wait_until(lambda: len(load.seen) > rate, 30, "steady load")
        rollout = serinus.deployed(f"{MODEL}@{second}")
        assert rollout["status"]["phase"] == "promoted", rollout["status"]
        promoted_after = len(load.seen)
        wait_until(lambda: len(load.seen) > promoted_after + rate, 30, "a second of the new champion")
        back, seconds = serinus.rolled_back(MODEL)
        assert back["status"]["phase"] == "promoted", back["status"]
        back_after = len(load.seen)
        wait_until(lambda: len(load.seen) > back_after + rate, 30, "a second of the old champion")

    print(f"\n{len(load.seen)} requests at {load.reached():.0f}/s of {rate:.0f} asked for; rollback {seconds:.2f} s")
    assert load.in_words() == {}
    assert seconds <= 10
    releases = before["candidate"]["id"], rollout["candidate"]["id"]
    check_records(serinus.logged(load), load.answered, rollout, releases)
    assert {seen.release for seen in load.seen[-100:]} == {releases[0]}
    check_agreement(serinus, first, releases[0])


def check_records(
    records: pl.DataFrame, answered: set[str], rollout: Mapping[str, Any], releases: tuple[str, str]
) -> None:
    """A record for each answer and no other, and one side an entity for as long as a split lasts."""
    assert sorted(records["request_id"]) == sorted(answered)
    sides = records.group_by("split", "entity").agg(pl.col("release").n_unique())
    assert sides.filter(pl.col("release") != 1).is_empty()
    steps = [step["split"] for step in rollout["steps"]]
    assert len(steps) == 2
    for split, share in zip(steps, (0.2, 0.5), strict=True):
        within = records.filter(pl.col("split") == split)
        assert set(within["release"]) == set(releases)
        canary = within.filter(pl.col("role") == "canary")
        assert set(canary["release"]) == {releases[1]}
        assert canary["entity"].n_unique() / within["entity"].n_unique() == pytest.approx(share, abs=0.1)
    # Growing the canary keeps those that were in it.
    first, then = (
        set(records.filter(pl.col("split") == split, pl.col("role") == "canary")["entity"]) for split in steps
    )
    assert first < then


def check_agreement(serinus: Serinus, version: str, release: str) -> None:
    """Status, routing, MLflow's alias and the fleet repository say the same."""
    status = serinus.model(MODEL)
    assert (status["champion"]["release"], status["rollout"]) == (release, None)
    assert status["state"] == "serving", status["notes"]
    routing = EnvoyRouter(serinus.home, admin_socket(serinus.home)).in_force(MODEL)
    assert routing is not None
    assert [arm.release for arm in routing.arms if arm.weight] == [release]
    assert serinus.mlflow.get_model_version_by_alias(MODEL, "champion").version == version
    live = GitFleet(serinus.home.fleet).live(MODEL)
    assert live is not None
    assert live["release"] == release
    assert len(serinus.fleet()) >= 4
