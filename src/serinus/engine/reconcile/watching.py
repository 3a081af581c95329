"""The watch after promotion: reads the counts of live releases, asks the judge, and rolls back or reports."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from pydantic import TypeAdapter, ValidationError

from serinus import judge
from serinus import spec as specs
from serinus.core.errors import SerinusError, TemporaryError
from serinus.core.events import Event
from serinus.core.evidence import ArmCounts, Followed, HourCounts
from serinus.core.people import Access, Actor
from serinus.core.release import Release
from serinus.core.rollout import Kind, ModelState, Phase, Policy, Rollout
from serinus.delivery import champion_before, champions, rolled_back_from
from serinus.engine.steps.judging import SHARE_OF_TIMEOUT
from serinus.engine.world import World
from serinus.judge import Finding, Watching
from serinus.judge.watch import LOOK_SECONDS

log = logging.getLogger(__name__)

WATCH = Actor(name="serinus-watch", access=Access.DEPLOY, origin="engine")
"""The actor of rollbacks by the watch."""

HISTORY = 10_000
WEEKS = timedelta(weeks=5)
USUAL_HOURS, USUAL_BUT_LAST = timedelta(hours=26), 2
"""The period from which the usual rates of other models are taken: one day, without the last hours, in which the
trouble may have begun."""
A_MINUTE = timedelta(seconds=60)

RollBack = Callable[[str, str, str], str]
"""Rolls back (model, release to return to, reason), and returns the result in words. Raises SerinusError."""

_watching = TypeAdapter(Watching)


_PREFIX = "watch."


def key(model: str) -> str:
    """Returns the setting that holds the watch of a model."""
    return f"{_PREFIX}{model}"


def stored(world: World, model: str) -> Watching | None:
    """Returns the stored watch of the model, which may be of a former champion. None: there is none that this version
    can read."""
    return _read(model, world.store.setting(key(model)))


def all_stored(world: World) -> Mapping[str, Watching | None]:
    """Returns the stored watches by model."""
    found = world.store.settings(_PREFIX)
    return {name.removeprefix(_PREFIX): _read(name.removeprefix(_PREFIX), text) for name, text in found.items()}


def _read(model: str, text: str | None) -> Watching | None:
    if not text:
        return None
    try:
        return _watching.validate_json(text)
    except ValidationError:
        log.warning("the watch of %s was stored by another version and starts again", model)
        return None


class Watcher:
    """Watches live releases. It remembers the counts of the last minute and which watches are over, to spare the
    store."""

    def __init__(self, world: World, roll_back: RollBack) -> None:
        self._world = world
        self._roll_back = roll_back
        self._looked: datetime | None = None
        self._recent: deque[tuple[datetime, Mapping[str, ArmCounts]]] = deque()
        self._followed: dict[str, Followed] = {}
        self._over: dict[str, tuple[str, float]] = {}
        self._usual: dict[str, tuple[int, ArmCounts | None]] = {}
        self._troubles: Mapping[str, Mapping[str, bool]] | None = None
        """The troubles of this look, by model. None: they were not needed yet."""

    def due(self) -> bool:
        """Whether it is time for another look."""
        now = self._world.clock.now()
        return self._looked is None or now - self._looked >= timedelta(seconds=LOOK_SECONDS)

    def look(self, states: Collection[ModelState], rollouts: Mapping[str, Rollout]) -> Sequence[str]:
        """Looks at every live release. Returns in words what could not be done now."""
        now = self._looked = self._world.clock.now()
        counts = self._world.log.followed()
        self._troubles = None
        if counts is not None:
            self._remember(now, counts)
        trouble = []
        for state in states:
            try:
                self._look_at(state, rollouts.get(state.model), counts, states)
            except TemporaryError as error:
                trouble.append(f"{state.model}: {error}")
        return trouble

    def _remember(self, now: datetime, counts: Mapping[str, ArmCounts]) -> None:
        self._recent.append((now, counts))
        while len(self._recent) > 1 and now - self._recent[1][0] >= A_MINUTE:
            self._recent.popleft()

    def _look_at(
        self,
        state: ModelState,
        rollout: Rollout | None,
        counts: Mapping[str, ArmCounts] | None,
        states: Collection[ModelState],
    ) -> None:
        champion, began = state.champion, _seconds(state.since)
        if champion is None or self._over.get(state.model) == (champion.id, began):
            return
        watching = stored(self._world, state.model)
        if watching is None or (watching.release, watching.began) != (champion.id, began):
            if watching is not None and watching.decided and not watching.over:
                self._tell_late(state, watching)
            watching = self._begin(state, champion, watching)
        self._follow(state, champion, watching)
        now = self._world.clock.now()
        if watching.over or (now.timestamp() >= watching.until and not watching.decided):
            self._over[state.model] = champion.id, began
            return
        if rollout is not None and rollout.kind is Kind.ROLLBACK:
            return  # A rollback is in flight already.
        if watching.decided:
            self._act(state, watching)
        elif counts is not None and champion.id in counts:
            self._judge(state, watching, counts[champion.id], states)

    def _follow(self, state: ModelState, champion: Release, watching: Watching) -> None:
        wanted = Followed(champion.id, state.model, state.champion_threshold, watching.slow_ms)
        if self._followed.get(state.model) != wanted:
            self._world.log.follow(wanted)
            self._followed[state.model] = wanted

    # --- a watch begins -----------------------------------------------------------------------------------

    def _begin(self, state: ModelState, champion: Release, before: Watching | None) -> Watching:
        rollouts = self._world.store.rollouts(state.model, limit=HISTORY, promoted=True)
        promotion = next((r for r in rollouts if _made_live(r, champion)), None)
        spec = _spec_of(promotion, state.model)
        began = _seconds(state.since)
        back = promotion is not None and promotion.kind is Kind.ROLLBACK
        former = champion_before(champion.id, rollouts)
        slow_ms = _slow_limit(promotion, spec, champion, before)
        arms = self._steps(promotion)
        hours = self._hours(state, champion, rollouts, back=back)
        why_told = ""
        if back:
            why_told = (
                "it is the target of a rollback: where two releases in a row degrade, the cause lies outside of them"
            )
        elif former is None:
            why_told = "there is no former champion to roll back to"
        elif spec is not None and not specs.rolls_back(spec):
            why_told = "its spec says so (watch.on_degradation: tell)"
        watching = Watching(
            release=champion.id,
            rollout=promotion.id if promotion else "",
            began=began,
            until=began + (specs.watched_for(spec) if spec else 0.0),
            acts=not why_told,
            why_told=why_told,
            slow_ms=slow_ms,
            baseline=judge.baseline(
                _policy_of(promotion, spec),
                hours,
                *arms,
                slow_hours=before is None or before.slow_ms == slow_ms,
            ),
            at=self._world.clock.now().timestamp(),
        )
        self._save(state.model, watching)
        return watching

    def _steps(self, promotion: Rollout | None) -> tuple[ArmCounts | None, ArmCounts | None]:
        """Returns the counts of the champion and the canary from the steps of the rollout."""
        champion: list[ArmCounts] = []
        canary: list[ArmCounts] = []
        if promotion is not None and promotion.plan is not None and promotion.candidate is not None:
            for step in promotion.steps:
                counts = self._world.log.counts(step.split) or {}
                both = counts.get(promotion.plan.champion or ""), counts.get(promotion.candidate.id)
                if both[0] is not None and both[1] is not None:
                    champion.append(both[0])
                    canary.append(both[1])
        return judge.together(champion), judge.together(canary)

    def _hours(
        self, state: ModelState, champion: Release, rollouts: Sequence[Rollout], *, back: bool
    ) -> Sequence[HourCounts]:
        """Returns the counts of the former champions, without those that were rolled back from. For the target of a
        rollback, its own counts are included."""
        out = rolled_back_from(rollouts)
        releases = [one for one in champions(rollouts) if one not in out and (back or one != champion.id)]
        since = state.since or self._world.clock.now()
        last = int(since.timestamp() // 3600)
        return [one for one in self._world.log.hours(releases, since - WEEKS) if one.hour <= last]

    # --- a look -------------------------------------------------------------------------------------------

    def _judge(self, state: ModelState, watching: Watching, counts: ArmCounts, states: Collection[ModelState]) -> None:
        now = self._world.clock.now().timestamp()
        everywhere = self._everywhere(state.model, states)
        after, findings = judge.look(watching, counts, now, everywhere)
        after, told, against = judge.decide(after, findings, now)
        if after != watching:
            events = [self._told(state, after, finding) for finding in told]
            if events:
                self._world.store.emit(events)
            self._save(state.model, after)
        if against is not None:
            self._act(state, after)

    def _everywhere(self, model: str, states: Collection[ModelState]) -> frozenset[str]:
        """Returns the metrics in which the other live models are in trouble in this minute."""
        if self._troubles is None:
            self._troubles = self._troubles_of(states)
        return judge.everywhere([found for other, found in self._troubles.items() if other != model])

    def _troubles_of(self, states: Collection[ModelState]) -> Mapping[str, Mapping[str, bool]]:
        before, now = self._recent[0][1], self._recent[-1][1]
        found = {}
        for state in states:
            release = state.champion.id if state.champion else ""
            if release in now and release in before:
                minute = judge.since(now[release], before[release])
                if minute is not None:
                    found[state.model] = judge.troubles(minute, self._usual_of(release))
        return found

    def _usual_of(self, release: str) -> ArmCounts | None:
        now = self._world.clock.now()
        hour = int(now.timestamp() // 3600)
        known = self._usual.get(release)
        if known is None or known[0] != hour:
            hours = self._world.log.hours([release], now - USUAL_HOURS)
            usual = judge.together([one.counts for one in hours if one.hour <= hour - USUAL_BUT_LAST])
            known = self._usual[release] = hour, usual
        return known[1]

    def _told(self, state: ModelState, watching: Watching, finding: Finding) -> Event:
        champion = f"{state.model}@{state.champion.version}" if state.champion else state.model
        if finding.everywhere:
            kind = "degraded-everywhere"
            text = (
                f"{champion} has degraded since its promotion, and so have other models at the same time: "
                f"{finding.text}. It is not rolled back, because the cause is outside of it"
            )
        else:
            kind = "degraded"
            text = f"{champion} has degraded since its promotion: {finding.text}. It is not rolled back: "
            text += watching.why_told
        return self._event(state, watching, kind, text, finding.metric)

    def _event(self, state: ModelState, watching: Watching, kind: str, text: str, metric: str = "") -> Event:
        details = {"metric": metric, "release": watching.release}
        return Event(self._world.clock.now(), state.model, watching.rollout or None, kind, text, details)

    # --- the rollback -------------------------------------------------------------------------------------

    def _act(self, state: ModelState, watching: Watching) -> None:
        """Rolls back. The decision is stored, so it is carried out again after a crash."""
        assert state.champion is not None
        champion = f"{state.model}@{state.champion.version}"
        why = f"{champion} has degraded since its promotion: {watching.decided}"
        try:
            outcome = self._go_back(state, state.champion, watching, why)
        except TemporaryError:
            raise
        except SerinusError as error:  # For example, the files of the release were removed.
            outcome = f"It is not rolled back: {error}"
        self._world.store.emit([self._event(state, watching, "degraded", f"{why}. {outcome}")])
        self._save(state.model, replace(watching, outcome=outcome))

    def _tell_late(self, state: ModelState, watching: Watching) -> None:
        """Reports a rollback after whose beginning the process crashed."""
        version = watching.release.rsplit("-", 2)[1]
        text = f"{state.model}@{version} has degraded since its promotion: {watching.decided}. It was rolled back"
        self._world.store.emit([self._event(state, watching, "degraded", text)])

    def _go_back(self, state: ModelState, champion: Release, watching: Watching, why: str) -> str:
        """Rolls back, and returns the result in words."""
        rollouts = self._world.store.rollouts(state.model, limit=HISTORY, promoted=True)
        target = champion_before(champion.id, rollouts)
        if target is None:
            return "It is not rolled back: there is no former champion that was not rolled back from"
        if target.version in state.aborted:
            stopped = state.aborted[target.version]
            return f"It is not rolled back: version {target.version}, the former champion, was aborted in {stopped}"
        details = {"release": watching.release, "rollout": watching.rollout, "to": target.id}
        now = self._world.clock.now()
        self._world.store.audit(WATCH, "rollback", f"{state.model}@{target.version}", why, details, now)
        return self._roll_back(state.model, target.id, why)

    def _save(self, model: str, watching: Watching) -> None:
        self._world.store.set_setting(key(model), _watching.dump_json(watching).decode())


def _seconds(time: datetime | None) -> float:
    return time.astimezone(UTC).timestamp() if time else 0.0


def _made_live(rollout: Rollout, champion: Release) -> bool:
    live = rollout.status.phase in (Phase.PROMOTING, Phase.PROMOTED)
    return live and rollout.candidate is not None and rollout.candidate.id == champion.id


def _spec_of(promotion: Rollout | None, model: str) -> specs.ModelDeployment | None:
    if promotion is None:
        return None
    try:
        return specs.load(promotion.spec, model=model)
    except SerinusError:  # An earlier version of Serinus accepted the spec.
        return specs.load("", model=model)


def _policy_of(promotion: Rollout | None, spec: specs.ModelDeployment | None) -> Policy:
    """Returns the policy by which the canary was judged, without alerts where no threshold is known."""
    if promotion is None or spec is None:
        return Policy(alerts=None)
    if promotion.kind is Kind.DEPLOY and promotion.plan is not None and promotion.steps:
        return promotion.plan.policy
    policy = specs.policy(spec)
    return policy if promotion.threshold is not None else replace(policy, alerts=None)


def _slow_limit(
    promotion: Rollout | None, spec: specs.ModelDeployment | None, champion: Release, before: Watching | None
) -> float:
    """Returns the latency limit in milliseconds.

    Where the spec sets none, it is that of the champion before, so that both are measured by one limit, or else that of
    the canary.
    """
    if spec is not None and (given := specs.slow_ms(spec)) is not None:
        return given
    if before is not None:
        return before.slow_ms
    if promotion is not None and promotion.plan is not None and promotion.plan.slow_ms is not None:
        return promotion.plan.slow_ms
    return SHARE_OF_TIMEOUT * champion.settings.timeout_ms
