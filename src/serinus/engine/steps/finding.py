"""The files with golden and evaluation rows: of the run that logged the version, or of this machine."""

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
    """A table, or the `error` where a file was named and could not be read. Both may be missing."""

    table: Table | None = None
    source: str = ""
    error: str = ""


def golden_rows(world: World, ref: VersionRef, spec: ModelDeployment) -> Found:
    """Returns the golden rows."""
    return _found(world, ref, spec.gates.golden, "golden.json", world.trials.golden)


def evaluation_rows(world: World, ref: VersionRef, spec: ModelDeployment, artifact: Artifact) -> Found:
    """Returns the evaluation set."""
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
    """Returns rows for the rehearsal of a model without an input example. None: there are none."""
    for found, source in ((golden, "the golden rows"), (evaluation, "the evaluation rows")):
        if found.table is not None and found.table.rows:
            table = found.table.head(MOST_GIVEN)
            return GivenRows(source, table.columns, table.rows)
    return None


def _found(world: World, ref: VersionRef, named: str | None, default: str, read: Callable[[Path], ReadRows]) -> Found:
    """Returns the rows. A file with the default name may be missing. A file that the spec names may not."""
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
