"""What can happen to a release in the host: the table alone, in virtual time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serinus.core.disturbance import Cause
from serinus.core.placement import PlacementState
from serinus.targets.local.host import release_status as r
from serinus.targets.local.host.limits import Limits
from serinus.targets.local.host.release_status import DELAYED, LOADING, State, shown
from serinus.targets.local.host.release_transitions import TRANSITIONS, advance, placed

LIMITS = Limits(first_delay=0.1, longest_delay=30.0, healthy=60.0)


@dataclass
class Release:
    """A release and the time; what the table asked for last."""

    status: r.Status
    actions: Sequence[r.Action] = ()
    now: float = 0.0
    names: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, **chosen: Any) -> Release:
        status, actions = placed(0.0, **chosen)
        return cls(status, tuple(actions))

    def tell(self, *events: r.Event) -> Sequence[r.Action]:
        """What the last one brought about."""
        for event in events:
            step = advance(self.status, event, self.now, LIMITS)
            self.actions = ()
            if step is not None:
                name, self.status, actions = step
                self.actions = tuple(actions)
                self.names.append(name)
        return self.actions


def ready(worker: int = 1, **chosen: Any) -> Release:
    release = Release.of(**chosen)
    release.tell(r.Started(worker, release.status.long), r.Ready(worker))
    assert release.status.state is State.READY
    return release


def with_helper(release: Release, worker: int, long: bool = False) -> Release:
    release.tell(r.ScaleTo(2), r.HelperStarted(worker, long), r.Ready(worker))
    assert worker in release.status.helpers
    return release


# --- how it begins ----------------------------------------------------------------------------------------


def test_a_new_release_has_a_socket_before_its_first_worker_is_started_for_nobody_in_particular():
    release = Release.of()
    assert release.actions == (r.Publish(), r.StartMain(None, urgent=False))
    assert shown(release.status) == (PlacementState.STARTING, None, "", 0)


def test_the_socket_of_an_earlier_host_is_replaced_only_when_a_new_worker_is_ready():
    release = Release.of(previous=7, previous_ready=True, cause=Cause.RESTART)
    assert release.actions == (r.StartMain(Cause.RESTART),)
    assert shown(release.status) == (PlacementState.READY, 7, "answered by an earlier host's worker", 1)
    release.tell(r.Started(8, False), r.Ready(8))
    assert release.actions == (r.NoteReady(8, main=True), r.Publish(), r.StopWorker(7))
    assert shown(release.status) == (PlacementState.READY, 8, "", 1)


def test_a_worker_that_listens_on_the_same_socket_may_drain():
    release = Release.of(previous=7, previous_ready=True, inherited=True)
    release.tell(r.Started(8, False), r.Ready(8))
    assert release.actions == (r.NoteReady(8, main=True), r.Publish(), r.Drain(7))
    assert release.tell(r.LeftBehind(6)) == (r.Drain(6),)
    assert release.status.draining == {6, 7}


def test_callers_wait_at_the_new_socket_where_the_earlier_worker_ends_first():
    release = Release.of(previous=7, previous_ready=True)
    assert release.tell(r.Exited(7)) == (r.Publish(), r.Forget(7))
    assert shown(release.status).state is PlacementState.STARTING


# --- scale to zero ----------------------------------------------------------------------------------------


def test_a_release_that_is_scaled_to_zero_is_activated_by_the_first_caller_alone():
    release = ready()
    assert release.tell(r.ScaleToZero()) == (r.Drain(1), r.AwaitCaller())
    assert shown(release.status) == (PlacementState.SCALED_TO_ZERO, None, "", 0)
    assert release.tell(r.Called()) == (r.IgnoreCallers(), r.StartMain(Cause.ACTIVATION, urgent=True))
    assert shown(release.status).state is PlacementState.SCALED_TO_ZERO, "traffic may still be sent to it"
    assert release.tell(r.Called()) == ()
    release.tell(r.Started(2, False), r.Ready(2))
    assert shown(release.status) == (PlacementState.READY, 2, "", 1)


def test_every_worker_goes_when_a_release_is_scaled_to_zero():
    release = with_helper(ready(), 2)
    assert release.tell(r.ScaleToZero()) == (r.Drain(1), r.Drain(2), r.AwaitCaller())
    release.tell(r.Exited(1), r.Exited(2))
    assert release.status.draining == frozenset()


def test_what_does_not_answer_yet_is_not_scaled_to_zero():
    release = Release.of()
    assert release.tell(r.ScaleToZero(), r.Started(1, False), r.ScaleToZero(), r.Replace()) == ()


def test_a_replacement_is_the_platforms_doing_and_callers_wait_for_it():
    release = ready()
    assert release.tell(r.Replace()) == (r.Drain(1), r.StartMain(Cause.REPLACEMENT, urgent=True))
    assert shown(release.status).state is PlacementState.SCALED_TO_ZERO


# --- workers that end -------------------------------------------------------------------------------------


def test_a_worker_that_ends_while_it_serves_is_started_again_after_a_delay_while_callers_wait():
    release = ready()
    assert release.tell(r.Exited(1, "killed")) == (r.Forget(1), r.Delay(0.1))
    assert shown(release.status) == (PlacementState.FAILED, None, "killed", 0)
    assert release.tell(r.DelayOver()) == (r.EndRefusal(), r.StartMain(None, urgent=False))
    assert (shown(release.status).state, release.status.restarts) == (PlacementState.STARTING, 1)


def test_callers_of_what_never_came_up_are_refused_and_it_stays_failed_until_it_does():
    release = Release.of()
    assert release.tell(r.Started(1, False), r.NotReady(1, "no xgboost", False)) == (
        r.Forget(1),
        r.Refuse(0.1),
        r.Delay(0.1),
    )
    release.tell(r.DelayOver())
    assert shown(release.status) == (PlacementState.FAILED, None, "no xgboost", 0)
    assert release.tell(r.NotReady(None, "no python", False)) == (r.Refuse(0.2), r.Delay(0.2))
    release.tell(r.DelayOver(), r.Started(2, False), r.Ready(2, "slow disk"))
    assert shown(release.status) == (PlacementState.READY, 2, "slow disk", 1)


def test_the_delay_doubles_up_to_the_longest_and_begins_anew_after_a_healthy_worker():
    release = ready()
    delays = []
    for worker in range(2, 14):
        (delay,) = [action.seconds for action in release.tell(r.Exited(worker - 1)) if isinstance(action, r.Delay)]
        delays.append(delay)
        release.tell(r.DelayOver(), r.Started(worker, False), r.Ready(worker))
    assert delays == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30, 30])
    release.now += 59.9
    assert release.tell(r.Exited(13)) == (r.Forget(13), r.Delay(30.0))
    release.tell(r.DelayOver(), r.Started(13, False), r.Ready(13))
    release.now += 60
    assert release.tell(r.Exited(13)) == (r.Forget(13), r.Delay(0.0))
    release.tell(r.DelayOver(), r.Started(14, False), r.Ready(14))
    assert release.tell(r.Exited(14)) == (r.Forget(14), r.Delay(0.1))


def test_nobody_is_refused_while_a_worker_of_an_earlier_host_answers_and_all_are_once_it_has_gone():
    """It may listen on the same socket: a refusal would take its callers away."""
    release = Release.of(previous=7, previous_ready=True, inherited=True)
    assert release.tell(r.Started(8, False), r.NotReady(8, "no xgboost", False)) == (r.Forget(8), r.Delay(0.1))
    reason = "answered by an earlier host's worker; a new one no xgboost"
    assert shown(release.status) == (PlacementState.READY, 7, reason, 1)
    release.now = 0.04
    assert release.tell(r.Exited(7)) == (r.Publish(), r.Forget(7), r.Refuse(pytest.approx(0.06)))


# --- another scale ----------------------------------------------------------------------------------------


def test_the_main_worker_answers_until_the_one_in_its_place_is_ready_which_is_then_the_main_one():
    release = ready()
    release.now = 30.0
    assert release.tell(r.Renew(1)) == (r.StartHelper(),)
    assert release.tell(r.Renew(1)) == (), "one at a time"
    release.tell(r.HelperStarted(2, False))
    assert shown(release.status) == (PlacementState.READY, 1, "", 1)
    assert release.tell(r.Ready(2, "starts slowly")) == (r.NoteReady(2, main=True), r.Drain(1))
    assert shown(release.status) == (PlacementState.READY, 2, "starts slowly", 1)
    assert (release.status.since, release.status.helpers, release.status.draining) == (30.0, (), {1})
    assert release.tell(r.Exited(2, "killed")) == (r.Forget(2), r.Delay(0.1)), "it is the main one"


def test_a_helper_makes_room_for_another():
    release = with_helper(ready(), 2)
    release.tell(r.Renew(2), r.HelperStarted(3, False))
    assert release.tell(r.Ready(3)) == (r.NoteReady(3, main=False), r.Drain(2))
    assert (release.status.main, release.status.helpers) == (1, (3,))


def test_where_the_one_in_its_place_does_not_come_up_it_stays_and_may_be_renewed_again():
    release = ready()
    release.tell(r.Renew(1), r.HelperNotStarted())
    assert release.tell(r.Renew(1)) == (r.StartHelper(),)
    release.tell(r.HelperStarted(2, False), r.Exited(2, "no memory"))
    assert shown(release.status) == (PlacementState.READY, 1, "", 1)
    assert release.tell(r.Renew(1)) == (r.StartHelper(),)


def test_one_that_ends_before_another_has_its_place_is_started_again_as_any():
    release = ready()
    release.tell(r.Renew(1), r.HelperStarted(2, False))
    assert r.Delay(0.1) in release.tell(r.Exited(1, "killed"))
    release.tell(r.Ready(2))
    assert shown(release.status) == (PlacementState.READY, 2, "answered by its other workers; one killed", 1)
    release.tell(r.DelayOver(), r.Started(3, False), r.Ready(3))
    assert release.status.answering == [3, 2]


def test_only_a_worker_that_answers_is_renewed():
    release = Release.of()
    release.tell(r.Started(1, False))
    assert release.tell(r.Renew(1)) == ()
    assert ready().tell(r.Renew(9)) == ()


# --- the long way -----------------------------------------------------------------------------------------


def test_a_distrusted_worker_answers_until_one_that_goes_the_long_way_is_ready():
    release = with_helper(ready(), 2)
    assert release.tell(r.Distrust()) == (r.StartMain(Cause.REPLACEMENT, urgent=True),)
    assert shown(release.status) == (PlacementState.READY, 1, "answered by a shorter way", 1)
    release.tell(r.Started(3, True), r.Ready(3))
    assert release.actions == (r.NoteReady(3, main=True), r.Publish(), r.StopWorker(1), r.StopWorker(2))
    assert shown(release.status) == (PlacementState.READY, 3, "", 1)
    assert release.tell(r.Distrust()) == ()


def test_workers_that_drain_are_stopped_when_the_release_is_distrusted():
    release = ready()
    release.tell(r.ScaleToZero())
    assert release.tell(r.Distrust()) == (r.StopWorker(1),)
    assert release.status.draining == frozenset(), "one that is stopped is not told again"
    assert release.tell(r.Called()) == (r.IgnoreCallers(), r.StartMain(Cause.REPLACEMENT, urgent=True))


def test_one_that_is_distrusted_while_it_loads_answers_until_the_next_one_is_ready():
    release = Release.of()
    release.tell(r.Started(1, False), r.Distrust(), r.Ready(1))
    assert release.actions == (
        r.NoteReady(1, main=True),
        r.Publish(),
        r.StartMain(Cause.REPLACEMENT, urgent=True),
    )
    assert shown(release.status).pid == 1


def test_one_that_fails_on_a_way_that_is_left_is_followed_at_once_and_is_no_failure():
    release = Release.of()
    release.tell(r.Started(1, False), r.Distrust(), r.NotReady(1, "damaged", False))
    assert release.actions == (r.Forget(1), r.StartMain(Cause.REPLACEMENT, urgent=False))
    assert (release.status.failures, release.status.restarts, shown(release.status).reason) == (0, 0, "")


def test_a_distrusted_worker_that_ends_too_early_leaves_its_callers_waiting_and_nothing_looks_ready():
    release = ready()
    release.tell(r.Distrust())
    assert release.tell(r.Exited(1)) == (r.Forget(1),)
    assert shown(release.status) == (PlacementState.STARTING, None, "", 0)


def test_a_cause_excuses_one_start_alone():
    release = ready()
    release.tell(r.Distrust(), r.Started(2, True), r.NotReady(2, "damaged", True))
    assert release.tell(r.DelayOver()) == (r.EndRefusal(), r.StartMain(None, urgent=True))


# --- further workers --------------------------------------------------------------------------------------


def test_one_helper_is_asked_for_at_a_time():
    release = ready()
    assert release.tell(r.ScaleTo(3)) == (r.StartHelper(),)
    assert release.tell(r.ScaleTo(3)) == ()
    release.tell(r.HelperStarted(2, False))
    assert release.tell(r.ScaleTo(3)) == (r.StartHelper(),)
    release.tell(r.HelperNotStarted())
    assert release.status.helpers_asked == 0
    assert release.tell(r.ScaleTo(2)) == ()


def test_callers_of_the_others_are_sent_to_a_helper_that_is_ready():
    release = ready()
    release.tell(r.ScaleTo(2), r.HelperStarted(2, False))
    assert release.tell(r.Ready(2)) == (r.NoteReady(2, main=False), r.Shed(1))
    assert shown(release.status).workers == 2
    assert release.tell(r.ScaleTo(1)) == (r.Drain(2),)
    assert release.status.draining == {2}


def test_a_helper_answers_while_the_main_worker_is_started_again():
    release = with_helper(ready(), 2)
    release.tell(r.Exited(1, "killed"))
    assert shown(release.status) == (PlacementState.READY, 2, "answered by its other workers; one killed", 1)
    release.tell(r.DelayOver(), r.Started(3, False))
    assert r.Refuse not in map(type, release.tell(r.NotReady(3, "no room", False)))


def test_a_helper_that_comes_when_it_is_not_wanted_any_more_goes():
    release = ready()
    release.tell(r.ScaleTo(2), r.ScaleToZero())
    assert release.tell(r.HelperStarted(2, False)) == (r.Drain(2),)


def test_a_helper_that_goes_a_way_that_is_left_goes_and_one_that_loads_meanwhile_answers_for_a_while():
    release = ready()
    release.tell(r.ScaleTo(2), r.HelperStarted(2, False), r.Distrust(), r.Exited(1))
    assert release.tell(r.Ready(2)) == (r.NoteReady(2, main=False),)
    assert shown(release.status).pid == 2
    release.tell(r.Started(3, True), r.ScaleTo(2))
    assert release.tell(r.HelperStarted(4, False)) == (r.Drain(4),)


# --- the end ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "actions"),
    [
        ((), (r.CancelStart(),)),
        ((r.Started(1, False), r.Ready(1)), ()),
        ((r.Started(1, False), r.Ready(1), r.ScaleToZero()), (r.IgnoreCallers(),)),
        ((r.NotReady(None, "no python", False),), (r.EndDelay(), r.EndRefusal())),
    ],
)
def test_a_release_that_is_halted_starts_nothing_any_more(before, actions):
    release = Release.of()
    release.tell(*before)
    assert release.tell(r.Halt()) == actions
    assert release.tell(r.Called(), r.DelayOver(), r.Distrust(), r.ScaleTo(2), r.Halt()) == ()


def test_the_socket_is_gone_before_the_workers_are_stopped():
    release = with_helper(ready(previous=7, inherited=True), 2)
    release.tell(r.Halt())
    stop = release.tell(r.Stop())
    assert stop == (r.Withdraw(), r.StopWorker(1), r.StopWorker(2), r.StopWorker(7))
    assert release.tell(r.HelperStarted(4, False)) == (r.StopWorker(4),)


def test_a_fault_of_the_host_does_not_look_like_a_release_that_is_starting():
    release = Release.of()
    release.tell(r.Fault("the host failed"))
    assert shown(release.status) == (PlacementState.FAILED, None, "the host failed", 0)


# --- whatever happens in whatever order -------------------------------------------------------------------


@dataclass
class Driver:
    """Does what the table asks for, of processes that are only numbers, and knows what may happen next."""

    release: Release
    processes: dict[int, bool] = field(default_factory=dict)
    """Those that have not ended, and whether they go the long way."""
    told_ready: set[int] = field(default_factory=set)
    leaving: set[int] = field(default_factory=set)
    """Told to drain or to stop."""
    published: bool = False
    watching: bool = False
    starting: bool = False
    loading: int | None = None
    helpers: list[int | None] = field(default_factory=list)
    """Being started (None) or loading."""
    delayed: bool = False
    refusing: bool = False
    last: int = 10

    def do(self, action: r.Action) -> None:
        match action:
            case r.Publish():
                self.published = True
            case r.Withdraw():
                self.published = False
            case r.AwaitCaller():
                assert not self.watching
                self.watching = True
            case r.IgnoreCallers():
                self.watching = False
            case r.StartMain():
                assert not self.starting, "two main workers are started at a time"
                self.starting, self.loading = True, None
            case r.CancelStart():
                self.starting = False
            case r.StartHelper():
                self.helpers.append(None)
            case r.NoteReady(worker, _):
                assert worker in self.processes
            case r.Drain(worker) | r.StopWorker(worker):
                self.leaving.add(worker)
            case r.Delay(seconds):
                assert not self.delayed
                assert 0 <= seconds <= LIMITS.longest_delay
                self.delayed = True
            case r.EndDelay():
                self.delayed = False
            case r.Refuse(seconds):
                assert seconds <= LIMITS.longest_delay
                self.refusing = True
            case r.EndRefusal():
                self.refusing = False

    def tell(self, event: r.Event) -> None:
        for action in self.release.tell(event):
            self.do(action)

    def new(self, long: bool) -> int:
        self.last += 1
        self.processes[self.last] = long
        return self.last

    def possible(self) -> Sequence[str]:
        found = ["call", "scale_to_zero", "replace", "renew", "distrust", "scale", "pass_time"]
        if self.starting:
            found += ["start"] * 2 if self.loading is None else ["get_ready", "get_ready", "fail"]
        found += ["help"] if self.helpers else []
        found += ["end_delay"] if self.delayed else []
        found += ["exit"] if self.told_ready else []
        return found

    def happen(self, what: str, number: int) -> None:
        getattr(self, f"_{what}")(number)

    def _call(self, _: int) -> None:
        self.tell(r.Called())

    def _scale_to_zero(self, _: int) -> None:
        self.tell(r.ScaleToZero())

    def _replace(self, _: int) -> None:
        self.tell(r.Replace())

    def _renew(self, number: int) -> None:
        answering = self.release.status.answering
        self.tell(r.Renew(answering[number % len(answering)] if answering else 0))

    def _distrust(self, _: int) -> None:
        self.tell(r.Distrust())

    def _scale(self, number: int) -> None:
        self.tell(r.ScaleTo(1 + number % 3))

    def _pass_time(self, number: int) -> None:
        self.release.now += number % 90

    def _start(self, number: int) -> None:
        if number % 4 == 0:
            self.starting = False
            self.tell(r.NotReady(None, "no python", self.release.status.long))
        else:
            self.loading = self.new(self.release.status.long)
            self.tell(r.Started(self.loading, self.processes[self.loading]))

    def _get_ready(self, _: int) -> None:
        worker, self.starting = self.loading, False
        assert worker is not None
        self.told_ready.add(worker)
        self.tell(r.Ready(worker))

    def _fail(self, _: int) -> None:
        worker, self.starting = self.loading, False
        assert worker is not None
        self.tell(r.NotReady(worker, "no xgboost", self.processes.pop(worker)))

    def _help(self, number: int) -> None:
        worker = self.helpers.pop(0)
        if worker is None and number % 4 == 0:
            self.tell(r.HelperNotStarted())
        elif worker is None:
            worker = self.new(self.release.status.long if number % 4 == 1 else False)
            self.helpers.append(worker)
            self.tell(r.HelperStarted(worker, self.processes[worker]))
        elif number % 4 == 0:
            del self.processes[worker]
            self.leaving.discard(worker)
            self.tell(r.Exited(worker, "no room"))
        else:
            self.told_ready.add(worker)
            self.tell(r.Ready(worker))

    def _end_delay(self, _: int) -> None:
        self.delayed = False
        self.tell(r.DelayOver())

    def _exit(self, number: int) -> None:
        worker = sorted(self.told_ready)[number % len(self.told_ready)]
        self.told_ready.discard(worker)
        self.leaving.discard(worker)
        del self.processes[worker]
        self.tell(r.Exited(worker, "killed"))

    def holds(self) -> None:
        """What is true at every moment."""
        status = self.release.status
        assert self.watching is (status.state is State.SCALED_TO_ZERO)
        assert self.starting is (status.state in LOADING)
        assert self.delayed is (status.state in DELAYED)
        assert self.published is (status.previous is None)
        main = () if status.main is None else (status.main,)
        previous = () if status.previous is None else (status.previous,)
        parts = [*main, *previous, *status.helpers, *status.shorter, *status.draining]
        assert len(parts) == len(set(parts)), "a worker has two parts"
        assert set(parts) <= self.processes.keys(), "a worker that has ended has a part"
        staying = self.processes.keys() - self.leaving
        assert staying == {*main, *previous, *status.helpers, *status.shorter}, "a worker is lost"
        if status.state is State.READY:
            assert status.main in status.ready
            assert not status.long or all(self.processes[one] for one in staying), "a shorter way still answers"
        answers = self.told_ready & staying
        assert (shown(status).state is PlacementState.READY) is bool(answers)
        assert not (self.refusing and answers), "callers are refused though a worker answers"
        assert not self.refusing or status.state is State.FAILED
        assert status.renewing is None or status.renewing in (*main, *status.helpers)
        assert status.renewal is None or (status.renewing is not None and status.renewal in status.helpers)
        assert status.renewing is None or status.helpers_asked or status.renewal is not None, "nothing comes of it"


CHOICES = st.lists(st.integers(0, 10_000), max_size=60)


@settings(max_examples=400, deadline=None)
@given(CHOICES, st.sampled_from(["new", "scaled-to-zero", "adopted", "inherited"]), st.booleans())
def test_no_order_of_events_loses_a_worker_or_starts_two_or_leaves_a_release_without_a_next_step(choices, begin, long):
    chosen: dict[str, Any] = {"long": long}
    if begin == "scaled-to-zero":
        chosen["scaled_to_zero"] = True
    elif begin != "new":
        chosen |= {"previous": 7, "previous_ready": True, "inherited": begin == "inherited"}
    driver = Driver(Release.of(**chosen))
    if "previous" in chosen:
        driver.processes[7] = False
        driver.told_ready.add(7)
    for action in driver.release.actions:
        driver.do(action)
    driver.holds()
    for number in choices:
        possible = driver.possible()
        answered = driver.told_ready - driver.leaving
        what = possible[number % len(possible)]
        driver.happen(what, number // len(possible))
        driver.holds()
        if answered and what not in ("scale_to_zero", "replace", "exit", "help"):
            assert driver.told_ready - driver.leaving, f"{what} left a release without a worker that answers"
    driver.tell(r.Halt())
    driver.tell(r.Stop())
    left = driver.processes.keys() - driver.leaving - {driver.loading} - set(driver.helpers)
    assert not left, "a worker is left"
    assert not any((driver.watching, driver.starting, driver.delayed, driver.refusing, driver.published))


def test_every_transition_can_happen():
    """A row that nothing reaches is a mistake in the table."""
    release = Release.of(previous=9, previous_ready=True)
    release.tell(r.Started(1, False), r.Distrust(), r.NotReady(1, "damaged", False), r.LeftBehind(8), r.Exited(9))
    release.tell(r.Started(2, True), r.NotReady(2, "no room", True), r.DelayOver(), r.Started(3, True), r.Ready(3))
    release.tell(r.ScaleTo(2), r.HelperNotStarted(), r.ScaleTo(2), r.HelperStarted(4, True), r.Ready(4), r.Exited(4))
    release.tell(r.ScaleTo(2), r.HelperStarted(5, True), r.ScaleTo(1), r.Exited(5), r.Replace(), r.Started(6, True))
    release.tell(r.Ready(6), r.Exited(6), r.DelayOver(), r.Started(7, True), r.Ready(7), r.ScaleToZero(), r.Called())
    release.tell(r.Started(8, True), r.Ready(8), r.Renew(8), r.HelperStarted(9, True), r.Ready(9))
    release.tell(r.Fault("the host failed"), r.Halt(), r.Stop(), r.HelperStarted(10, True))
    other = Release.of()
    other.tell(r.Started(1, False), r.Distrust(), r.Ready(1))
    assert {*release.names, *other.names} == {transition.name for transition in TRANSITIONS}
