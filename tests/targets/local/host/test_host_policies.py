"""Which releases are scaled to zero, and how many workers there are: the decisions alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from serinus.targets.local.host.autoscaler import Autoscaler
from serinus.targets.local.host.limits import Limits
from serinus.targets.local.host.scale_to_zero import ActivationTimes, Active, Crowd, Demand, to_scale_to_zero

LIMITS = Limits(idle=60.0, busiest=1, memory_bytes=1000)
IDLE = Active("idle", last=0.0, popularity=1.0, warm_until=0.0, keep_warm=False, busy=False, memory_bytes=100)
USED = Active("used", last=95.0, popularity=9.0, warm_until=0.0, keep_warm=False, busy=False, memory_bytes=100)


def at_zero(*up, used=200, limits=LIMITS, now=100.0):
    return list(to_scale_to_zero(up, now, used, limits))


def test_what_nobody_asks_for_is_scaled_to_zero_and_what_is_used_is_not():
    assert at_zero(IDLE, USED) == ["idle"]
    assert at_zero(IDLE, USED, now=59.0) == []


def test_the_busiest_stay_up_though_nobody_asks_for_them_now():
    assert at_zero(replace(USED, last=0.0), IDLE) == ["idle"]


def test_what_was_never_asked_for_is_not_among_the_busiest():
    assert at_zero(replace(IDLE, popularity=0.0)) == ["idle"]


@pytest.mark.parametrize("reason", [{"keep_warm": True}, {"busy": True}, {"warm_until": 101.0}, {"in_time": False}])
def test_what_is_to_be_warm_or_is_answering_or_is_new_stays_up(reason):
    assert at_zero(replace(IDLE, **reason), USED) == []


def test_beyond_the_memory_limit_the_least_recently_used_go_first_and_no_more_than_must():
    old, newer = replace(USED, release="old", last=90.0), replace(USED, release="newer", last=92.0)
    assert at_zero(USED, newer, old, used=1150) == ["old", "newer"]


def test_short_memory_scales_neither_to_zero_what_answers_nor_what_is_to_be_kept_warm():
    busy, warm = replace(USED, release="a", busy=True), replace(USED, release="b", keep_warm=True)
    assert at_zero(busy, warm, used=5000) == []


def test_short_memory_scales_to_zero_also_what_would_be_activated_late():
    assert at_zero(replace(IDLE, in_time=False), USED, used=1050) == ["idle"]


def test_an_activation_is_expected_to_take_as_long_as_the_slowest_of_late_times_how_busy_the_machine_is():
    activation_times = ActivationTimes()
    assert activation_times.expected(10.0, 0.0) == 0.0, "nothing is known yet"
    for seconds in (0.05, 0.08, 0.04):
        activation_times.note(seconds, 1.0, 0.0, forked=True)
    assert activation_times.expected(0.2, 1.0) == pytest.approx(0.08)
    assert activation_times.expected(4.0, 1.0) == pytest.approx(0.32)
    activation_times.note(0.6, 6.0, 2.0, forked=True)  # slow because the machine was
    assert activation_times.expected(1.0, 3.0) == pytest.approx(0.1)
    for _ in range(5):
        activation_times.note(0.05, 1.0, 4.0, forked=True)
    assert activation_times.expected(1.0, 5.0) == pytest.approx(0.05)


def test_one_slow_start_does_not_keep_a_release_up_for_ever():
    activation_times = ActivationTimes()
    activation_times.note(0.05, 1.0, 0.0, forked=True)
    activation_times.note(2.0, 1.0, 10.0, forked=True)
    assert activation_times.expected(1.0, 20.0) == 2.0
    assert activation_times.expected(1.0, 1000.0) == 0.05


def test_a_fresh_interpreter_says_what_an_activation_takes_only_until_one_is_forked():
    activation_times = ActivationTimes()
    activation_times.note(3.0, 1.0, 0.0, forked=False)
    assert activation_times.expected(1.0, 1.0) == 3.0
    activation_times.note(0.06, 1.0, 2.0, forked=True)
    activation_times.note(3.0, 1.0, 3.0, forked=False)
    assert activation_times.expected(1.0, 4.0) == pytest.approx(0.06)


def test_what_is_known_of_activations_outlives_the_host_until_one_is_measured():
    activation_times = ActivationTimes()
    activation_times.recall(0.0, 0.0)
    assert activation_times.expected(1.0, 0.0) == 0.0
    activation_times.recall(0.2, 0.0)
    assert activation_times.expected(1.0, 1.0) == 0.2
    activation_times.note(0.05, 1.0, 2.0, forked=True)
    activation_times.recall(9.0, 3.0)
    assert activation_times.expected(1.0, 4.0) == 0.05


def test_how_crowded_a_machine_is_follows_within_a_few_looks():
    crowd = Crowd(cores=2)
    for _ in range(4):
        crowd.look(8)
    assert 3.5 < crowd.now <= 4
    for _ in range(4):
        crowd.look(0)
    assert crowd.now < 0.3


def test_popularity_halves_in_a_quarter_of_an_hour_and_outlives_a_busy_moment():
    demand = Demand(last=0.0)
    demand.note(80, 0, now=0.0)
    assert demand.popularity_at(900.0) == pytest.approx(40.0)
    demand.note(0, 1, now=900.0)
    assert (demand.last, demand.popularity) == (900.0, pytest.approx(40.0))
    demand.note(0, 0, now=1000.0)
    assert demand.last == 900.0


def steps(scaler, workers, *looks):
    seen = []
    for share, waiting in looks:
        workers = scaler.step(workers, share, waiting)
        seen.append(workers)
    return seen


def test_a_busy_release_gets_one_more_worker_after_two_looks_and_never_more_than_the_most():
    assert steps(Autoscaler(2), 1, (0.9, 0), (0.9, 0), (1.9, 0), (1.9, 0), (1.9, 0)) == [1, 2, 2, 2, 2]


def test_one_busy_moment_brings_no_worker():
    assert steps(Autoscaler(2), 1, (0.9, 0), (0.1, 0), (0.9, 0), (0.1, 0)) == [1, 1, 1, 1]


def test_requests_that_wait_bring_a_worker_however_little_it_computes():
    assert steps(Autoscaler(4), 1, (0.1, 5), (0.1, 5)) == [1, 2]


def test_workers_that_are_expected_come_one_at_a_time_and_stay_without_work():
    scaler = Autoscaler(4)
    scaler.bound(4, 3)
    assert steps(scaler, 1, *[(0.1, 0)] * 3) == [2, 3, 3]
    assert steps(scaler, 3, *[(0.1, 0)] * 40) == [3] * 40
    scaler.bound(4, 0)
    assert steps(scaler, 3, *[(0.1, 0)] * 15)[-1] == 2


def test_no_more_are_expected_than_there_may_be_and_none_of_a_release_that_is_scaled_to_zero():
    scaler = Autoscaler(2)
    scaler.bound(2, 3)
    assert steps(scaler, 1, *[(0.1, 0)] * 3) == [2, 2, 2]
    assert steps(scaler, 0, (0.0, 0)) == [0]


def test_a_worker_goes_only_after_half_a_minute_of_little_work_and_what_lies_between_changes_nothing():
    assert steps(Autoscaler(2), 2, *[(0.4, 0)] * 14) == [2] * 14
    assert steps(Autoscaler(2), 2, *[(0.4, 0)] * 15)[-1] == 1
    assert steps(Autoscaler(2), 2, *[(0.7, 0)] * 40) == [2] * 40
