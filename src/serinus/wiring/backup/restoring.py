"""Restores a home from a file."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from serinus.backends.git.bundles import unbundle
from serinus.backends.mlflow.artifact import read_artifact
from serinus.backends.mlflow.files import Inventory
from serinus.core.errors import InvalidInput, Refused, SerinusError, Unavailable
from serinus.core.home import Home
from serinus.core.release import Environment, Release
from serinus.engine import World
from serinus.lib import files
from serinus.targets.local.supervisor import settings as chosen
from serinus.targets.local.supervisor.settings import Settings
from serinus.wiring.backup import archive, contents
from serinus.wiring.backup.archive import Manifest
from serinus.wiring.backup.moving import move
from serinus.wiring.local import build_store, build_world, place_here

Say = Callable[[str], None]


@files.umask(0o077)
def restore(path: Path, home: Home) -> Manifest:
    """Creates `home` from the backup `path`, without its environments (`build_environments`).

    Raises Refused (it exists already, or the backup is of a newer version), InvalidInput (the backup is damaged) and
    Unavailable. Nothing is left behind then.
    """
    home = Home(home.path.resolve())
    if home.path.exists() and (not home.path.is_dir() or any(home.path.iterdir())):
        raise Refused(f"{home.path} already exists", hint="Name a directory that is empty or not there yet.")
    try:
        home.path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home.path.parent, prefix=f".{home.path.name}.restoring-") as scratch:
            place = Path(scratch) / "home"
            place.mkdir(mode=0o700)
            manifest = archive.extracted(path, place, contents.known)
            _finish(place, manifest, home)
            place.replace(home.path)  # This replaces an empty directory, and nothing else.
    except FileNotFoundError as error:
        raise InvalidInput(f"{error.filename or path} is not there", hint="Name the file of a backup.") from error
    except (OSError, sqlite3.Error) as error:
        said = getattr(error, "strerror", None) or type(error).__name__
        raise Unavailable(f"{path} was not restored: {said}", hint="Free some space, and try again.") from error
    return manifest


def _finish(place: Path, manifest: Manifest, home: Home) -> None:
    if chosen.load(Home(place)) is None:
        raise InvalidInput("the backup holds no settings", hint="Nothing was restored from it.")
    bundle = place / contents.FLEET
    if bundle.exists():
        unbundle(bundle, place / home.fleet.name)
        bundle.unlink()
    move(place, manifest, home)


# --- environments -----------------------------------------------------------------------------------------


@files.umask(0o077)
def build_environments(home: Home, say: Say) -> Sequence[str]:
    """Builds the missing environments of releases in use. Returns in words what could not be built."""
    home = Home(home.path.resolve())
    settings = chosen.load(home)
    if settings is None:
        raise Refused(f"{home.path} is not a Serinus home", hint="Name it: `serinus restore FILE --home DIR`.")
    for directory in home.directories:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    world = build_world(home, settings, build_store(home), place_here(home, settings))
    troubles = []
    for release in _in_use(world):
        if not home.interpreter(release.environment_digest).exists():
            try:
                _build(world, home, settings, release, say)
            except SerinusError as error:
                troubles.append(f"{release.id} has no environment: {error}")
    if any(release.compiled is not None for release in _in_use(world)):
        try:
            world.compiler.prepare()
        except SerinusError as error:
            troubles.append(f"the environment of compiled releases is not there: {error}")
    return troubles


def _in_use(world: World) -> Iterator[Release]:
    for model in world.store.models():
        yield from (release for release in (model.champion, model.previous) if release is not None)
    for rollout in world.store.in_flight():
        if rollout.candidate is not None:
            yield rollout.candidate


def _build(world: World, home: Home, settings: Settings, release: Release, say: Say) -> None:
    """Builds the environment of one release. Raises SerinusError."""
    wanted = release.environment_digest
    inventory = Inventory(release.artifact_digest, 0)
    requirements = read_artifact(home.artifact(release.artifact_digest), inventory, settings.indexes).requirements

    def is_it(built: Environment) -> str | None:
        return None if built.digest == wanted else "it is not the environment that the release was judged with"

    say(f"{release.id}: building its environment")
    world.environments.prepare(requirements, is_it, say)
