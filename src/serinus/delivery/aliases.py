"""The interpretation of the registry's aliases, which both people and Serinus set. Pure functions.

An alias is a command only where it differs from the value that Serinus last read or wrote. Before Serinus writes an
alias, it stores the new value as seen and the old one as `<alias>.before`. After a crash between storing and writing,
neither of the two values is taken for a command.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from serinus.core.rollout import Kind, ModelState, Phase, Rollout

CHAMPION = "champion"
CHALLENGER = "challenger"


@dataclass(frozen=True, slots=True)
class AliasReading:
    """The meaning of one model's aliases in the registry, and the actions that follow from it."""

    state: ModelState
    """The state with the aliases that have been seen. It must be stored before `writes` are carried out."""
    deploy: str | None = None
    """The version for which a person has set the alias `challenger`, to be deployed. None: there is no such command."""
    writes: Mapping[str, str | None] = field(default_factory=dict)
    """The aliases to write, each with its version. None as the version: the alias is to be deleted."""
    notices: tuple[tuple[str, str], ...] = ()
    """Events that report what was found, as pairs of kind and text."""


def read_aliases(state: ModelState, rollout: Rollout | None, actual: Mapping[str, str]) -> AliasReading:
    """Returns the meaning of `actual`, the model's aliases in the registry, each with its version."""
    return _challenger(_champion(AliasReading(state), actual), rollout, actual)


def _champion(reading: AliasReading, actual: Mapping[str, str]) -> AliasReading:
    live = reading.state.champion
    now = actual.get(CHAMPION)
    if live is None:
        return _of_a_retired(reading, now)
    if now == live.version:
        return _found(_seen(reading, CHAMPION, now), CHAMPION)
    if reading.state.lost.get(CHAMPION) == live.version:
        return reading
    moved_by_hand = now not in _expected(reading.state, CHAMPION)
    written = _write(reading, CHAMPION, now, live.version)
    if not moved_by_hand:
        return written
    text = (
        f"the alias champion was moved to {now or 'nothing'} by hand and is put back to {live.version}, which is live; "
        f"use `serinus deploy` or `serinus rollback` to change what is live"
    )
    return replace(written, notices=(*written.notices, ("champion-put-back", text)))


def _of_a_retired(reading: AliasReading, now: str | None) -> AliasReading:
    """Removes the alias of the retired champion. An alias that a person has set since is left alone."""
    retired = reading.state.retired
    is_ours = retired is not None and now == retired.release.version and now in _expected(reading.state, CHAMPION)
    return _write(reading, CHAMPION, now, None) if is_ours else _seen(reading, CHAMPION, now)


def _challenger(reading: AliasReading, rollout: Rollout | None, actual: Mapping[str, str]) -> AliasReading:
    now = actual.get(CHALLENGER)
    by_hand = now not in _expected(reading.state, CHALLENGER)
    if rollout is None:
        reading = _found(reading, CHALLENGER)
    if rollout is None or rollout.kind is not Kind.DEPLOY:
        return _command(reading, now) if by_hand and rollout is None else _confirm(reading, now)
    if rollout.status.phase in (Phase.PROMOTING, Phase.ABORTING):
        return _write(reading, CHALLENGER, now, None) if now == rollout.version else reading
    if now == rollout.version:
        return _found(_seen(reading, CHALLENGER, now), CHALLENGER)
    if by_hand and now is not None:
        return _wait(reading, rollout, now)
    if reading.state.lost.get(CHALLENGER) == rollout.version:
        return reading
    return _write(reading, CHALLENGER, now, rollout.version)


