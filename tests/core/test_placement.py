from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from serinus.core.placement import Placement, PlacementState


@pytest.mark.parametrize("said", ["scaled-to-zero", "asleep"])
def test_a_placement_at_zero_is_read_as_this_version_and_an_earlier_one_write_it(said: str) -> None:
    placed = TypeAdapter(Placement).validate_json(f'{{"release": "fraud-1-aaaaaa", "state": "{said}"}}')
    assert placed.state is PlacementState.SCALED_TO_ZERO
    assert placed.state.value == "scaled-to-zero"
    assert placed.answers


def test_a_state_that_no_version_has_written_is_refused() -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Placement).validate_json('{"release": "fraud-1-aaaaaa", "state": "dozing"}')
