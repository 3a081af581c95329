"""A champion that begins to fail after its promotion is rolled back by itself, and the rollback fails no request."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from whole_load import wait_until
from whole_serinus import Serinus

MODEL = "watched"
SPEC = """
model: watched
serving: {timeout: 3s, compile: off, workers: 1}
gates: {latency_p99: 2s}
rollout:
  steps: [{traffic: 50%, requests: 500, for: 2s, at_most: 5m}]
watch:
  errors: {budget: 2%}
  fallbacks: {budget: 2%}
  missing: {budget: 2%}
  slow: {over: 1500ms}
  beta: 40%
"""


@pytest.mark.slow
@pytest.mark.timeout(420)
def test_a_champion_that_fails_after_its_promotion_is_rolled_back_by_itself(
    serinus: Serinus, register_code: Callable[..., str]
) -> None:
    first = register_code("degrades", data="first", model=MODEL)
    second = register_code("degrades", data="second", model=MODEL)
    before = serinus.deployed(f"{MODEL}@{first}", text=SPEC)
    assert before["status"]["phase"] == "promoted", before["status"]["reason"]
    with serinus.load(MODEL, 300.0) as load:
        wait_until(lambda: len(load.seen) > 300, 30, "steady load")
        promoted = serinus.deployed(f"{MODEL}@{second}", text=SPEC)
        assert promoted["status"]["phase"] == "promoted", promoted["status"]["reason"]
        releases = before["candidate"]["id"], promoted["candidate"]["id"]
        wait_until(lambda: serinus.model(MODEL)["watch"], 30, "the watch")
        assert load.in_words() == {}
        assert serinus.infer(MODEL, [{"amount": 424_242.0, "hour": 1.0}]).status_code == httpx.codes.OK
        wait_until(lambda: serinus.model(MODEL)["champion"]["release"] == releases[0], 240, "the rollback")
        back = len(load.seen)
        wait_until(lambda: len(load.seen) > back + 500, 30, "some seconds of the old champion")

    assert set(load.in_words()) == {"http 500"}  # its own failures, and no request that was refused, reset or late
    last = max(n for n, seen in enumerate(load.seen) if seen.release == releases[1])
    assert all(seen.good for seen in load.seen[last + 1 :])
    assert len(load.seen) - last > 300
    assert {seen.release for seen in load.failed} <= {releases[1]}

    degraded = [seen.at for seen in load.failed]
    print(f"\nrolled back {degraded[-1] - degraded[0]:.0f} s and {len(degraded):,} failures after the first one")
    rollback = serinus.ended(f"{MODEL}-r3")
    assert (rollback["kind"], rollback["actor"]["name"]) == ("rollback", "serinus-watch")
    assert "has degraded since its promotion: errors: " in rollback["why"]
    told = serinus.api.get(f"/v1/releases/{releases[1]}/explain").raise_for_status().json()["events"]
    assert [event["kind"] for event in told][-1] == "degraded"
    watch = wait_until(lambda: serinus.model(MODEL)["watch"], 30, "the watch of the former champion")
    assert "two releases in a row" in watch["summary"]
