"""`serinus disk` and `serinus prune`: what takes how much, what nothing needs, and what is removed of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cli_harness import Serinus
from scenes import ANNA, V5, V6, V7, rollout
from small_fleet import NOW, Installation, Kept
from small_fleet import Target as Silent

from serinus.core.errors import Unavailable
from serinus.core.people import Access
from serinus.core.placement import Placement, PlacementState
from serinus.core.release import Compiled, Release
from serinus.core.rollout import ModelState, Order, Phase, Rollout
from serinus.engine import Disk
from serinus.engine.commands.disk import PRUNER, to_remove

OLD = NOW.timestamp() - 86_400


def of(release: Release, artifact: str, environment: str, graph: str = "") -> Release:
    compiled = Compiled(graph, "graphs") if graph else None
    return replace(release, artifact_digest=artifact, environment_digest=environment, compiled=compiled)


FIVE, SIX, SEVEN = of(V5, "a5", "shared"), of(V6, "a6", "shared", "g6"), of(V7, "a7", "e7")


def promoted(number: int, release: Release, days_ago: float, spec: str = "watch: {after: 0s}\n") -> Rollout:
    made = rollout(number, Phase.PROMOTED, candidate=release, version=release.version, spec=spec)
    return replace(made, status=replace(made.status, since=NOW - timedelta(days=days_ago)))


@pytest.fixture
def fleet(installation: Installation) -> Installation:
    """Versions 5, 6 and 7 were promoted one after the other; 7 is live, and 4 was tried once and stopped."""
    environments, artifacts = installation.stored
    four = of(replace(V5, id="card-fraud-4-aaaaaa", version="4"), "a4", "e4")
    for number, (release, days_ago) in enumerate([(FIVE, 20), (SIX, 10), (SEVEN, 2)], start=1):
        installation.store.add_release(release)
        installation.store.create(promoted(number, release, days_ago))
    installation.store.add_release(four)
    installation.store.create(rollout(4, Phase.ABORTED, candidate=four, version="4"))
    installation.store.save_model(ModelState("card-fraud", champion=SEVEN, previous=SIX, since=NOW))
    for name in ("shared", "e7", "e4", "graphs"):
        environments.add(name, 100_000, OLD)
    for name in ("a4", "a5", "a6", "a7", "unknown"):
        artifacts.add(name, 50_000, OLD)
    return installation


def needed(installation: Installation) -> Mapping[str, str]:
    return {one.name: one.needed for one in installation.disk.usage().items}


def unneeded(installation: Installation) -> set[str]:
    return {name for name, why in needed(installation).items() if not why}


def test_what_nothing_needs_is_told_and_the_rest_with_why(fleet: Installation) -> None:
    assert unneeded(fleet) == {"e4", "a4", "a5", "unknown"}
    assert needed(fleet)["e7"] == "card-fraud: champion"
    assert needed(fleet)["graphs"] == "card-fraud: it is the target of a rollback"  # of the graph of version 6


def test_disk_shows_kinds_models_and_items(fleet: Installation, serinus: Serinus) -> None:
    lines = serinus("disk").out.splitlines()
    rows = {line.split("  ")[0]: line.split() for line in lines if line}
    assert rows["environments"][2:4] == ["KiB", "4"]
    assert "card-fraud" in rows
    assert "of no release" in rows
    assert rows["store"][1] != "0"
    assert "Nothing needs 4 items. `serinus prune` removes them." in lines
    items = serinus("disk", "--items").out
    assert "card-fraud: champion" in items
    assert serinus("disk", "--json").json["kinds"]["artifacts"] >= 5 * 50_000


def test_bytes_that_are_shared_are_counted_once_in_a_kind_and_not_as_freed(fleet: Installation) -> None:
    before = fleet.disk.usage().kinds["environments"]
    linked = fleet.stored[0].root / "e4" / "link"
    os.link(fleet.stored[0].root / "e7" / "file", linked)
    os.utime(linked.parent, (OLD, OLD))
    usage = fleet.disk.usage()
    item = next(one for one in usage.items if one.name == "e4")
    assert usage.kinds["environments"] == before
    assert item.bytes >= 200_000 > item.freed >= 100_000


def test_prune_shows_first_and_removes_nothing_without_being_told_to(fleet: Installation, serinus: Serinus) -> None:
    before = sorted(fleet.home.path.rglob("*/file"))
    shown = serinus("prune", "--dry-run")
    assert shown.code == 0
    assert "Nothing needs 4 items, 2" in shown.out
    refused = serinus("prune")
    assert refused.code == 1
    assert "--yes" in refused.err
    assert serinus("prune", "--dry-run", "--json").json["removed"] == []
    assert sorted(fleet.home.path.rglob("*/file")) == before


def test_prune_removes_what_nothing_needs_and_says_so_in_the_audit_record(
    fleet: Installation, serinus: Serinus
) -> None:
    said = serinus("prune", "--yes")
    assert said.code == 0
    assert "4 items removed." in said.out
    left = {path.name for storage in fleet.stored for path in storage.root.iterdir()}
    assert left == {"shared", "e7", "graphs", "a6", "a7"}
    (entry,) = [one for one in fleet.store.audit_trail() if one.what == "prune"]
    assert (entry.who, entry.details["items"]) == ("admin", 4)
    assert serinus("prune", "--yes").out == "There is nothing to remove: everything is needed.\n"


def test_what_is_needed_by_now_is_kept_whatever_was_shown(fleet: Installation) -> None:
    shown = {("environments", "e4"), ("artifacts", "a4"), ("artifacts", "a5")}
    begun = rollout(5, Phase.CANARY, candidate=of(replace(V5, id="card-fraud-4-aaaaaa"), "a4", "e4"))
    fleet.store.create(begun)
    found = fleet.disk.prune(shown)
    assert [one.name for one in found.removed] == ["a5"]
    assert {one.name: one.why for one in found.kept} == {
        "a4": "card-fraud: card-fraud-r5 has not ended",
        "e4": "card-fraud: card-fraud-r5 has not ended",
    }


def test_what_was_asked_for_since_a_build_began_is_kept(fleet: Installation) -> None:
    """A deployment whose environment is there already has no release yet that would name it."""
    building = rollout(5, Phase.BUILD, candidate=None, created_at=NOW - timedelta(minutes=8))
    fleet.store.create(building)
    asked = NOW.timestamp() - 60
    os.utime(fleet.stored[0].root / "e4", (asked, asked))
    found = fleet.disk.prune({("environments", "e4"), ("artifacts", "a5")})
    assert [one.name for one in found.removed] == ["a5"]
    assert found.kept[0].why == "it is being made, or was requested in the meantime"


def test_one_that_waits_to_take_the_place_of_another_keeps_its_files(fleet: Installation) -> None:
    fleet.store.create(rollout(5, Phase.CANARY, candidate=SEVEN))
    waits = rollout(6, Phase.PLACE, candidate=FIVE)
    fleet.store.supersede("card-fraud-r5", Order("supersede", ANNA, "it takes its place", NOW), waits)
    assert needed(fleet)["a5"] == "card-fraud: card-fraud-r6 has not ended"


def test_what_still_runs_is_kept(fleet: Installation) -> None:
    fleet.target.placements["card-fraud-4-aaaaaa"] = Placement("card-fraud-4-aaaaaa", PlacementState.READY)
    assert needed(fleet)["e4"] == "card-fraud: it still runs"


def test_a_former_champion_is_kept_while_its_successor_is_watched(fleet: Installation) -> None:
    fleet.store.save(promoted(3, SEVEN, 2, "watch: {after: 30d}\n"))
    assert needed(fleet)["a5"].startswith("card-fraud: champion until ")


def test_the_environment_of_graphs_is_kept_without_any(fleet: Installation) -> None:
    fleet.always.append("e4")
    assert needed(fleet)["e4"] == "what compiled releases are served with"


def test_where_it_is_not_known_what_runs_nothing_is_removed(
    fleet: Installation, serinus: Serinus, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(_: Silent) -> Any:
        raise Unavailable("the model host does not answer")

    monkeypatch.setattr(Silent, "observe", silent)
    said = serinus("prune", "--yes")
    assert said.code == 1
    assert "it is not known which releases are running" in said.err
    with pytest.raises(Unavailable):
        fleet.disk.prune({("environments", "e4")})
    assert (fleet.stored[0].root / "e4").is_dir()


def test_what_cannot_be_removed_is_told_and_the_others_go(fleet: Installation, serinus: Serinus) -> None:
    fleet.stored[0].refused["e4"] = PermissionError(13, "Permission denied")
    out = serinus("prune", "--yes").out
    assert "kept: environments e4: it could not be removed: Permission denied" in out
    assert "3 items removed." in out


def test_a_budget_removes_the_least_recently_used_until_the_rest_fits(fleet: Installation) -> None:
    os.utime(fleet.stored[1].root / "a4", (OLD - 60, OLD - 60))
    total = sum(fleet.disk.usage().kinds[kind] for kind in ("environments", "artifacts"))

    def with_budget(budget: int | None) -> set[str]:
        Disk(fleet.world, fleet.stored, {}, lambda: fleet.always, budget).keep_budget()
        return unneeded(fleet)

    assert with_budget(None) == with_budget(total) == {"e4", "a4", "a5", "unknown"}
    assert [one for one in fleet.store.audit_trail() if one.what == "prune"] == []
    assert with_budget(total - 1) == {"e4", "a5", "unknown"}
    assert with_budget(0) == set()
    assert {path.name for storage in fleet.stored for path in storage.root.iterdir()} >= {"shared", "e7", "a6", "a7"}
    entries = [one for one in fleet.store.audit_trail() if one.what == "prune"]
    assert [one.who for one in entries] == [PRUNER.name] * 2
    assert with_budget(0) == set()  # more cannot be done, and nothing is said
    assert len([one for one in fleet.store.audit_trail() if one.what == "prune"]) == 2


def test_what_is_needed_is_never_among_what_a_budget_removes(fleet: Installation) -> None:
    items = fleet.disk._items()[0]
    assert {one.name for one in to_remove(items, 10**15)} == {"e4", "a4", "a5", "unknown"}
    assert to_remove(items, 0) == []


def test_only_an_admin_removes(fleet: Installation, serinus: Serinus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERINUS_TOKEN", fleet.token("bob", Access.APPROVE))
    assert serinus("prune", "--dry-run").code == 0
    said = serinus("prune", "--yes")
    assert said.code == 1
    assert "admin" in said.err
    assert isinstance(fleet.stored[0], Kept)
    assert (fleet.stored[0].root / "e4").is_dir()
