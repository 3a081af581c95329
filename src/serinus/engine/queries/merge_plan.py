"""The effects of a change of the fleet repository, before it is merged. Pure.

Files are read by the functions that read them after the merge, and specs are compared by those that decide whether a
deployment makes another release. What only the store and the registry know is said to be unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from serinus import spec as specs
from serinus.core.errors import InvalidInput, Refused, SerinusError
from serinus.core.merged import ChangedFile, MergedFile
from serinus.core.names import spec_file
from serinus.engine.merged_files import live_in, release_in, spec_in
from serinus.resources import FieldChange, PlannedChange
from serinus.resources.plans import Effect
from serinus.spec.checking import Lines, contradictions
from serinus.spec.quantities import format_duration, format_share

_APPROVAL = "approval by another person than the author"


@dataclass(frozen=True, slots=True)
class Before:
    """What the fleet repository says of a model before the change."""

    spec: str | None
    """None: there is no spec."""
    live: str | None
    """The text of the file that says what is live. None: there is none."""
    deployed: str | None = None
    """The spec by which the live release was deployed. None: the history does not say."""
    was_live: bool | None = None
    """Whether the release that a changed file names was live once. None: a part of the history is missing."""
    same: str | None = None
    """An earlier commit in which the file was as it is after the change."""


def planned(file: ChangedFile, before: Before) -> PlannedChange:
    """Returns the effect of one changed file. A mistake is a part of it, in the words in which the engine would tell
    it."""
    try:
        if file.unreadable:
            raise Refused(file.unreadable)
        return _of_spec(file, before) if file.kind is MergedFile.SPEC else _of_live(file, before)
    except SerinusError as error:
        effect: Effect = "removed" if file.kind is MergedFile.SPEC and file.text is None else "refused"
        return PlannedChange(
            model=file.model, file=file.path, effect=effect, summary="", error=error.message, hint=error.hint
        )


def _of_spec(file: ChangedFile, before: Before) -> PlannedChange:
    model = file.model
    text, spec = spec_in(model, file.path, file.text)
    old = _readable(before.spec, model)
    present = _readable(before.deployed, model) or old
    version = _live_version(before, model)
    fields = [] if before.spec is not None and old is None else _changes(before.spec or "", text, file)
    notes = []
    if before.spec is not None and old is None:
        notes.append("The spec before the change cannot be read, so its values are not compared.")

    def told(effect: Effect, summary: str, through: Iterable[str] = ()) -> PlannedChange:
        return PlannedChange(
            model=model,
            file=file.path,
            effect=effect,
            summary=summary,
            fields=fields,
            steps=list(through),
            notes=notes,
            warnings=contradictions(spec, Lines(text, file.path)),
        )

    if version is None:
        summary = f"The version of {model} with the alias challenger is deployed. It is the only release of the model."
        return told("new", summary, _steps(spec, compared=False))
    asked = f"{model}@{version}"
    if present is None:
        summary = f"Git does not say by which spec {asked} was deployed: it is deployed again if that one differs."
        return told("unknown", summary, _steps(spec, compared=True))
    if not specs.behaves_alike(spec, specs.settings(present)):
        if not _differs_in_settings(spec, old):
            notes.append(f"The spec before the change is not the one by which {asked} was deployed.")
        if before.same is not None:
            notes.append(
                f"This is the spec of the commit {before.same[:10]} again. It goes through gates and canary all the "
                "same. To return to a former release at once, revert the commit that made the present one live, or run "
                f"`serinus rollback {model}`."
            )
        return told("release", f"{asked} is deployed again, as another release.", _steps(spec, compared=True))
    scaled = old if old is not None and not _differs_in_settings(old, present) else present
    if specs.scale(spec) != specs.scale(scaled):
        if any(one.field not in specs.SCALE for one in fields):
            notes.append("The values that are not about scale apply from the next deployment on.")
        approval = [_APPROVAL] if specs.approval_required(spec) else []
        return told("scale", f"{asked} gets another scale: no new release, no canary.", [*approval, "the new scale"])
    if fields:
        return told("later", f"{asked} stays as it is. The values apply from the next deployment on.")
    return told("nothing", f"{file.path} says what it said before.")


def _steps(spec: specs.ModelDeployment, *, compared: bool) -> Iterator[str]:
    """Yields what a deployment by the spec goes through, in words. `compared`: there is a champion."""
    yield "the gates"
    if specs.approval_required(spec):
        yield _APPROVAL
    if compared:
        for written, step in zip(spec.rollout.steps, specs.steps(spec), strict=True):
            yield (
                f"canary with {format_share(written.traffic)} of the traffic, for {format_duration(written.for_)} and "
                f"{step.minimum_requests:,} requests at least"
            )
    yield "promotion" if compared else "full traffic, because there is no champion to compare with"
    if specs.watched_for(spec):
        ends = "is rolled back" if specs.rolls_back(spec) else "is reported"
        yield f"watch for {format_duration(spec.watch.after)}; a release that degrades {ends}"


def _of_live(file: ChangedFile, before: Before) -> PlannedChange:
    def told(effect: Effect, summary: str, *through: str) -> PlannedChange:
        return PlannedChange(model=file.model, file=file.path, effect=effect, summary=summary, steps=through)

    if file.text is None:
        return told("rewritten", f"Serinus writes {file.path} again.")
    release = release_in(file.path, file.text)
    version = _live_version(before, file.model)
    if version is None:
        return told("rewritten", f"There is no champion of {file.model}, so nothing is rolled back.")
    if live_in(file.path, before.live or "").get("release") == release:
        return told("rewritten", f"{release} is live already: Serinus writes the file again.")
    if before.was_live is None:
        return told("unknown", f"A part of the history is missing: if {release} was live once, this is a rollback.")
    if not before.was_live:
        raise InvalidInput(
            f"{file.path} names {release}, which never was live.",
            hint="Revert a commit of Serinus to roll back; everything else Serinus writes again.",
        )
    summary = f"{file.model}@{version} is rolled back to {release}, with all traffic at once."
    return told("rollback", summary, "the workers of that release", "promotion, without gates and canary")


def _changes(before: str, after: str, file: ChangedFile) -> list[FieldChange]:
    found = specs.changes(before, after, model=file.model, source=file.path)
    return [FieldChange(field=one.field, before=one.before, after=one.after, line=one.line) for one in found]


def _differs_in_settings(one: specs.ModelDeployment, other: specs.ModelDeployment | None) -> bool:
    return other is None or not specs.behaves_alike(one, specs.settings(other))


def _live_version(before: Before, model: str) -> str | None:
    """Returns the version of the champion. None: there is none."""
    found = live_in(f"live/{model}.yaml", before.live or "")
    return str(found["version"]) if "version" in found and "retired" not in found else None


def _readable(text: str | None, model: str) -> specs.ModelDeployment | None:
    try:
        return None if text is None else specs.load(text, source=spec_file(model), model=model)
    except InvalidInput:
        return None
