"""Numbers that a column's type cannot hold: refused in every way a model is asked, by the column's name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from serinus_runtime.artifact.signature import Column, TensorSpec
from serinus_runtime.base.errors import RequestError
from serinus_runtime.values.frames import Frames
from serinus_runtime.values.payload import Tensor
from serinus_runtime.values.tensors import array_of

LARGEST = 3.4028235677973362e38
"""The largest double that rounds to a float32; the next one is infinity."""
TOO_LARGE = (1e300, -1e300, 3.4028235677973366e38, 10**39, 10**400)
MIXED = Frames([Column("hour", "long"), Column("amount", "float"), Column("age", "double")])


@pytest.mark.parametrize("number", TOO_LARGE)
def test_a_number_beyond_float32_is_refused_where_a_column_holds_float32(number: Any) -> None:
    with pytest.raises(RequestError, match=r"^column 'amount' takes float: a number is out of range$"):
        MIXED.frame([[1, 1.5, 2.5], [1, number, 2.5]])


@pytest.mark.filterwarnings("error")
def test_what_rounds_to_a_float32_is_taken_and_a_double_may_be_larger() -> None:
    frame = MIXED.frame([[1, LARGEST, 1e300], [1, -LARGEST, -1e300], [1, 1e-300, None], [1, None, 0]])
    assert [str(kind) for kind in frame.dtypes] == ["int64", "float32", "float64"]
    largest = np.finfo("float32").max
    np.testing.assert_array_equal(frame["amount"], np.array([largest, -largest, 0.0, np.nan], dtype="float32"))
    np.testing.assert_array_equal(frame["age"], [1e300, -1e300, np.nan, 0.0])


@pytest.mark.parametrize("kind", ["float", "double"])
@pytest.mark.parametrize("way", ["matrix", "frame"])
def test_columns_of_one_type_refuse_by_name_as_well(kind: str, way: str) -> None:
    ask = getattr(Frames([Column("amount", kind), Column("age", kind)]), way)
    with pytest.raises(RequestError, match=rf"^column 'age' takes {kind}: a number is out of range$"):
        ask([[1.5, 2.5], [1.5, 1e300 if kind == "float" else float("-inf")]])
    assert ask([[LARGEST, None]]).shape == (1, 2)


@pytest.mark.parametrize("time", ["2024-01-15T12:00:00", "1677-09-21T00:12:44", "2262-04-11T23:47:16.854774"])
@pytest.mark.parametrize("unit", ["ns", "us", "D"])
def test_a_tensor_of_times_takes_those_that_its_unit_holds(time: str, unit: str) -> None:
    array = array_of(Tensor(None, [time]), TensorSpec(None, f"datetime64[{unit}]", (-1,)))
    assert array == np.array([time], dtype=f"datetime64[{unit}]")


@pytest.mark.parametrize(
    ("unit", "time"),
    [("ns", "1677-09-21T00:12:43"), ("ns", "2262-04-11T23:47:17"), ("ps", "1900-01-01"), ("as", "2024-01-15")],
)
def test_a_tensor_of_times_refuses_those_that_its_unit_does_not_hold(unit: str, time: str) -> None:
    with pytest.raises(RequestError, match=r"a time is out of the range from (1677|1969)-\S+ to (2262|1970)-\S+$"):
        array_of(Tensor(None, [time]), TensorSpec(None, f"datetime64[{unit}]", (-1,)))
