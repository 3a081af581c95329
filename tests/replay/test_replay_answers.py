from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serinus.replay.answers import Answer, Malformed, parse
from serinus.replay.histogram import Histogram

PLAIN = b"HTTP/1.1 200 OK\r\nX-Serinus-Release: Fraud-7\r\nx-serinus-fallback: true\r\ncontent-length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 503 No\r\ntransfer-encoding: chunked\r\nConnection: close\r\n\r\n"
CHUNKED += b"3\r\nabc\r\nA;x=1\r\n0123456789\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (PLAIN, Answer(200, "Fraud-7", True, False, len(PLAIN))),
        (CHUNKED, Answer(503, "router", False, True, len(CHUNKED))),
        (b"HTTP/1.1 204 No Content\r\n\r\n", Answer(204, "router", False, False, 27)),
    ],
)
def test_an_answer_is_known_once_it_is_whole_and_not_before(data: bytes, answer: Answer) -> None:
    assert parse(data) == answer
    assert parse(data + b"HTTP/1.1 200") == answer
    assert [parse(data[:size]) for size in range(len(data))] == [None] * len(data)


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0\r\n",
        b"HTTP/1.1 abc\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 " + b"x" * 70_000,
    ],
)
def test_what_has_no_end_that_can_be_told_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        parse(data)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=200), st.sampled_from([0.5, 0.9, 0.99, 0.999]))
def test_quantiles_are_right_within_two_percent(seconds: list[float], share: float) -> None:
    histogram = Histogram()
    for one in seconds:
        histogram.add(one)
    ordered = sorted(seconds)
    exact = next(value for rank, value in enumerate(ordered, 1) if rank >= share * len(ordered))
    found = histogram.quantile(share)
    assert found == pytest.approx(exact, rel=0.02, abs=2e-6)


def test_no_durations_have_no_quantiles() -> None:
    assert Histogram().quantile(0.5) is None
    assert Histogram().summary_ms() == {}
