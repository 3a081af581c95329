from __future__ import annotations

from datetime import UTC, datetime

import pytest

from serinus.lib.times import in_utc


@pytest.mark.parametrize("text", ["2026-11-29T12:00:00", "2026-11-29T12:00:00Z", "2026-11-29T13:30:00+01:30"])
def test_a_moment_without_an_offset_is_one_of_utc(text: str) -> None:
    found = in_utc(datetime.fromisoformat(text).replace(second=0))
    assert found.tzinfo is UTC
    assert found.isoformat() == ("2026-11-29T12:00:00+00:00")


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-23:00"])
def test_a_moment_that_utc_has_no_year_for_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="outside the years"):
        in_utc(datetime.fromisoformat(text))
