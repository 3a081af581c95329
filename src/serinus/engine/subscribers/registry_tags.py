"""Tags in the registry that say what became of each version, where data scientists see them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import quote

from serinus.core.errors import NotFound
from serinus.core.events import Event
from serinus.core.rollout import Kind, ModelState, Phase, Rollout, aborted_text
from serinus.core.text import one_line
from serinus.engine.happenings import approver
from serinus.engine.world import World

LONGEST = 500
"""The largest number of characters of a value. MLflow accepts 5,000."""
ROLLOUTS_READ = 50
"""The number of newest rollouts of a version among which its last deployment is searched."""
_PREFIX = "serinus."
_OF_VERSIONS = (Kind.DEPLOY, Kind.ROLLBACK)
"""The kinds of rollouts that say something about the version itself."""
CHAMPION, FORMER, RETIRED = "champion", "former champion", "retired"


class RegistryTags:
    """The subscriber that writes tags. `page` is the address of the status page."""

    name = "registry-tags"

    def __init__(self, world: World, page: str) -> None:
        self._world = world
        self._page = page

    def told(self, event: Event) -> None:
        """Writes tags from what is stored now, so that a late or repeated event does no harm."""
        if event.rollout is None or event.kind == "progress":
            return
        rollout = self._world.store.rollout(event.rollout)
        state = self._world.store.model(rollout.model)
        same = self._world.store.rollouts(rollout.model, limit=ROLLOUTS_READ, version=rollout.version)
        if rollout.id == next((one.id for one in same if one.kind in _OF_VERSIONS), None):
            self._write(rollout.model, rollout.version, tags_of(rollout, state, self._page))
        for version, tags in tags_of_others(rollout, state).items():
            self._write(rollout.model, version, tags)

    def _write(self, model: str, version: str, tags: Mapping[str, str]) -> None:
        with suppress(NotFound):  # The version was deleted in the registry. The engine reports that.
            self._world.registry.set_tags(model, version, tags)


def tags_of(rollout: Rollout, state: ModelState, page: str) -> Mapping[str, str]:
    """Returns the tags of the rollout's version. Unknown values are empty, so that none of a former rollout remains.
    Pure."""
    status = rollout.status
    last = rollout.steps[-1].assessment if rollout.steps else None
    ended_badly = status.phase in (Phase.ABORTED, Phase.ABORTING)
    link = f"{page}/#{quote(rollout.id)}"  # The text is Serinus' own.
    found = _tags(
        state=_standing(rollout, state),
        since=status.since.isoformat(timespec="seconds"),
        rollout=rollout.id,
        release=rollout.candidate.id if rollout.candidate else "",
        reason=aborted_text(status.cause, status.reason) if ended_badly else status.reason,
        verdict=f"{last.verdict.value}: {last.reason}" if last else "",
        requested_by=rollout.actor.shown,
        approved_by=approver(rollout),
    )
    return {**found, f"{_PREFIX}link": link}


def tags_of_others(rollout: Rollout, state: ModelState) -> Mapping[str, Mapping[str, str]]:
    """Returns the tags of the other versions that the end of this rollout has changed. Pure."""
    live = state.champion.version if state.champion else None
    why = f": {rollout.why}" if rollout.why else ""
    found: dict[str, Mapping[str, str]] = {}
    if rollout.status.phase is Phase.PROMOTED and rollout.version == live:
        before = rollout.plan.champion_version if rollout.plan else None
        done = "it was rolled back to" if rollout.kind is Kind.ROLLBACK else "its place was taken by"
        reason = f"{done} {rollout.model}@{rollout.version}, as {rollout.actor.shown} has asked{why}"
        for version in {before, state.previous.version if state.previous else None} - {None, live}:
            assert version is not None
            found[version] = _tags(state=FORMER, reason=reason)
    elif rollout.status.phase is Phase.RETIRED and state.retired is not None:
        reason = f"it was retired by {state.retired.who}: {state.retired.why}"
        found[state.retired.release.version] = _tags(state=RETIRED, reason=reason)
    elif live is not None and live == rollout.version:  # The live version was deployed again and is live as before.
        found[live] = _tags(state=CHAMPION)
    return found


def _standing(rollout: Rollout, state: ModelState) -> str:
    """Returns the state of the rollout's version, or its progress."""
    if rollout.status.phase is not Phase.PROMOTED:
        return rollout.status.phase.value
    if state.champion is not None:
        return CHAMPION if state.champion.version == rollout.version else FORMER
    return RETIRED if state.retired is not None and state.retired.release.version == rollout.version else FORMER


def _tags(**found: str) -> Mapping[str, str]:
    return {f"{_PREFIX}{name}": _bounded(text) for name, text in found.items()}


def _bounded(text: str) -> str:
    line = one_line(text)
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
