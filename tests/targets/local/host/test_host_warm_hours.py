"""Releases that are kept up at certain hours: which hours those are, and that a host keeps to them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from serinus.core.placement import PlacementState
from serinus.core.release import Scale, WarmHours
from serinus.targets.local.host.limits import Limits
from serinus.targets.local.host.scale_to_zero import LEAD, to_activate, to_be_warm
from serinus.targets.local.host.state_files import StateFiles

SOON = ("--idle", "0.3", "--young", "0", "--busiest", "0", "--survey", "0.1")
SECOND = timedelta(seconds=1)


def hours(begins, ends, days=range(7), timezone="UTC"):
    """`hours("07:30", "22:00")`; beyond "24:00" they end on the next day."""
    first, last = [int(hour) * 60 + int(minute) for hour, minute in (text.split(":") for text in (begins, ends))]
    return (WarmHours(first, last, days=tuple(days), timezone=timezone),)


def at(text, timezone="UTC", fold=0):
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(timezone), fold=fold).astimezone(UTC)


def bounds(of, start, end):
    """The instants between `start` and `end` at which it gets warm and ceases to be, to the minute: the first is free
    of the lead."""
    minutes = [start + timedelta(minutes=n) for n in range((end - start) // timedelta(minutes=1))]
    warm = [to_be_warm(of, minute) for minute in minutes]
    changes = [minute for minute, before, after in zip(minutes[1:], warm, warm[1:], strict=False) if before != after]
    return [minute + LEAD if n % 2 == 0 else minute for n, minute in enumerate(changes)]


# --- which hours ------------------------------------------------------------------------------------------


def test_without_hours_no_instant_is_warm():
    assert not to_be_warm((), at("2026-03-02T12:00"))


def test_hours_include_their_beginning_and_a_minute_before_it_and_not_their_end():
    office = hours("07:30", "22:00")
    begins, ends = at("2026-03-02T07:30"), at("2026-03-02T22:00")
    assert not to_be_warm(office, begins - LEAD - SECOND)
    assert to_be_warm(office, begins - LEAD)
    assert to_be_warm(office, begins)
    assert to_be_warm(office, ends - SECOND)
    assert not to_be_warm(office, ends)


def test_one_of_several_is_enough():
    twice = hours("07:00", "09:00") + hours("17:00", "19:00")
    start = at("2026-03-02T00:00")
    clocks = [f"{instant:%H:%M}" for instant in bounds(twice, start, start + timedelta(days=1))]
    assert clocks == ["07:00", "09:00", "17:00", "19:00"]


@pytest.mark.parametrize(
    ("timezone", "begins", "ends"),
    [
        ("UTC", "07:30", "22:00"),
        ("Europe/Berlin", "06:30", "21:00"),
        ("America/New_York", "12:30", "03:00"),
        ("Asia/Kolkata", "02:00", "16:30"),
        ("Australia/Sydney", "20:30", "11:00"),
    ],
)
def test_the_clocks_of_the_place_count(timezone, begins, ends):
    start = at("2026-01-14T00:00", timezone)
    found = bounds(hours("07:30", "22:00", timezone=timezone), start, start + timedelta(days=1))
    assert [f"{instant:%H:%M}" for instant in found] == [begins, ends]


def test_the_days_are_those_of_the_place():
    """A Monday morning in Auckland is a Sunday evening in Greenwich."""
    monday = hours("08:00", "09:00", days=[0], timezone="Pacific/Auckland")
    assert to_be_warm(monday, at("2026-03-01T19:30"))
    assert not to_be_warm(monday, at("2026-03-02T19:30"))


def test_hours_over_midnight_belong_to_the_day_on_which_they_begin():
    friday_night = hours("22:00", "30:00", days=[4])
    assert to_be_warm(friday_night, at("2026-03-06T23:00"))
    assert to_be_warm(friday_night, at("2026-03-07T05:59"))
    assert not to_be_warm(friday_night, at("2026-03-07T06:00"))
    assert not to_be_warm(friday_night, at("2026-03-06T05:00"))
    assert not to_be_warm(friday_night, at("2026-03-07T23:00"))


def test_the_lead_of_hours_that_begin_at_midnight_is_on_the_day_before():
    monday = hours("00:00", "06:00", days=[0])
    assert to_be_warm(monday, at("2026-03-01T23:59:30"))
    assert not to_be_warm(monday, at("2026-03-01T23:58:30"))


@pytest.mark.parametrize("day", ["2026-03-29", "2026-07-01", "2026-10-25"])
def test_whole_days_leave_no_gap_also_where_the_clocks_are_changed(day):
    always = hours("00:00", "24:00", timezone="Europe/Berlin")
    start = at(f"{day}T00:00", "Europe/Berlin") - timedelta(hours=2)
    assert bounds(always, start, start + timedelta(hours=30)) == []
    assert to_be_warm(always, start)


@pytest.mark.parametrize(
    ("day", "begins", "ends"),
    [
        ("2026-03-28", "06:30", "21:00"),  # the day before the clocks go forward, and the day on which they do
        ("2026-03-29", "05:30", "20:00"),
        ("2026-10-24", "05:30", "20:00"),
        ("2026-10-25", "06:30", "21:00"),
    ],
)
def test_hours_move_with_daylight_saving(day, begins, ends):
    start = at(f"{day}T04:00")
    found = bounds(hours("07:30", "22:00", timezone="Europe/Berlin"), start, start + timedelta(hours=19))
    assert [f"{instant:%H:%M}" for instant in found] == [begins, ends]


def test_an_hour_that_comes_twice_is_warm_both_times_and_in_between():
    early = hours("02:30", "02:45", timezone="Europe/Berlin")
    start = at("2026-10-25T00:00", "Europe/Berlin")
    first, last = bounds(early, start, start + timedelta(hours=8))
    assert first == at("2026-10-25T02:30", "Europe/Berlin", fold=0)
    assert last == at("2026-10-25T02:45", "Europe/Berlin", fold=1)


def test_an_hour_that_is_skipped_is_not_lost():
    """From 02:15 to 02:45 on a day that has neither: both readings of each, before the change and after it, count."""
    early = hours("02:15", "02:45", timezone="Europe/Berlin")
    start = at("2026-03-29T00:00", "Europe/Berlin")
    assert bounds(early, start, start + timedelta(hours=8)) == [at("2026-03-29T00:15"), at("2026-03-29T01:45")]


def test_a_few_are_activated_at_a_time_the_most_asked_for_first():
    due = {"seldom": 1.0, "never": 0.0, "often": 9.0, "at times": 4.0, "now and then": 2.0}
    assert to_activate(due, Limits(cores=2)) == ["often", "at times", "now and then", "seldom"]
    assert to_activate({}, Limits(cores=2)) == []


# --- a host that keeps to them ----------------------------------------------------------------------------


@pytest.fixture
def idling(hosted):
    """A host whose releases are soon scaled to zero."""
    hosted.start(*SOON)
    return hosted


def in_hours(begin, end):
    """The scale of a release with hours that lie so many from now; the minute that has begun is included."""
    now = datetime.now(UTC)
    first = now + timedelta(hours=begin)
    minutes = first.hour * 60 + first.minute
    window = WarmHours(minutes, minutes + (end - begin) * 60, days=(first.weekday(),))
    return Scale(warm_hours=(window,))


def test_a_release_is_up_at_its_hours_though_nobody_asks_and_at_others_at_zero(idling):
    at_its_hours = idling.placed(scale=in_hours(-1, 3))
    later = idling.placed("later-1-bbbbbb", scale=in_hours(2, 3))
    over = idling.placed("over-1-cccccc", scale=in_hours(-3, -1))
    for other in (later, over):
        idling.until(other.release, PlacementState.SCALED_TO_ZERO)
    still = idling.target.observe()[at_its_hours.release]
    assert (still.state, still.pid) == (PlacementState.READY, at_its_hours.pid)


def test_a_time_zone_that_the_machine_has_lost_keeps_its_release_up_and_the_others_at_zero(idling):
    lost = idling.placed(scale=Scale(warm_hours=hours("07:30", "22:00", timezone="Nowhere/Atlantis")))
    other = idling.placed("other-1-bbbbbb")
    idling.until(other.release, PlacementState.SCALED_TO_ZERO)
    assert idling.target.observe()[lost.release].pid == lost.pid
    assert f"{lost.release} is kept up" in (idling.home.logs / "host.log").read_text()


def test_scarce_memory_scales_no_release_to_zero_at_its_hours(hosted):
    hosted.start("--memory", "1", "--survey", "0.1")
    at_its_hours, other = hosted.placed(scale=in_hours(-1, 3)), hosted.placed("other-1-bbbbbb")
    hosted.until(other.release, PlacementState.SCALED_TO_ZERO)
    assert hosted.target.observe()[at_its_hours.release].pid == at_its_hours.pid


def test_what_is_at_zero_when_its_hours_come_is_activated_without_being_asked(idling):
    """The hours come while there is no host: so nobody has to wait for them."""
    name = idling.placed(scale=in_hours(2, 3)).release
    other = idling.placed("other-1-bbbbbb").release
    for one in (name, other):
        idling.until(one, PlacementState.SCALED_TO_ZERO)
    idling.stop()
    files = StateFiles(idling.home)
    files.keep(files.releases()[name], in_hours(-1, 3))
    idling.start(*SOON)
    up = idling.until(name, PlacementState.READY)
    assert idling.ask(up).body["pid"] == up.pid
    assert idling.target.observe()[other].state is PlacementState.SCALED_TO_ZERO
    assert f"{name} is activated for its hours" in (idling.home.logs / "host.log").read_text()
