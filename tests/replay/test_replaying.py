from __future__ import annotations

import asyncio
import csv
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from serinus.core.errors import InvalidInput
from serinus.outcomes import read_labels
from serinus.replay import Chunk, OutcomesFile, Report, replay, run


class Rows:
    """A source of `count` rows in chunks of 100."""

    def __init__(self, count: int) -> None:
        self._count = count

    def chunks(self) -> Iterator[Chunk]:
        for start in range(0, self._count, 100):
            numbers = range(start, min(start + 100, self._count))
            yield Chunk(
                pl.DataFrame({"x": [float(number) for number in numbers]}),
                entities=pl.Series([f"card-{number}" for number in numbers]),
                labels=pl.Series([float(number) if number % 2 else None for number in numbers], dtype=pl.Float64),
            )


class OneChunk:
    def __init__(self, **columns: Any) -> None:
        self._chunk = Chunk(**columns)

    def chunks(self) -> Iterator[Chunk]:
        yield self._chunk


def go(source: Any, url: str, **options: Any) -> Report:
    report = asyncio.run(replay(source, url, "m", **{"rate": 1_000, "connections": 8, **options}))
    assert report.sent == report.answered + sum(report.failed.values()) + report.unanswered
    return report


def test_every_row_is_sent_once_in_order_and_counted(server: Any) -> None:
    report = go(Rows(350), server.url, connections=1)
    assert (report.sent, report.answered, dict(report.failed), report.unanswered) == (350, 350, {}, 0)
    assert report.releases == {"m-1": 350}
    assert [request.json["inputs"][0]["data"] for request in server.requests] == [[float(n)] for n in range(350)]
    assert server.headers("x-request-id") == [f"{report.prefix}-{number}-0" for number in range(350)]
    assert server.headers("x-entity-id")[:2] == ["card-0", "card-1"]


def test_the_rate_is_kept(server: Any) -> None:
    report = go(Rows(400), server.url, rate=400)
    due = 399 / 400
    late = (report.lag_ms["max"] + report.latency_ms["max"]) / 1000  # a busy machine's, which is told
    assert due <= report.seconds <= due + late + 0.25
    assert server.requests[-1].at - server.requests[0].at > due / 2


def test_all_types_become_tensors_of_the_open_inference_protocol(server: Any) -> None:
    inputs = pl.DataFrame(
        {"f": [0.1], "i": [7], "b": [True], "s": ['"ü\\'], "none": pl.Series([None], dtype=pl.Float64)},
    ).with_columns(pl.lit(float("nan")).alias("nan"), pl.lit(1, pl.UInt8).alias("u"), pl.date(2026, 1, 2).alias("d"))
    go(OneChunk(inputs=inputs), server.url)
    tensors = {tensor["name"]: (tensor["datatype"], tensor["data"]) for tensor in server.requests[0].json["inputs"]}
    assert server.requests[0].path == "/v2/models/m/infer"
    assert tensors == {
        "f": ("FP64", [0.1]),
        "i": ("INT64", [7]),
        "b": ("BOOL", [True]),
        "s": ("BYTES", ['"ü\\']),
        "none": ("FP64", [None]),
        "nan": ("FP64", [None]),
        "u": ("UINT8", [1]),
        "d": ("BYTES", ["2026-01-02"]),
    }


def test_rows_become_records_for_mlflows_protocol(server: Any) -> None:
    go(OneChunk(inputs=pl.DataFrame({"f": [0.1], "s": ["a"]})), server.url, protocol="invocations", api_key="k1")
    assert server.requests[0].path == "/models/m/invocations"
    assert server.requests[0].json == {"dataframe_records": [{"f": 0.1, "s": "a"}]}
    assert server.headers("x-api-key") == ["k1"]


def test_entities_and_ids_cannot_break_out_of_their_headers(server: Any) -> None:
    inputs = pl.DataFrame({"x": [1.0, 2.0, 3.0]})
    entities, ids = pl.Series(["a\r\nx-evil: 1", "", None]), pl.Series(["n 1", "2", "3"])
    go(OneChunk(inputs=inputs, entities=entities, ids=ids), server.url, connections=1, prefix="p")
    assert server.headers("x-entity-id") == ["a__x-evil: 1", None, None]
    assert server.headers("x-request-id") == ["p-n_1-0", "p-2-0", "p-3-0"]


