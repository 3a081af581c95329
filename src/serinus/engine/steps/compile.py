"""The phase `build`, after the environment: the model is compiled where that is proven to change no decision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from serinus import gates
from serinus import spec as specs
from serinus.core.examination import Outcome
from serinus.core.names import spec_file
from serinus.core.release import Artifact, Compiled, Environment
from serinus.core.rollout import Rollout
from serinus.engine.distrust import distrusted
from serinus.engine.steps.finding import evaluation_rows, golden_rows
from serinus.engine.steps.kept import kept_rows
from serinus.engine.world import World
from serinus.spec import ModelDeployment

PROVEN_ROWS = 2_000


def compile_model(
    world: World, rollout: Rollout, artifact: Artifact, environment: Environment, say: Callable[[str], None]
) -> tuple[Compiled | None, str]:
    """Returns the compiled model, and what people should know of it. None: the model is served by its own libraries,
    and the text says why."""
    spec = specs.load(rollout.spec, source=spec_file(rollout.model), model=rollout.model)
    if not specs.compiles(spec):
        return None, "not compiled: serving.compile is off"
    columns, rows = _rows(world, rollout, artifact, spec)
    found = world.compiler.compile(artifact, environment, columns, rows, say)
    # A deployment may leave a graph that no release uses. A later one removes it.
    world.compiler.sweep({release.compiled.digest for release in world.store.releases() if release.compiled})
    if found.compiled is None:
        note = f"not compiled: {found.reason}"
    elif found.compiled.digest in {mark.graph for mark in distrusted(world.store).values()}:
        # The compiler knows it as well, unless another control plane has found it, or the disk is another one.
        note = "not compiled: in production its graph answered differently from the model itself"
    else:
        result = gates.parity(
            gates.ParityEvidence.from_json(found.proof, threshold=spec.alerts.threshold, budget=spec.alerts.budget)
        )
        if result.outcome is Outcome.PASS:
            say(f"compiled: {result.summary}")
            return found.compiled, f"compiled: {result.summary}"
        note = f"not compiled: {result.summary}"
    say(note)
    return None, note


def _rows(
    world: World, rollout: Rollout, artifact: Artifact, spec: ModelDeployment
) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
    """Returns kept rows that were once answered wrong, golden rows and evaluation rows, in the order of the model's
    columns.

    The gates report errors in them.
    """
    ref = world.registry.find(rollout.model, rollout.version)
    names = [column.name for column in artifact.inputs or ()]
    rows: list[Sequence[Any]] = list(kept_rows(world.store, rollout.model, names))
    for found in (golden_rows(world, ref, spec), evaluation_rows(world, ref, spec, artifact)):
        table = found.table
        if table is not None and set(names) <= set(table.columns):
            pick = [table.columns.index(name) for name in names]
            rows += [[row[i] for i in pick] for row in table.rows[:PROVEN_ROWS]]
    return names, rows[:PROVEN_ROWS]
