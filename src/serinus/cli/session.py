"""The session of a verb: the address of Serinus, the output, and the common options.

A verb is a function whose first parameter is a `Session`. `add_verb` adds `--home`, `--server`, `--ca` and `--json`,
which may also stand before the verb.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from serinus.cli.terminal import Terminal
from serinus.core.errors import Unavailable
from serinus.core.home import Home

if TYPE_CHECKING:
    import ssl

    from serinus.cli.client import Client
    from serinus.targets.local.supervisor.settings import Settings

_HOME_HELP = "Directory that holds all state. Default: .serinus in the current directory."
_CA_HELP = "Trust only these certificate authorities, in PEM, instead of the system's."
_SERVER_HELP = "Address of another Serinus API. Its token is taken from SERINUS_TOKEN."

RootHome = Annotated[
    Path | None, typer.Option("--home", metavar="DIR", envvar="SERINUS_HOME", show_default=False, help=_HOME_HELP)
]
RootServer = Annotated[
    str | None, typer.Option("--server", metavar="URL", envvar="SERINUS_SERVER", show_default=False, help=_SERVER_HELP)
]
RootCa = Annotated[
    Path | None, typer.Option("--ca", metavar="FILE", envvar="SERINUS_CA", show_default=False, help=_CA_HELP)
]
# After a verb they do not read the environment, which would override options before the verb.
HomePath = Annotated[Path | None, typer.Option("--home", metavar="DIR", show_default=False, help=_HOME_HELP)]
Server = Annotated[str | None, typer.Option("--server", metavar="URL", show_default=False, help=_SERVER_HELP)]
Ca = Annotated[Path | None, typer.Option("--ca", metavar="FILE", show_default=False, help=_CA_HELP)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON; errors are JSON on stderr.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
Why = Annotated[
    str, typer.Option("--reason", "-m", metavar="TEXT", help="The reason, which is kept in the audit record.")
]


@dataclass(frozen=True, slots=True)
class Shared:
    """The options before the verb."""

    home: Path | None = None
    server: str | None = None
    ca: Path | None = None
    as_json: bool = False


class Session:
    """The session of a verb."""

    def __init__(self, home: Home, server: str | None, terminal: Terminal, ca: Path | None = None) -> None:
        self.home = home
        self.server = server
        self._ca = ca
        self.out = terminal

    @cached_property
    def client(self) -> Client:
        """A client of the API. Raises Unavailable where the home was never started."""
        from serinus.cli.client import Client

        if self.server:
            # The token of the local home must not be sent to other servers.
            return Client(self.server, os.environ.get("SERINUS_TOKEN", ""), ca=self._ca)
        # Its port is not used, because any user of the machine may listen there while it is stopped.
        return Client(self._local("api"), os.environ.get("SERINUS_TOKEN") or self._token(), self._resolved)

    @property
    def owner_client(self) -> Client:
        """A client with the rights of the home's owner, which the home's secret proves. It uses the home's socket
        only."""
        from serinus.cli.client import Client

        try:
            secret = self.home.secret.read_text().strip()
        except FileNotFoundError:
            raise Unavailable(
                f"there is no Serinus home in {self.home.path}", hint="`serinus up` creates it."
            ) from None
        return Client(self._local("api"), secret, self._resolved, scheme="Home")

    def envoy(self) -> str:
        """Returns the address at which models answer. Raises Unavailable where no process of this home listens there,
        because a request may contain confidential data and a key."""
        if self.server:
            from serinus.cli.answers import read
            from serinus.resources import Fleet

            return read(Fleet, self.client.get("/v1/status")).addresses["envoy"]
        address = self._local("envoy")
        # Where gateways of a cluster answer, the home names an address that is not one of this machine.
        if not self.runs("envoy" if self._settings.serves else "control"):
            raise Unavailable(f"Serinus is not running in {self.home.path}", hint="Start it with `serinus up`.")
        return address

    def runs(self, process: str) -> bool:
        """Whether the process is running, by the supervisor's record."""
        from serinus.targets.local.supervisor import state

        return state.find(self._resolved, process) is not None

    def callers_context(self, url: str) -> ssl.SSLContext | None:
        """Returns the TLS context of a caller of models, with the client certificate that the environment names. None:
        plain HTTP. Raises InvalidInput."""
        if not url.startswith("https:"):
            return None
        from serinus.cli.trust import present, trusting
        from serinus.targets.local.supervisor import tls

        # For this machine, the certificate of the home is compared. For others, certificate authorities are used.
        others = self.server or self._ca or not self._settings.serves
        context = trusting(self._ca) if others else tls.own_context(self._resolved)
        return present(context, os.environ.get("SERINUS_CLIENT_CERT"), os.environ.get("SERINUS_CLIENT_KEY"))

    @property
    def _resolved(self) -> Home:
        """Returns the home with the path that `up` used, from which sockets and processes get their names."""
        return Home(self.home.path.resolve())

    def _local(self, name: str) -> str:
        return self._settings.url(name)

    @property
    def _settings(self) -> Settings:
        from serinus.targets.local.supervisor import settings as chosen

        settings = chosen.load(self.home)
        if settings is None or "api" not in settings.ports:
            raise Unavailable(
                f"there is no Serinus home in {self.home.path}",
                hint="Start Serinus with `serinus up`, or name its home with --home.",
            )
        return settings

    def _token(self) -> str:
        return self.home.token.read_text().strip() if self.home.token.exists() else ""


Verb = Callable[..., None]


def add_verb(app: typer.Typer, verb: Verb, name: str | None = None) -> None:
    """Adds a verb. Typer reads the signature of a function, so it is extended by the common options."""

    @wraps(verb)
    def wrapped(
        context: typer.Context, home: Path | None, server: str | None, ca: Path | None, as_json: bool, **given: Any
    ) -> None:
        before: Shared = context.find_root().obj
        shared = replace(
            before,
            home=home or before.home,
            server=server or before.server,
            ca=ca or before.ca,
            as_json=as_json or before.as_json,
        )
        path = (shared.home or Path(".serinus")).absolute()
        verb(Session(Home(path), shared.server, Terminal(as_json=shared.as_json), shared.ca), **given)

    own = list(inspect.signature(verb, eval_str=True).parameters.values())[1:]
    common = [
        _option("home", HomePath, None),
        _option("server", Server, None),
        _option("ca", Ca, None),
        _option("as_json", AsJson, False),
    ]
    context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    parameters = [context, *(p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*own, *common))]
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {p.name: p.annotation for p in parameters}
    app.command(name or verb.__name__)(wrapped)


def _option(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def part(name: str) -> str:
    """Returns `name` as one component of a path of the API."""
    return quote(name, safe="")
