"""What every Fleet must do. Another implementation joins by a line in `FLEETS`."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serinus.backends.git import GitFleet, Remote
from serinus.backends.git.command import Git
from serinus.core.errors import InvalidInput
from serinus.core.ports import Fleet


def with_a_server(path: Path) -> Fleet:
    server = path / "server.git"
    if not server.exists():
        Git.create(server)
    return GitFleet(path / "fleet", Remote(str(server)))


FLEETS: dict[str, Callable[[Path], Fleet]] = {
    "git": lambda path: GitFleet(path / "fleet"),
    "git with a server": with_a_server,
}

LIVE = {"version": "7", "release": "card-fraud-7-3f9a2c", "threshold": 0.93, "artifact": "a" * 64}


@pytest.fixture(params=sorted(FLEETS))
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Fleet]:
    """Opens the fleet of this test, again at each call, as another process would."""
    return lambda: FLEETS[request.param](tmp_path)


@pytest.fixture
def fleet(reopen: Callable[[], Fleet]) -> Fleet:
    return reopen()


def test_nothing_is_known_of_a_model_that_was_never_written(fleet: Fleet) -> None:
    assert fleet.read("card-fraud") is None
    assert fleet.live("card-fraud") is None


def test_what_was_written_is_read_back_to_the_byte_also_after_a_restart(reopen: Callable[[], Fleet]) -> None:
    text = "model: card-fraud\n# für 50 %\nrollout: {steps: [5]}\n\n"
    reopen().write("card-fraud", text, who="anna", why="first")
    reopen().write("other", "", who="anna", why="empty")
    assert reopen().read("card-fraud") == text
    assert reopen().read("other") == ""


def test_what_was_published_is_live_beside_the_deployment(fleet: Fleet) -> None:
    fleet.write("card-fraud", "model: card-fraud\n", who="anna", why="first")
    fleet.publish("card-fraud", LIVE, who="anna", why="it is better")
    assert fleet.live("card-fraud") == LIVE
    assert list(fleet.live("card-fraud") or ()) == list(LIVE), "in the order given"
    assert fleet.read("card-fraud") == "model: card-fraud\n"
    fleet.publish("card-fraud", LIVE | {"threshold": None}, who="anna", why="no threshold")
    assert fleet.live("card-fraud") == LIVE | {"threshold": None}


def test_all_that_is_live_is_told_as_it_is_now(reopen: Callable[[], Fleet]) -> None:
    assert reopen().all_live() == {}
    reopen().write("card-fraud", "model: card-fraud\n", who="anna", why="first")
    reopen().publish("card-fraud", LIVE, who="anna", why="better")
    reopen().publish("old", {"retired": "2026-01-01T00:00:00+00:00"}, who="anna", why="unused")
    assert reopen().all_live() == {"card-fraud": LIVE, "old": {"retired": "2026-01-01T00:00:00+00:00"}}


def test_repeating_a_write_or_a_publication_makes_no_commit(fleet: Fleet) -> None:
    first = fleet.write("card-fraud", "a: 1\n", who="anna", why="first")
    assert fleet.write("card-fraud", "a: 1\n", who="bert", why="again") == first
    second = fleet.publish("card-fraud", LIVE, who="anna", why="live")
    assert second != first
    assert fleet.publish("card-fraud", LIVE, who="anna", why="live") == second
    assert fleet.write("card-fraud", "a: 1\n", who="anna", why="once more") == second


def test_many_writers_at_once_lose_nothing(reopen: Callable[[], Fleet]) -> None:
    fleets = [reopen(), reopen()]

    def write(turn: int) -> str:
        return fleets[turn % 2].write(f"model-{turn}", f"turn: {turn}\n", who="anna", why=str(turn))

    with ThreadPoolExecutor(4) as pool:
        commits = list(pool.map(write, range(12)))
    assert len(set(commits)) == 12
    assert [fleets[0].read(f"model-{turn}") for turn in range(12)] == [f"turn: {turn}\n" for turn in range(12)]


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "a\\b", "/etc/passwd", "a\nb", 'a"b', ".git", "x" * 200]
)
def test_a_name_that_could_leave_its_folder_is_refused(fleet: Fleet, name: str) -> None:
    for act in (
        lambda: fleet.read(name),
        lambda: fleet.write(name, "a: 1\n", who="anna", why="x"),
        lambda: fleet.publish(name, LIVE, who="anna", why="x"),
        lambda: fleet.live(name),
    ):
        with pytest.raises(InvalidInput):
            act()


def test_who_has_read_it_is_told_of_what_models_something_else_is_published(fleet: Fleet) -> None:
    mark, changed = fleet.changes(None)
    assert changed is None
    assert fleet.changes(mark) == (mark, ())
    fleet.publish("card-fraud", LIVE, who="anna", why="live")
    fleet.publish("other", LIVE, who="anna", why="live")
    before, _ = fleet.changes(mark)
    fleet.write("card-fraud", "a: 1\n", who="anna", why="a spec is not what is published")
    spec, changed = fleet.changes(before)
    assert (spec == before, set(changed or ())) == (False, set())
    fleet.publish("other", LIVE | {"version": "8"}, who="anna", why="live")
    after, changed = fleet.changes(spec)
    assert set(changed or ()) == {"other"}
    assert fleet.changes(after) == (after, ())


def test_of_a_place_that_is_not_there_any_more_any_model_may_have_changed(fleet: Fleet) -> None:
    fleet.publish("card-fraud", LIVE, who="anna", why="live")
    mark, _ = fleet.changes(None)
    assert fleet.changes("f" * len(mark)) == (mark, None)


def test_what_serinus_has_written_is_no_merge_of_a_person(fleet: Fleet) -> None:
    mark, merged = fleet.merged(None)
    assert list(merged) == []
    fleet.write("card-fraud", "a: 1\n", who="anna", why="first")
    fleet.publish("card-fraud", LIVE, who="anna", why="live")
    after, merged = fleet.merged(mark)
    assert (after != mark, list(merged)) == (True, [])
    assert fleet.merged("f" * len(after)) == (after, ())