def test_passes_have_ids_of_their_own_and_entities_if_told_so(server: Any) -> None:
    report = go(Rows(3), server.url, passes=2, fresh_entities=True, connections=1, prefix="p")
    assert report.sent == 6
    assert server.headers("x-request-id") == [f"p-{row}-{turn}" for turn in range(2) for row in range(3)]
    assert server.headers("x-entity-id")[3:] == ["card-0-1", "card-1-1", "card-2-1"]


def test_two_replays_of_one_file_share_no_request_id(server: Any) -> None:
    reports = [go(Rows(5), server.url) for _ in range(2)]
    ids = server.headers("x-request-id")
    assert len(set(ids)) == 10
    assert reports[0].prefix != reports[1].prefix
    assert all(any(one.startswith(f"{report.prefix}-") for report in reports) for one in ids)
    assert f"ids        {reports[0].prefix}-..." in reports[0].text()


def test_a_limit_ends_it(server: Any) -> None:
    assert go(Rows(1_000), server.url, limit=123, passes=3).sent == 123
    assert len(server.requests) == 123


def test_a_stall_is_seen_by_all_requests_that_were_due_meanwhile(server: Any) -> None:
    """Were latency counted from sending, only one request per connection would have seen the stall."""
    server.stall_at_first = 0.5
    report = go(Rows(1_000), server.url, rate=1_000, connections=2)
    assert report.answered == 1_000
    assert report.waited > 300
    assert report.latency_ms["p99"] > 350
    # About half of all requests were due during the stall, a quarter of them in its first half.
    assert report.latency_ms["p50"] < report.latency_ms["p90"]
    assert report.latency_ms["p90"] > 200


def test_the_generators_own_lag_is_told_from_the_servers_slowness(server: Any) -> None:
    held_up = go(Rows(1_300), server.url, connections=200, on_progress=lambda _: time.sleep(0.25))
    assert held_up.lag_ms["max"] > 150
    assert not held_up.kept_up
    assert "did not keep up" in held_up.text()
    server.requests.clear()
    server.stall_at_first = 0.3
    slow_server = go(Rows(600), server.url, connections=2)
    assert slow_server.latency_ms["max"] > 200
    assert slow_server.lag_ms["p50"] < 50


def test_failures_are_counted_by_kind(server: Any) -> None:
    server.answer = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"
    assert go(Rows(5), server.url).failed == {"http 503": 5}
    server.answer = b"nonsense\r\n\r\n"
    assert go(Rows(5), server.url, connections=5).failed == {"malformed": 5}


def test_a_connection_that_is_closed_under_a_request_is_a_reset_and_is_opened_again(server: Any) -> None:
    server.hang_up_on = 10
    report = go(Rows(100), server.url, connections=1)
    assert report.failed == {"reset": 1}
    assert report.answered == 99


def test_a_request_that_is_not_answered_in_time_is_given_up(server: Any) -> None:
    server.stalled.set()
    report = go(Rows(4), server.url, connections=4, timeout=0.2)
    server.stalled.clear()
    assert report.failed == {"timeout": 4}
    assert report.latency_ms == {}


def test_a_server_that_closes_after_each_answer_is_served_all_the_same(server: Any) -> None:
    server.answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    report = go(Rows(40), server.url, connections=4)
    assert (report.answered, dict(report.failed)) == (40, {})


def test_where_nobody_listens_requests_are_refused() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        report = go(Rows(50), f"http://127.0.0.1:{unused.getsockname()[1]}")
    assert report.failed == {"refused": 50}


def test_a_server_that_goes_away_in_the_middle_costs_what_was_due_then(server: Any) -> None:
    def stop_in_the_middle() -> None:
        while len(server.requests) < 300:
            time.sleep(0.001)
        server.stop()

    stopping = threading.Thread(target=stop_in_the_middle)
    stopping.start()
    report = go(Rows(1_000), server.url)
    stopping.join()
    assert 200 < report.answered <= 300
    assert report.failed["refused"] > 300
    assert report.sent == 1_000


