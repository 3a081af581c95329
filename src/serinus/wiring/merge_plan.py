"""The effects of a change in a checkout of the fleet repository."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from serinus.backends.git import Checkout
from serinus.core.errors import InvalidInput
from serinus.core.merged import ChangedFile, MergedFile
from serinus.engine.merged_files import release_in
from serinus.engine.queries.merge_plan import Before, planned
from serinus.resources import Difference, MergePlan, PlannedChange

Ask = Callable[[ChangedFile], Difference]
"""What a control plane says of a spec."""

_OF_A_RELEASE = 4
"""The number of parts of `rendered/<cluster>/<model>/<release>`."""
_NAMED = 5
"""The largest number of other files that are named."""


def plan(directory: Path, *, since: str | None, until: str | None, ask: Ask | None = None) -> MergePlan:
    """Returns what the change from `since` to `until` would do, by the fleet repository around `directory`.

    `since` None: the commit at which `until` has left the default branch. `until` None: the working tree. Raises
    InvalidInput, Unavailable, and what `ask` raises.
    """
    checkout = Checkout(directory)
    end = checkout.commit(until) if until is not None else None
    start = checkout.commit(since) if since is not None else checkout.base(end)
    files, others = checkout.changed(start, end)
    changes = [_asked(planned(file, _before(checkout, file, start)), file, ask) for file in files]
    return MergePlan(
        since=start,
        until=end,
        changes=changes,
        notes=[*_of_versions(changes), *_of_others(others)],
        ok=not any(one.error for one in changes),
    )


def _before(checkout: Checkout, file: ChangedFile, since: str) -> Before:
    live = checkout.live(file.model, since)
    spec = checkout.spec(file.model, since)
    try:
        release = release_in("", live or "")
    except InvalidInput:
        return Before(spec, live)
    if file.kind is MergedFile.LIVE:
        return Before(spec, live, was_live=_was_live(checkout, file, since))
    made = checkout.made_live(file.model, release, since)
    deployed = checkout.spec(file.model, made) if made is not None else None
    return Before(spec, live, deployed, same=checkout.same_before(file, since) if file.text is not None else None)


def _was_live(checkout: Checkout, file: ChangedFile, since: str) -> bool | None:
    try:
        release = release_in(file.path, file.text or "")
    except InvalidInput:  # It is said when the file is read.
        return False
    found = checkout.made_live(file.model, release, since) is not None
    return None if not found and checkout.is_shallow else found


def _asked(change: PlannedChange, file: ChangedFile, ask: Ask | None) -> PlannedChange:
    if ask is None or file.kind is not MergedFile.SPEC or change.error:
        return change
    said = ask(file)
    return change.model_copy(update={"server": said.effects, "warnings": said.warnings})


def _of_versions(changes: Sequence[PlannedChange]) -> Sequence[str]:
    if not any(one.file.startswith("models/") and not one.error for one in changes):
        return []
    return [
        "A spec names no version: it is deployed with the version that has the alias challenger in MLflow, unless that "
        "one was aborted, or else with the live one. Git knows neither that alias nor the policies of models. Where "
        "the challenger is another version than the live one, even a change that means nothing for the live one "
        "deploys it. A policy may require an approval that the spec does not."
    ]


def _of_others(paths: Sequence[str]) -> Sequence[str]:
    rendered = sorted({"/".join(path.split("/")[:_OF_A_RELEASE]) for path in paths if path.startswith("rendered/")})
    unread = [path for path in paths if path.startswith(("models/", "live/"))]
    found = []
    if rendered:
        found.append(f"{_named(rendered)}: what people change there holds until Serinus writes it again.")
    if unread:
        found.append(f"{_named(unread)}: not read by Serinus, which looks for `models/MODEL/model.yaml`.")
    return found


def _named(paths: Sequence[str]) -> str:
    named = ", ".join("`{}`".format(path.replace("`", "?")) for path in paths[:_NAMED])
    return f"{named} and {len(paths) - _NAMED} more" if len(paths) > _NAMED else named
