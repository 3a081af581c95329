"""The directories of a home: creating them, refusing those of others, and locking them during `up`."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

from serinus.core.errors import Refused, Unavailable
from serinus.core.home import Home
from serinus.lib import files, locks


def claim(home: Home) -> None:
    """Creates the directory of the home, 0700. Raises Refused where it belongs to somebody else or is used for
    something else.

    Such a directory is left unchanged, because a home is closed to others and written to.
    """
    if home.path.is_dir() and not home.settings.exists():
        written = (home.secret, home.token, home.store, home.mlflow_password, home.settings)
        ours = {_GITIGNORE, *(path.name for path in (*home.directories, *written))}
        ours |= {name + suffix for name in ours for suffix in (".new", "-wal", "-shm")}
        ours |= {UP_LOCK, "settings.tmp"}
        strange = [entry.name for entry in home.path.iterdir() if entry.name not in ours]
        if strange:
            raise Refused(
                f"{home.path} is neither empty nor a Serinus home: it contains {min(strange)}",
                hint="Name a directory of its own with `--home DIR`. It is created.",
            )
    _own(home.path)


def make(home: Home) -> None:
    """Creates the other directories of the home, 0700, and its secrets."""
    for directory in home.directories:
        _own(directory)
    _make_secret(home.secret)
    _make_secret(home.mlflow_password)
    _keep_out_of_git(home)


UP_LOCK = "up.lock"
_GITIGNORE = ".gitignore"


def _own(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise Refused(f"{directory} cannot be a directory: {error.strerror}", hint=_ANOTHER) from error
    if directory.is_symlink() or directory.stat().st_uid != os.geteuid():
        raise Refused(f"{directory} belongs to another user", hint=_ANOTHER)
    directory.chmod(0o700)


_ANOTHER = "Choose another --home."


def _keep_out_of_git(home: Home) -> None:
    """Has Git ignore the home, whose tokens must not be committed. A home is usually inside a checkout."""
    ignore = home.path / _GITIGNORE
    if not ignore.exists():
        files.write(ignore, "*\n", mode=None)


def _make_secret(path: Path) -> None:
    """Writes 256 random bits in hexadecimal, where there is no file yet. A partial file would be guessable, so it is
    written atomically."""
    if not path.exists():
        files.write(path, secrets.token_hex(32))


@contextlib.contextmanager
def one_at_a_time(home: Home, patience: float, say: Callable[[str], None]) -> Iterator[None]:
    """Makes a second `up` wait for the first. Raises Unavailable after `patience` seconds."""
    path = home.path / UP_LOCK
    lock = locks.take(path, seconds=0)
    if lock is None:
        say("another `serinus up` is starting this home: waiting for it")
        lock = locks.take(path, seconds=patience)
    if lock is None:
        raise Unavailable(
            f"another `serinus up` has been starting {home.path} for {patience:g} s",
            hint="Stop it, or run `serinus down`, and try again.",
        )
    try:
        yield
    finally:
        os.close(lock)


def supervisor_lock(home: Home) -> Path:
    """The lock of the supervisor."""
    return home.run / "supervisor.lock"
