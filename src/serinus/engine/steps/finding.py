"""Where the rows to ask a release with come from: files of the run that logged it, or of this machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlparse

from serinus.core.errors import InvalidInput
from serinus.core.examination import GivenRows, ReadRows
from serinus.core.release import Artifact, VersionRef
from serinus.engine.steps.rows import Table, table_of
from serinus.engine.world import World
from serinus.spec import ModelDeployment

MOST_GIVEN = 1_000


@dataclass(frozen=True, slots=True)
class Found:
    """A table, or why there is none: `error` where one was named and could not be had."""

    table: Table | None = None
    source: str = ""
    error: str = ""


def golden_rows(world: World, ref: VersionRef, spec: ModelDeployment) -> Found:
    return _found(world, ref, spec.gates.golden, "golden.json", world.trials.golden)


def evaluation_rows(world: World, ref: VersionRef, spec: ModelDeployment, artifact: Artifact) -> Found:
    inputs = [column.name for column in artifact.inputs] if artifact.inputs else None
    label, entity = spec.gates.label, spec.gates.entity
    return _found(
        world,
        ref,
        spec.gates.evaluation,
        "evaluation.parquet",
        lambda path: world.trials.evaluation(path, label, entity, inputs),
    )


def given_rows(golden: Found, evaluation: Found) -> GivenRows | None:
    """For the first question where the model has no example."""
    for found, source in ((golden, "the golden rows"), (evaluation, "the evaluation rows")):
        if found.table is not None and found.table.rows:
            table = found.table.head(MOST_GIVEN)
            return GivenRows(source, table.columns, table.rows)
    return None


def _found(world: World, ref: VersionRef, named: str | None, default: str, read: Callable[[Path], ReadRows]) -> Found:
    """The default name may be missing; a name that somebody wrote may not."""
    if named is None:
        return Found()
    try:
        path = _file(world, ref, named)
        if path is None:
            missing = f"{named} was not logged with the run and is not a file on this machine"
            return Found(error="" if named == default else missing)
        return Found(table_of(read(path)), source=named)
    except InvalidInput as error:
        return Found(error=str(error))


def _file(world: World, ref: VersionRef, named: str) -> Path | None:
    url = urlparse(named)
    if url.scheme == "file":
        return Path(url.path)
    if url.scheme:
        raise InvalidInput(f"{named}: only artifacts of the run and files can be read", hint="Log it with the run.")
    logged = world.registry.run_file(ref, named)
    if logged is not None:
        return logged
    return Path(named) if Path(named).is_absolute() and Path(named).exists() else None