def _command(reading: AliasReading, version: str | None) -> AliasReading:
    """Reads a change of `challenger` while no rollout is in flight."""
    state = reading.state
    seen = _seen(reading, CHALLENGER, version)
    if version is None:
        return seen
    if state.champion is not None and state.champion.version == version:
        text = f"challenger was set to {version}, which is already live: there is nothing to do"
        return replace(seen, notices=(*seen.notices, ("challenger-is-live", text)))
    if state.retired is not None:
        text = (
            f"challenger was set to {version}, but {state.model} was retired by {state.retired.who}: an alias does not "
            f"bring it back; `serinus deploy {state.model}@{version}` does"
        )
        return replace(seen, notices=(*seen.notices, ("challenger-of-retired", text)))
    if version in state.aborted:
        text = (
            f"challenger was set to {version}, which was aborted in {state.aborted[version]}: an alias does not deploy "
            f'it again; `serinus deploy {state.model}@{version} --reason "..."` does'
        )
        return replace(seen, notices=(*seen.notices, ("challenger-was-aborted", text)))
    return replace(seen, deploy=version)


def _wait(reading: AliasReading, rollout: Rollout, version: str) -> AliasReading:
    """Reads a change of `challenger` while another version is in flight. It is reported once, and becomes a command
    when the rollout has ended."""
    if reading.state.aliases.get("challenger.waiting") == version:
        return reading
    text = (
        f"challenger was set to {version} while {rollout.id} ({rollout.version}) is in flight: it will be deployed "
        f"when that rollout has ended; `serinus abort {rollout.model}` ends it now"
    )
    state = replace(reading.state, aliases={**reading.state.aliases, "challenger.waiting": version})
    return replace(reading, state=state, notices=(*reading.notices, ("challenger-waits", text)))


def without_lost(reading: AliasReading, alias: str, version: str, *, registered: bool) -> AliasReading:
    """Leaves out the write of `alias`, because the registry does not have `version`, and adds a notice.

    `registered` says whether the registry has the model at all.
    """
    state = reading.state
    writes = {name: value for name, value in reading.writes.items() if name != alias}
    text = lost_text(state.model, version, registered=registered, live=alias == CHAMPION)
    notices = [notice for notice in reading.notices if notice[0] != f"{alias}-put-back"]
    found = replace(state, lost={**state.lost, alias: version})
    return AliasReading(found, reading.deploy, writes, (*notices, ("not-in-registry", text)))


def lost_text(model: str, version: str, *, registered: bool, live: bool) -> str:
    """Returns a sentence that says what to do about a version that the registry does not have."""
    what = f"Version {version} of {model}" if registered else f"The model {model}"
    gone = f"{what} is no longer in MLflow: it was deleted or renamed there."
    if not live:
        return f"{gone} Its rollout goes on with the files that were fetched; `serinus abort {model}` ends it."
    return (
        f"{gone} Serving goes on with the files that were fetched. Deploy a version that is registered under this "
        f"name, or stop serving the model: `serinus retire {model}`. After renaming it back, set its alias champion "
        f"to {version}."
    )


def _found(reading: AliasReading, alias: str) -> AliasReading:
    if alias not in reading.state.lost:
        return reading
    kept = {name: version for name, version in reading.state.lost.items() if name != alias}
    return replace(reading, state=replace(reading.state, lost=kept))


def _expected(state: ModelState, alias: str) -> set[str | None]:
    """Returns the values of an alias that are not a command."""
    expected: set[str | None] = {state.aliases.get(alias)}
    if f"{alias}.before" in state.aliases:
        expected.add(state.aliases[f"{alias}.before"] or None)
    return expected


def _confirm(reading: AliasReading, now: str | None) -> AliasReading:
    """Removes the stored former value once the registry has the value that was written."""
    return _seen(reading, CHALLENGER, now) if now == reading.state.aliases.get(CHALLENGER) else reading


def _seen(reading: AliasReading, alias: str, version: str | None) -> AliasReading:
    kept = {k: v for k, v in reading.state.aliases.items() if not k.startswith(alias)}
    if version is not None:
        kept[alias] = version
    return replace(reading, state=replace(reading.state, aliases=kept))


def _write(reading: AliasReading, alias: str, now: str | None, wanted: str | None) -> AliasReading:
    seen = _seen(reading, alias, wanted)
    aliases = {**seen.state.aliases, f"{alias}.before": now or ""}
    return replace(seen, state=replace(seen.state, aliases=aliases), writes={**seen.writes, alias: wanted})
