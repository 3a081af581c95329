"""The spec of a model that is in force, and what a deployment of another one would change. Only reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from serinus import spec as specs
from serinus.core.errors import InvalidInput, NotFound
from serinus.core.names import checked
from serinus.core.redaction import without_credentials
from serinus.core.release import Release
from serinus.core.rollout import Kind, ModelState, Phase, Rollout
from serinus.engine.policies import policy_of
from serinus.engine.queries.estimate import told
from serinus.engine.world import World

ROLLOUTS_READ = 1_000
"""Of one model, newest first: among them is the one that made the champion what it is."""

APPROVAL = "rollout.approval"


def spec_in_force(world: World, model: str, installation: Mapping[str, str]) -> Mapping[str, Any]:
    """Each field of the model's spec, with where its value comes from. `installation`: field -> what the settings of
    this installation say to it, in words. Every value is JSON.

    Raises NotFound: no spec is kept; InvalidInput: the one that is kept cannot be read.
    """
    text = _kept(world, model)
    if text is None:
        raise NotFound(
            f"there is no spec of {model}: it was never deployed",
            hint=f"`serinus init {model}` writes one.",
        )
    state = world.store.model(model)
    required = policy_of(world.store, model).approval_required
    fields = []
    for value in specs.values(text, model=model, source=file_of(model)):
        origin = "default" if value.line is None else "file"
        said = {**asdict(value), "origin": origin, "note": _note(value, state, installation)}
        if value.field == APPROVAL and required and value.text != "required":
            said |= {"text": "required", "origin": "policy", "note": f"`serinus policy {model}` shows and sets it"}
        fields.append(said)
    return {
        "model": model,
        "file": file_of(model),
        "spec": without_credentials(text),
        "fields": fields,
        "release": state.champion.id if state.champion else None,
        "not_yet": _not_yet(world, state, text),
    }


def changes_by(world: World, spec: str, *, model: str | None, source: str) -> Mapping[str, Any]:
    """What a deployment of `spec` would change of what is kept. Every value is JSON. Raises InvalidInput."""
    new = specs.load(spec, source=source, model=model)
    before = _kept(world, new.model)
    changes = specs.changes(before or "", spec, model=new.model, source=source)
    advice = told(world, world.store.model(new.model), spec, source)
    estimate = [advice.estimate] if advice.estimate else []
    return {
        "model": new.model,
        "before": file_of(new.model) if before is not None else None,
        "same": before is not None and not changes,
        "changes": [asdict(one) for one in changes],
        "effects": [*_effects(world, before, new), *estimate],
        "warnings": list(advice.warnings),
    }


def file_of(model: str) -> str:
    """The file of the model's spec in the fleet repository."""
    return f"models/{model}.yaml"


def _kept(world: World, model: str) -> str | None:
    """As in the fleet repository, where somebody may have pushed what cannot be read. Raises InvalidInput."""
    text = world.fleet.read(checked(model))
    if text is not None:
        readable(text, model)
    return text


def readable(text: str, model: str) -> specs.ModelDeployment:
    """The spec that is kept. Raises InvalidInput, which says where to correct it."""
    try:
        return specs.load(text, source=file_of(model), model=model)
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


def _not_yet(world: World, state: ModelState, text: str) -> Sequence[Mapping[str, Any]]:
    """The fields whose kept value the champion does not go by, because it was deployed by another spec."""
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
    except InvalidInput:  # a spec that an earlier version took
        return []
    return [asdict(one) for one in (*behaviour, *(() if in_force else scale))]


def _deployed(rollout: Rollout, state: ModelState) -> bool:
    """Whether it is one that has made the champion what it is."""
    promoted = rollout.kind is Kind.DEPLOY and rollout.status.phase in (Phase.PROMOTING, Phase.PROMOTED)
    if not promoted or rollout.candidate is None or state.champion is None:
        return False
    return rollout.candidate.id == state.champion.id


def _effects(world: World, before: str | None, new: specs.ModelDeployment) -> Sequence[str]:
    """Beyond the fields themselves, a sentence each."""
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
    """What a deployment of the version that is live would do."""
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
