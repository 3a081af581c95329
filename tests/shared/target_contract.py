"""What every Target must do, see `core.ports.Target`. A test class that derives from it has the fixtures
`target`, `release` (its model loads), `without_files` (takes away what it names) and `away` (a target without its other
side).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from waiting import wait_until

from serinus.core.errors import InvalidInput, NotFound, Refused, Unavailable
from serinus.core.placement import Placement, PlacementState
from serinus.core.ports import Target
from serinus.core.release import Compiled, Release, Scale

LONGER = Scale(max_workers=1, keep_warm=True)


def ready(target: Target, release: Release) -> Placement:
    """Once it is."""

    def is_ready() -> bool:
        found = target.observe()[release.id]
        assert found.state is not PlacementState.FAILED, found.reason
        return found.state is PlacementState.READY

    wait_until(is_ready, 240, f"{release.id} is ready")
    return target.observe()[release.id]


class TargetContract:
    def test_a_placed_release_is_observed_until_it_is_ready(self, target: Target, release: Release) -> None:
        target.place(release)
        assert target.observe()[release.id].state in (PlacementState.STARTING, PlacementState.READY)
        placement = ready(target, release)
        assert placement.endpoint
        assert placement.answers
        assert placement.workers >= 1
        assert placement.active_since is not None

    def test_placing_twice_is_placing_once(self, target: Target, release: Release) -> None:
        target.place(release)
        placement = ready(target, release)
        target.place(replace(release, created_at=datetime(2026, 2, 2, tzinfo=UTC)))
        after = ready(target, release)
        assert (after.pid, after.active_since) == (placement.pid, placement.active_since)

    def test_another_release_under_the_same_id_is_refused(self, target: Target, release: Release) -> None:
        target.place(release)
        with pytest.raises(Refused, match=release.id):
            target.place(replace(release, version="2"))
        ready(target, release)
        with pytest.raises(Refused, match=release.id):
            target.place(replace(release, version="2"))

    def test_a_release_says_which_scale_it_was_told(self, target: Target, release: Release) -> None:
        target.place(release)
        assert target.observe()[release.id].scale == Scale()
        ready(target, release)
        target.place(release, LONGER)
        assert target.observe()[release.id].scale == LONGER
        assert ready(target, release).scale == LONGER

    def test_workers_that_are_expected_are_there_before_their_load(self, target: Target, release: Release) -> None:
        """As many as the target allows: where these tests run there may be room for one."""
        target.place(release)
        assert ready(target, release).expected == 0
        target.expect(release.id, 2)

        def grown() -> bool:
            found = target.observe()[release.id]
            assert found.most is not None
            assert found.capacity is not None
            return found.expected == 2 and found.capacity >= min(2, found.most) == min(found.workers, 2)

        wait_until(grown, 120, "it is as large as expected")
        target.expect(release.id, 0)
        assert target.observe()[release.id].expected == 0

    def test_of_what_is_not_placed_nothing_is_expected(self, target: Target, release: Release) -> None:
        target.expect(release.id, 2)
        target.place(release)
        assert target.observe()[release.id].expected == 0

    def test_a_distrusted_release_goes_the_long_way_also_when_it_is_placed_again(
        self, target: Target, release: Release
    ) -> None:
        target.distrust(release.id)
        target.place(release)
        assert target.observe()[release.id].long
        assert ready(target, release).long
        target.remove(release.id)
        target.place(release)
        assert ready(target, release).long

    def test_a_removed_release_is_not_observed_any_more(self, target: Target, release: Release) -> None:
        target.place(release)
        ready(target, release)
        target.remove(release.id)
        assert release.id not in target.observe()

    def test_a_release_that_is_removed_at_once_never_comes(self, target: Target, release: Release) -> None:
        target.place(release)
        target.remove(release.id)
        assert target.observe() == {}

    def test_removing_what_is_not_there_does_nothing(self, target: Target) -> None:
        target.remove("never-1-abcdef")
        assert target.observe() == {}

    def test_activating_what_is_not_placed_is_not_found(self, target: Target, release: Release) -> None:
        with pytest.raises(NotFound):
            target.activate(release.id)
        target.place(release)
        target.activate(release.id)

    def test_an_id_that_would_lead_elsewhere_is_invalid(self, target: Target, release: Release) -> None:
        with pytest.raises(InvalidInput):
            target.place(replace(release, id=".hidden"))

    @pytest.mark.parametrize("digest", ["../m", "/etc", "", ".hidden", "a/b", "a" * 200])
    def test_a_digest_that_would_lead_elsewhere_is_invalid(self, target: Target, release: Release, digest: str) -> None:
        changed = [replace(release, artifact_digest=digest), replace(release, environment_digest=digest)]
        changed += [replace(release, compiled=Compiled(*pair)) for pair in ((digest, "e"), ("c", digest))]
        for one in changed:
            with pytest.raises(InvalidInput):
                target.place(one)
        assert target.observe() == {}

    def test_what_a_release_names_is_held_until_its_files_are_gone(
        self, target: Target, release: Release, without_files: Callable[[], None]
    ) -> None:
        assert target.holds(release)
        assert not target.holds(replace(release, environment_digest="gone"))
        without_files()
        assert not target.holds(release)

    def test_a_target_that_does_not_answer_is_unavailable(self, away: Target, release: Release) -> None:
        for act in (away.observe, lambda: away.place(release), lambda: away.remove(release.id)):
            with pytest.raises(Unavailable, match="does not answer"):
                act()
