"""The locations from which the control process downloads model files.

MLflow has the location from whoever registered the version. Without a check, files of this machine could be read with
the rights of the control plane and become part of a model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from serinus.core.errors import Unbuildable


class Places(Enum):
    """Which locations are allowed."""

    OWN = "own"
    """Only files that the bundled server keeps, from that server."""
    REMOTE = "remote"
    """That server and object stores, for a team's server. Paths of this machine are refused."""
    ANY = "any"
    """Also local files, for a database or directory that this user has chosen as the registry."""

    @classmethod
    def of(cls, uri: str, *, bundled: bool) -> Places:
        """Returns the locations that are allowed for a tracking URI."""
        if bundled:
            return cls.OWN
        return cls.REMOTE if uri.startswith(("http://", "https://")) else cls.ANY


_OF_THE_SERVER = ("mlflow-artifacts", "models", "runs")
"""Schemes of the server. `models` and `runs` are resolved to other locations."""
_OF_THIS_MACHINE = ("", "file")

_WITH_CREDENTIALS = ("mlflow-artifacts", "http", "https")
"""Schemes to whose servers MLflow's client sends the credentials of the registry."""

_in_force: ContextVar[Places] = ContextVar("places", default=Places.ANY)
_server: ContextVar[str] = ContextVar("server", default="")


@contextmanager
def only(places: Places, uri: str) -> Iterator[None]:
    """A context manager in which MLflow's client opens artifacts at allowed locations only, and raises Unbuildable
    elsewhere.

    `uri` is that of the registry. Only its server gets its credentials.
    """
    _watch()
    before, server_before = _in_force.set(places), _server.set(_host(uri))
    try:
        yield
    finally:
        _in_force.reset(before)
        _server.reset(server_before)


def _watch() -> None:
    """Wraps all artifact repositories of MLflow's client, which finds them in one table of schemes."""
    from mlflow.store.artifact import artifact_repository_registry as mlflows

    table: Any = mlflows.get_registered_artifact_repositories()
    for scheme, opened in table.items():
        if getattr(opened, "func", None) is not _checked:
            table[scheme] = partial(_checked, scheme, opened)


def _checked(scheme: str, opened: Callable[..., Any], *words: Any, **options: Any) -> Any:
    places = _in_force.get()
    if places is Places.OWN and scheme not in _OF_THE_SERVER:
        raise Unbuildable(
            "The files of this version are not in the MLflow server of Serinus, and files are taken only from there.",
            hint="Log the model in an experiment without an artifact location, and register that version.",
        )
    if places is Places.REMOTE and scheme in _OF_THIS_MACHINE:
        raise Unbuildable(
            "The files of this version are at a path of another machine, from which Serinus does not read.",
            hint="Have the MLflow server serve artifacts (`mlflow server --serve-artifacts`), and log the model again.",
        )
    host = _host(str(words[0] if words else options.get("artifact_uri", "")))
    if places is not Places.ANY and scheme in _WITH_CREDENTIALS and host not in ("", _server.get()):
        raise Unbuildable(
            "The files of this version are on another server than the registry, and that server would get the "
            "registry's credentials.",
            hint="Log the model again, in an experiment whose artifacts are on the registry's own server.",
        )
    return opened(*words, **options)


def _host(uri: str) -> str:
    """Returns the host and port. Empty: there is none."""
    return urlsplit(uri).netloc.rpartition("@")[2].lower()
