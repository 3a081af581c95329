"""The spec in force of a model, and the effects of a deployment by another one. Only reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from serinus import spec as specs
from serinus.core.errors import InvalidInput, NotFound
from serinus.core.names import checked, spec_file
from serinus.core.redaction import without_credentials
from serinus.core.release import Release
from serinus.core.rollout import Kind, ModelState, Phase, Rollout
from serinus.engine.policies import policy_of
from serinus.engine.queries.estimate import told
from serinus.engine.world import World
from serinus.resources import Difference, FieldChange, NotYetInForce, SpecField, SpecInForce

ROLLOUTS_READ = 1_000
"""The number of newest rollouts of a model among which the one that made the champion is searched."""

APPROVAL = "rollout.approval"


def spec_in_force(world: World, model: str, installation: Mapping[str, str]) -> SpecInForce:
    """Returns every field of the model's spec, with the origin of its value.

    `installation` has notes about fields, in words, that follow from the settings of this installation. Raises NotFound
    where no spec is kept, and InvalidInput where the spec that is kept cannot be read.
    """
    text = _kept(world, model)
    if text is None:
        raise NotFound(
            f"there is no spec of {model}: it was never deployed",
            hint=f"`serinus init {model}` writes one.",
        )
    state = world.store.model(model)
    required = policy_of(world.store, model).approval_required
    values = specs.values(text, model=model, source=spec_file(model))
    return SpecInForce(
        model=model,
        file=spec_file(model),
        spec=without_credentials(text),
        fields=[_field(value, state, installation, required=required) for value in values],
        release=state.champion.id if state.champion else None,
        not_yet=_not_yet(world, state, text),
    )


def _field(value: specs.Value, state: ModelState, installation: Mapping[str, str], *, required: bool) -> SpecField:
    """Returns one field. `required`: the policy of the model requires an approval."""
    if value.field == APPROVAL and required and value.text != "required":
        note = f"`serinus policy {state.model}` shows and sets it"
        return SpecField(field=value.field, text="required", line=value.line, origin="policy", note=note)
    return SpecField(
        field=value.field,
        text=value.text,
        line=value.line,
        origin="default" if value.line is None else "file",
        note=_note(value, state, installation),
    )


def changes_by(world: World, spec: str, *, model: str | None, source: str) -> Difference:
    """Returns what a deployment of `spec` (YAML text) would change. Errors call the spec `source`. Raises
    InvalidInput."""
    new = specs.load(spec, source=source, model=model)
    before = _kept(world, new.model)
    changes = specs.changes(before or "", spec, model=new.model, source=source)
    advice = told(world, world.store.model(new.model), spec, source)
    estimate = [advice.estimate] if advice.estimate else []
    return Difference(
        model=new.model,
        before=spec_file(new.model) if before is not None else None,
        same=before is not None and not changes,
        changes=[FieldChange(field=c.field, before=c.before, after=c.after, line=c.line) for c in changes],
        effects=[*_effects(world, before, new), *estimate],
        warnings=advice.warnings,
    )


def _kept(world: World, model: str) -> str | None:
    """Returns the spec in the fleet repository. Raises InvalidInput where somebody has pushed one that cannot be
    read."""
    text = world.fleet.read(checked(model))
    if text is not None:
        readable(text, model)
    return text


def readable(text: str, model: str) -> specs.ModelDeployment:
    """Returns the spec. Raises InvalidInput, which says where to correct it."""
    try:
        return specs.load(text, source=spec_file(model), model=model)
    except InvalidInput as error:
        hint = (
            "Correct it in the fleet repository, or deploy with a spec that can be read: "
            f"`serinus deploy {model}@VERSION --spec FILE`."
        )
        raise InvalidInput(error.message, hint=hint) from error


def _note(value: specs.Value, state: ModelState, installation: Mapping[str, str]) -> str:
    if value.field == "alerts.threshold" and value.text == "null" and state.champion_threshold is not None:
        return f"the champion's, from the gates: {state.champion_threshold:g}"
    if value.text in ("null", "auto", "[]", "false"):
        return installation.get(value.field, "")
    return ""


def _not_yet(world: World, state: ModelState, text: str) -> Sequence[NotYetInForce]:
    """Returns the fields that are not in force yet, because the champion was deployed by another spec."""
    rollouts = world.store.rollouts(state.model, limit=ROLLOUTS_READ)
    deployed = next((one for one in rollouts if _deployed(one, state)), None)
    if deployed is None:
        return []
    latest = next(one for one in rollouts if one is deployed or one.status.phase is Phase.SCALED)
    try:
        behaviour = [
            one for one in specs.changes(deployed.spec, text, model=state.model) if one.field not in specs.SCALE
        ]
        scale = [one for one in specs.changes(latest.spec, text, model=state.model) if one.field in specs.SCALE]
        in_force = specs.scale(specs.load(text, model=state.model)) == state.scale
    except InvalidInput:  # An earlier version of Serinus accepted the spec.
        return []
    changes = (*behaviour, *(() if in_force else scale))
    return [NotYetInForce(field=c.field, before=c.before, after=c.after, line=c.line) for c in changes]


def _deployed(rollout: Rollout, state: ModelState) -> bool:
    """Whether the rollout has made the champion."""
    promoted = rollout.kind is Kind.DEPLOY and rollout.status.phase in (Phase.PROMOTING, Phase.PROMOTED)
    if not promoted or rollout.candidate is None or state.champion is None:
        return False
    return rollout.candidate.id == state.champion.id


def _effects(world: World, before: str | None, new: specs.ModelDeployment) -> Sequence[str]:
    """Returns a sentence for each effect beyond the fields themselves."""
    model, champion = new.model, world.store.model(new.model).champion
    found = []
    if before is None:
        found.append(f"No spec of {model} is kept yet: this one would be the first.")
    if champion is not None:
        found.append(_of_champions_version(world, champion, new))
    required = policy_of(world.store, model).approval_required
    if required and not specs.approval_required(new):
        found.append(f"The policy of {model} requires an approval of every version, whatever the spec says.")
    elif specs.approval_required(new) and not required:
        found.append(f"It sets the policy of {model}: every later version needs the approval of another person.")
    return found


def _of_champions_version(world: World, champion: Release, new: specs.ModelDeployment) -> str:
    """Returns what a deployment of the live version would do."""
    asked = f"{new.model}@{champion.version}"
    if not specs.behaves_alike(new, champion.settings):
        return (
            "The serving settings differ from the champion's: deploying its version again would make another release."
        )
    if specs.scale(new) != world.store.model(new.model).scale:
        return f"A deployment of {asked} changes scale only: applied without a canary."
    return (
        f"{asked} is the champion with these serving settings: the spec is kept with the next version that is deployed."
    )
