"""Quantities, as the API writes them."""

from __future__ import annotations

import pytest

from serinus.targets.kubernetes.quantities import size_of


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("128974848", 128974848),
        ("129M", 129_000_000),
        ("123Mi", 123 * 2**20),
        ("1.5Gi", 3 * 2**29),
        ("129e6", 129_000_000),
        ("1E", 10**18),
        ("128974848000m", 128974848),
        ("1m", 1),
        ("65Ki", 65 * 1024),
        ("", None),
        ("-1", None),
        ("1Xi", None),
        ("Mi", None),
        ("1 Mi", None),
    ],
)
def test_a_quantity_is_a_whole_number_or_none(text: str, size: int | None) -> None:
    assert size_of(text) == size