def test_a_stop_ends_it_with_the_report_so_far(server: Any) -> None:
    async def stopped() -> Report:
        stop = asyncio.Event()
        going = asyncio.create_task(replay(Rows(100_000), server.url, "m", rate=500, stop=stop))
        while len(server.requests) < 100:
            await asyncio.sleep(0.01)
        stop.set()
        return await going

    report = asyncio.run(stopped())
    assert 100 <= report.sent < 400
    assert report.answered == report.sent


def test_a_stop_does_not_wait_for_a_server_that_hangs(server: Any) -> None:
    async def stopped() -> Report:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(0.2, stop.set)
        return await replay(Rows(1_000), server.url, "m", rate=500, connections=4, timeout=60, stop=stop)

    server.stalled.set()
    started = time.monotonic()
    report = asyncio.run(stopped())
    server.stalled.clear()
    assert time.monotonic() - started < 5
    assert report.unanswered == 4
    assert report.overdue > 20
    assert "overdue" in report.text()


def test_ctrl_c_ends_it_with_the_report_so_far(server: Any) -> None:
    def interrupt() -> None:
        while len(server.requests) < 20:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    report = run(Rows(100_000), server.url, "m", rate=200)
    assert 20 <= report.answered < 1_000


def test_outcomes_are_written_for_answered_requests_with_a_label(server: Any, tmp_path: Path) -> None:
    path = tmp_path / "outcomes.csv"
    server.hang_up_on = 1
    server.answer = server.answer.replace(b"Content-Length", b"X-Serinus-Prediction-Id: own\r\nContent-Length")
    with OutcomesFile(path) as outcomes:
        go(Rows(6), server.url, connections=1, outcomes=outcomes, prefix="p")
    read = read_labels(path, datetime.now(UTC), {"3": 1, "5": 0})
    labels = {(label.prediction_id, label.request_id): label.label for label in read}
    assert labels == {("own", "p-3-0"): 1.0, ("own", "p-5-0"): 0.0}
    with path.open() as file:
        assert next(csv.reader(file)) == ["prediction_id", "request_id", "label", "observed_at"]


def test_progress_is_told_every_second(server: Any) -> None:
    seen: list[Report] = []
    go(Rows(2_300), server.url, on_progress=seen.append)
    assert 1 <= len(seen) <= 2
    assert all(0 < earlier.sent < later.sent <= 2_300 for earlier, later in pairwise(seen))


def test_fallbacks_are_counted_and_those_of_the_router_are_its_own(server: Any) -> None:
    server.answer = b"HTTP/1.1 200 OK\r\nx-serinus-fallback: true\r\ncontent-length: 2\r\n\r\n{}"
    report = go(Rows(5), server.url)
    assert (report.answered, report.fallbacks, dict(report.releases)) == (5, 5, {"router": 5})
    assert report.as_dict()["fallbacks"] == 5
    assert "fallbacks  5" in report.text()


def test_an_error_of_the_source_ends_it_in_words(server: Any) -> None:
    class Broken:
        def chunks(self) -> Iterator[Chunk]:
            yield Chunk(pl.DataFrame({"x": [1.0] * 50}))
            raise InvalidInput("rows.csv: cannot be read.")

    with pytest.raises(InvalidInput, match=r"rows\.csv"):
        go(Broken(), server.url)


def test_an_empty_source_is_an_empty_report(server: Any) -> None:
    report = go(Rows(0), server.url)
    assert (report.sent, report.seconds, report.latency_ms) == (0, 0.0, {})
    assert "0 requests" in report.text()


@pytest.mark.parametrize(
    "wrong",
    [{"rate": 0}, {"rate": float("nan")}, {"connections": 0}, {"protocol": "grpc"}, {"api_key": "a\r\nb"}],
)
def test_what_cannot_be_meant_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        go(Rows(1), "http://127.0.0.1:1", **wrong)


@pytest.mark.parametrize("url", ["https://127.0.0.1:1", "127.0.0.1:1", "http://"])
def test_an_address_of_another_form_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="is not an address such as"):
        go(Rows(1), url)
