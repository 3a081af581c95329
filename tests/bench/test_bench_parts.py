"""The parts of the bench that compute: what the load generator said, medians, goals, pages."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from bench import RESULTS, control, cpu, flame, instructions, openloop, outcomes, requests, results, ticks, wrk
from bench.chart import Bar, bars
from bench.data import POSITIVES, request_rows, transactions
from bench.goals import judge
from bench.processes import kind_of, pss_mb_by_kind
from bench.report import PAGE, goals_table, page, tables
from bench.results import Results, Row, Sample
from bench.soak import Account, growth

SUMMARY = (
    'Running 3s test\nbench-summary {"requests":3000,"us":3000000,"p50":812.0,"p99":2500.0,"p999":4000.0,'
    '"connect":0,"read":1,"write":0,"timeout":2,"status":27}\n'
)


def row(case: str, server: str, rps: float, connections: int = 8, p99: float = 1.0, **more: float) -> Row:
    figures = {"p50_ms": 0.5, "p99_ms": p99, "p999_ms": 2.0, "cpu_us": 70.0, "pss_mb": 20.0, "rss_mb": 30.0, **more}
    return Row(case, server, server.upper(), connections, rps, **figures, spread=(rps * 0.9, rps * 1.1), repeats=3)


@pytest.mark.long
def test_the_control_plane_is_measured_with_what_it_is_made_of() -> None:
    found = Results()
    control.control(found, models=6, in_flight=2, count=4, looked_at=3, rollouts=8)
    measured = found.facts["control"]
    assert 0 < measured["rest"]["mean_ms"] < measured["flight"]["mean_ms"]
    assert 0 < measured["status_ms"] < measured["page_ms"]
    assert goal(found, "the same with 50 canaries among them")[0] is False, "it was a smaller fleet"
    whole: dict[str, Any] = {"models": 1000, "in_flight": 50, "rollouts": 600, "load_before": 0.5}
    whole |= {"status_ms": 9.0, "page_ms": 99.0}
    whole |= {
        name: {"mean_ms": ms, "median_ms": 1.0, "most_ms": 9.0} for name, ms in (("rest", 4.0), ("flight", 101.0))
    }
    found.facts["control"] = {**measured, **whole}
    wanted = {"a tick of the engine, 1,000": True, "the same with 50 canaries": False, "the status with 600": True}
    assert {name: next(g.met for g in judge(found) if name in g.what) for name in wanted} == wanted


def test_an_import_of_outcomes_is_measured_with_what_it_is_made_of() -> None:
    found = Results()
    outcomes.outcomes(found, count=900)
    measured = found.facts["outcomes"]
    assert min(measured[name] for name in ("import_s", "read_cpu_s", "receive_cpu_s", "attach_cpu_s")) >= 0
    assert (measured["outcomes"], measured["predictions"]) == (900, 900)
    assert goal(found, "a million outcomes")[0] is False, "there were fewer"
    for seconds, met in ((29.0, True), (31.0, False)):
        found.facts["outcomes"] = {**measured, "outcomes": 1_000_000, "import_s": seconds}
        assert goal(found, "a million outcomes")[0] is met


def goal(found: Results, what: str) -> tuple[bool | None, str]:
    chosen = next(one for one in judge(found) if what in one.what)
    return chosen.met, chosen.measured


def test_what_wrk_says_is_read_and_failed_answers_are_no_throughput() -> None:
    found = wrk.parse(SUMMARY)
    assert (found.requests, found.seconds, found.failed) == (3000, 3.0, 30)
    assert found.rps == pytest.approx(990)
    assert (found.p50_ms, found.p99_ms, found.p999_ms) == (0.812, 2.5, 4.0)


@pytest.mark.parametrize("output", ["unable to connect", SUMMARY.replace("3000,", "0,", 1)])
def test_a_run_without_a_summary_or_an_answer_is_a_failure(output: str) -> None:
    with pytest.raises(wrk.LoadFailed):
        wrk.parse(output)


def test_the_script_holds_every_body_and_the_path() -> None:
    protocol = replace(requests.split("/invocations"), headers={"x-api-key": "k"}, entities=True)
    lua = wrk.script(protocol, [[1.5, None], [2.0, 'a"b']])
    assert '"/invocations"' in lua
    assert '["x-api-key"]="k", ["x-entity-id"]="card-1"' in lua
    assert lua.count("dataframe_split") == 2


def test_requests_are_whole_http_with_the_right_length() -> None:
    request = requests.instances("/predict").raw([[1.0, 2.0]])[0]
    head, _, body = request.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /predict HTTP/1.1\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert json.loads(body) == {"instances": [[1.0, 2.0]]}


def test_transactions_are_the_same_every_time_and_frauds_are_rare() -> None:
    (first, labels), (again, _) = transactions(20_000), transactions(20_000)
    assert first.equals(again)
    assert labels.mean() == pytest.approx(POSITIVES, rel=0.05)
    assert all(len(values) == 34 and None not in values for values in request_rows(strings=False))
    assert any(None in values for values in request_rows(strings=True))


def test_medians_and_spread_over_repetitions() -> None:
    samples = [Sample(rps, 1.0, 2.0, 3.0, 50.0, failed) for rps, failed in ((100, 0), (300, 2), (110, 0))]
    found = results.summary(samples)
    assert (found["rps"], found["spread"], found["repeats"], found["failed"]) == (110, (100, 300), 3, 2)
    assert found["turns"] == (100, 300, 110)


def test_results_come_back_from_their_file_as_they_were(tmp_path: Path) -> None:
    found = Results(rows=[row("xgboost", "serinus", 15_000)], done=["xgboost"], not_run={"wake": "why"})
    found.save(tmp_path / "results.json")
    assert results.load(tmp_path / "results.json") == found


def test_a_case_that_is_measured_anew_replaces_what_was_known_of_it() -> None:
    found = Results(rows=[row("xgboost", "a", 1), row("xgboost@half", "a", 1), row("pipeline", "a", 1)])
    found.not_run, found.done = {"xgboost/kserve": "why", "pipeline": "why"}, ["xgboost", "pipeline"]
    found.forget("xgboost")
    assert [one.case for one in found.rows] == ["pipeline"]
    assert (found.not_run, found.done) == ({"pipeline": "why"}, ["pipeline"])


@pytest.mark.parametrize(("ours", "met"), [(8_000, True), (7_999, False)])
def test_the_ratio_to_the_bare_fast_path_decides(ours: float, met: bool) -> None:
    found = Results(rows=[row("xgboost", "serinus", ours), row("xgboost", "envoy-bare", 10_000)])
    assert goal(found, "bare fast path")[0] is met


def test_a_ratio_compares_turn_with_turn_where_a_neighbour_slowed_some_down() -> None:
    quiet, busy = (12_000.0, 11_000.0, 10_000.0), (12_000.0, 5_000.0, 4_000.0)
    ours = replace(row("xgboost", "serinus", 4_500), turns=tuple(0.9 * rate for rate in busy))
    theirs = replace(row("xgboost", "envoy-bare", 5_000), turns=busy)
    assert results.ratio(ours, theirs) == pytest.approx(0.9)
    assert goal(Results(rows=[ours, theirs]), "bare fast path") == (True, "90% (4,500 : 5,000 requests/s)")
    assert results.ratio(ours, replace(theirs, turns=quiet)) == pytest.approx(4_500 / 11_000)
    assert results.ratio(ours, replace(theirs, turns=quiet[:2])) == pytest.approx(0.9)  # of the medians


def test_what_a_model_computes_itself_is_taken_off_both_sides() -> None:
    found = Results(rows=[row("pyfunc", "serinus", 5_000), row("pyfunc", "mlflow", 500)])
    found.facts["pyfunc"] = {"own_compute_us": 100}  # 200 - 100 against 2000 - 100
    assert goal(found, "custom Python") == (True, "19.0 x (1,900 : 100 us a request beside its own 100)")


def test_p99_is_compared_with_the_best_peer_and_never_with_a_bound() -> None:
    found = Results(rows=[row("xgboost", "serinus", 1, p99=1.0), row("xgboost", "kserve", 1, p99=5.0)])
    found.rows += [row("xgboost", "mlflow", 1, p99=200.0), row("xgboost", "nginx", 1, p99=0.1)]
    assert goal(found, "p99 at 8") == (True, "1.00 ms; the best peer, KSERVE: 5.00 ms")


def test_a_small_fleet_does_not_meet_the_goal_of_a_large_one() -> None:
    fact = {"models": 24, "environments": 8, "most_pss_mb": 900, "failed": 0, "asked": 10, "wrong": 0}
    assert goal(Results(facts={"fleet": fact}), "over 8 environments")[0] is False
    assert goal(Results(facts={"fleet": {**fact, "models": 200}}), "over 8 environments")[0] is True


@pytest.mark.parametrize(("beside", "failed", "met"), [(3.0, 0, True), (3.1, 0, False), (2.0, 1, False)])
def test_what_another_notices_of_an_overload_decides(beside: float, failed: int, met: bool) -> None:
    fact = {"alone_p99_ms": 2.0, "beside_p99_ms": beside, "rate": 300, "failed": failed, "busy_callers": 64}
    found = Results(facts={"bulkhead": {**fact, "busy_p50_ms": 600.0}})
    assert goal(found, "more than it can answer")[0] is met


def test_calls_come_at_their_rate_and_once_where_several_were_missed() -> None:
    async def counted() -> tuple[int, int]:
        calls = 0

        def call() -> None:
            nonlocal calls
            calls += 1

        with ticks.Ticks(0.0005, call):
            while calls < 100:
                await asyncio.sleep(0.001)
            seen = calls
            time.sleep(0.05)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        return seen, calls

    seen, after = asyncio.run(counted())
    assert seen <= after <= seen + 3


def test_what_did_not_run_says_why_and_is_neither_met_nor_missed() -> None:
    found = Results(rows=[row("xgboost", "serinus", 1)], not_run={"xgboost/kserve": "its environment cannot be built"})
    assert goal(found, "KServe") == (None, "its environment cannot be built")
    assert "not run" in goals_table(judge(found))
    assert "its environment cannot be built" in tables(found)


def test_the_page_is_the_words_with_their_places_filled() -> None:
    found = Results(rows=[row("xgboost", "serinus", 15_000)])
    text = page(found, "# P\n<!-- goals -->\n<!-- tables -->\n<!-- not_run -->\n<!-- machine -->\n<!-- memory -->")
    assert "<!--" not in text
    assert "| SERINUS | 8 | 15,000 |" in text
    assert "Not part of this run." in text


def test_the_page_says_of_what_the_memory_of_many_models_is_made() -> None:
    soak = Account(200, pss_mb=[5000.0], at_most_mb={"worker": 4100.0, "wiring control": 180.0})
    text = page(Results(facts={"soak": soak.facts()}), "<!-- memory -->")
    assert text.splitlines()[2:] == ["| worker | 4,100 |", "| wiring control | 180 |"]


def test_the_chart_is_well_formed_and_longer_bars_are_faster() -> None:
    found = [Bar("a & b", 100, 90, 120, "peer"), Bar("c", 10_000, 9_000, 12_000, "ours")]
    root = ElementTree.fromstring(bars("t < u", "s", found))
    widths = [float(one.get("width", "0")) for one in root.iter() if one.get("class") in ("peer", "ours")]
    assert widths[1] > 1.9 * widths[0]


def test_memory_that_grows_after_it_has_settled_is_seen() -> None:
    assert growth([10, 50, 100, 100, 100, 100, 100, 100]) == 1.0
    assert growth([100, 100, 100, 100, 120, 150, 190, 200]) > 1.5


@pytest.mark.parametrize(
    ("words", "output", "kind"),
    [
        (["-c", "{sleep} # from serinus_runtime.process.worker import main"], "release-a.log", "worker"),
        (["-c", "{sleep} # from serinus_runtime.process.zygote import main"], "release-a.log", "worker"),
        (["-c", "{sleep} # from serinus_runtime.process.zygote import main"], "zygote-a.log", "zygote"),
        (["-c", "{sleep} # from serinus_runtime.process.trial_zygote import main"], "a.log", "trial"),
        (["-c", "{sleep} # from serinus_runtime.trials.reference import main"], "a.log", "trial"),
        (["-P", "-m", "bench_sleeper", "control", "--home", "/x"], "a.log", "bench_sleeper control"),
        (["{directory}/bench_sleeper.py", "--home", "/x"], "a.log", "bench_sleeper.py"),
    ],
)
def test_a_process_is_known_for_what_it_is(words: list[str], output: str, kind: str, tmp_path: Path) -> None:
    sleep = "import time; print(flush=True); time.sleep(60)"
    (tmp_path / "bench_sleeper.py").write_text(sleep)
    command = [sys.executable, *(word.format(sleep=sleep, directory=tmp_path) for word in words)]
    with (tmp_path / output).open("wb") as out:
        process = subprocess.Popen(command, stdout=out, env={**os.environ, "PYTHONPATH": str(tmp_path)})
    try:
        until = time.monotonic() + 30
        while not (tmp_path / output).stat().st_size and time.monotonic() < until:
            time.sleep(0.01)
        assert kind_of(process.pid) == kind
        assert pss_mb_by_kind([process.pid]).keys() == {kind}
    finally:
        process.kill()
        process.wait()
    assert kind_of(process.pid) == ""


@pytest.mark.parametrize(
    ("wrong", "good"),
    [({}, True), ({"failed": {"503": 1}}, False), ({"wrong": 1}, False), ({"pss_mb": [1, 1, 1, 1, 2, 2, 2, 2]}, False)],
)
def test_a_soak_is_good_only_where_nothing_failed_was_wrong_or_grew(wrong: dict[str, Any], good: bool) -> None:
    account = Account(200, acts={"deploy": 3}, **wrong)
    found = account.facts()
    assert (found["good"], found["acts"]) == (good, {"deploy": 3})


def test_a_soak_of_many_models_is_a_goal_and_shows_that_they_fit() -> None:
    fine = Account(200, minutes=10, asked=1000, acts={"deploy": 3}, pss_mb=[4000.0] * 8)
    found = Results(facts={"soak": fine.facts()})
    assert goal(found, "soak")[0] is True
    assert goal(found, "over 8 environments")[0] is True
    assert "3.91 GiB at most (3.91 usually)" in goal(found, "over 8 environments")[1]
    more = replace(fine, pss_mb=[4000.0] * 7 + [6200.0])
    assert goal(Results(facts={"soak": more.facts()}), "over 8 environments")[0] is False
    for spoilt in ({"models": 20}, {"minutes": 1}, {"failed": {"503": 1}}, {"wrong": 1}):
        account = replace(fine, **spoilt)
        assert goal(Results(facts={"soak": account.facts()}), "soak")[0] is False


def test_latency_of_the_open_loop_counts_from_when_a_request_was_due(stalling_server: int) -> None:
    """The server sleeps 0.2 s before its first answer: the requests that were due meanwhile are late too."""
    request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    report = openloop.run(stalling_server, [openloop.Ask(request)], 100, 1.0, connections=1)
    assert report.failed == 0
    assert report.answered >= 90
    assert report.ms(0.9) > 50


def test_a_flame_graph_leaves_out_waiting_and_adds_the_rest_up() -> None:
    found = flame.tree(
        [
            "run (serving.py:10);epoll_pwait (libc.so.6) 900",
            "run (serving.py:10);score (a/application.py:7);0x1 (onnxruntime_pybind.so);0x2 (onnxruntime_pybind.so) 30",
            "main (worker.py:1);uv_run (core.c:1);run (serving.py:12);write (libc.so.6) 10",
        ]
    )
    assert found.samples == 40
    assert found.children["run serving.py"].children["score application.py"].children["ONNX Runtime"].samples == 30
    texts = [one.text for one in ElementTree.fromstring(flame.drawn(found)).iter() if one.tag.endswith("title")]
    assert "ONNX Runtime: 75.0%" in texts


def test_the_processor_time_of_a_request_is_a_median_of_turns_by_process():
    turns = {
        "before": [{"worker": 40.0, "envoy": 38.0, "all": 78.0}, {"worker": 44.0, "envoy": 30.0, "all": 74.0}],
        "after": [{"worker": 41.0, "envoy": 39.0, "trial": 5.0, "idle": 0.01, "all": 85.0}],
    }
    assert cpu.table(turns).splitlines() == [
        "| us a request | before | after |",
        "|---|---|---|",
        "| envoy | 34.0 (30.0) | 39.0 (39.0) |",
        "| trial | 0.0 (0.0) | 5.0 (5.0) |",
        "| worker | 42.0 (40.0) | 41.0 (41.0) |",
        "| all | 76.0 (74.0) | 85.0 (85.0) |",
    ]


def test_processor_time_is_that_of_all_threads_and_of_children_that_have_ended():
    busy = "import time\nwhile time.process_time() < 0.1: pass"
    code = f"import subprocess, sys; {busy.partition(chr(10))[0]}; subprocess.run([sys.executable, '-c', {busy!r}])"
    code += "\nimport threading\ndef work():\n    while time.thread_time() < 0.1: pass"
    code += "\nthreading.Thread(target=lambda: [work(), print(flush=True), sys.stdin.read()]).start()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        own, children = cpu.spent_us(process.pid)
        process.stdin.close()
    assert own >= 0.1e6
    assert children >= 0.09e6


def test_the_instructions_of_a_request_are_what_more_requests_take_beyond_the_start(monkeypatch, tmp_path):
    each = {"before": 200_000, "after": 206_000}
    monkeypatch.setattr(
        instructions, "counted", lambda runtime, _, requests: 900_000_000 + each[runtime.parts[-3]] * requests
    )
    checkouts = {name: tmp_path / name for name in each}
    models: dict[str, Any] = {"xgboost": None}
    assert instructions.table(checkouts, models) == [
        "| instructions a request | before | after |",
        "|---|---|---|",
        "| xgboost | 200,000 (+0.0%) | 206,000 (+3.0%) |",
    ]


def test_the_published_page_is_what_the_results_and_the_words_make() -> None:
    """Words that are written into the page alone are lost when it is written again."""
    words = (RESULTS.parent / "performance.md").read_text()
    assert PAGE.read_text() == page(results.load(RESULTS), words)
