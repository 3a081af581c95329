"""The application with all verbs, and the handling of errors."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from serinus.cli.session import AsJson, RootCa, RootHome, RootServer, Shared, Verb, add_verb
from serinus.cli.verbs import (
    audit,
    backup,
    deploy,
    diff,
    disk,
    down,
    env,
    events,
    explain,
    init,
    install,
    key,
    login,
    logs,
    orders,
    outcomes,
    plan,
    policy,
    predict,
    prune,
    releases,
    replay,
    retire,
    rollback,
    spec,
    status,
    store,
    token,
    unit,
    up,
)
from serinus.core.errors import InvalidInput, SerinusError

app = typer.Typer(
    name="serinus",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # Plain help starts faster, and looks the same in a pipe.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"serinus {version('serinus')}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    home: RootHome = None,
    server: RootServer = None,
    ca: RootCa = None,
    as_json: AsJson = False,
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Deploy models from MLflow into production: gates, canary, promotion, rollback.

    \b
      serinus up                                 start everything on this machine
      serinus deploy card-fraud@7                take a version through gates and canary to full traffic
      serinus status                             is anything wrong?
      serinus explain card-fraud-r12             why was it aborted?

    Exit codes: 0 done; 1 refused or failed; 2 wrong usage; 130 interrupted. Colour obeys NO_COLOR.
    """
    context.obj = Shared(home, server, ca, as_json)


outcomes_app = typer.Typer(no_args_is_help=True, help="Import outcomes, and attach them to predictions.")
key_app = typer.Typer(no_args_is_help=True, help="API keys of callers, and the models that each key may ask.")
store_app = typer.Typer(no_args_is_help=True, help="Copy a store from SQLite to PostgreSQL, or back.")
token_app = typer.Typer(no_args_is_help=True, help="Named tokens: who may view, deploy, approve, or administer.")

_verbs: tuple[Verb, ...] = (
    up.up,
    down.down,
    unit.unit,
    install.install,
    backup.backup,
    backup.restore,
    env.env,
    login.login,
    init.init,
    spec.spec,
    diff.diff,
    plan.plan,
    deploy.deploy,
    status.status,
    releases.releases,
    explain.explain,
    orders.promote,
    orders.abort,
    orders.approve,
    rollback.rollback,
    retire.retire,
    policy.policy,
    logs.logs,
    predict.predict,
    events.events,
    audit.audit,
    disk.disk,
    prune.prune,
    replay.replay,
)
for _verb in _verbs:
    add_verb(app, _verb)

add_verb(outcomes_app, outcomes.import_, "import")
add_verb(outcomes_app, outcomes.check)
add_verb(key_app, key.create)
add_verb(key_app, key.list_, "list")
add_verb(key_app, key.revoke)
add_verb(store_app, store.copy)
add_verb(token_app, token.create)
add_verb(token_app, token.list_, "list")
add_verb(token_app, token.revoke)
add_verb(token_app, token.reset)
app.add_typer(outcomes_app, name="outcomes")
app.add_typer(key_app, name="key")
app.add_typer(store_app, name="store")
app.add_typer(token_app, name="token")


def run(arguments: Sequence[str]) -> int:
    """Runs the command line and returns the exit code."""
    as_json = "--json" in arguments
    try:
        return int(app(list(arguments), prog_name="serinus", standalone_mode=False) or 0)
    except typer.Abort:
        return _fail("Nothing was done, because it was not confirmed.", "", 1, as_json)
    except typer.TyperException as error:
        if not as_json:
            error.show()  # type: ignore[attr-defined]  # every one of them has it; the base class does not say so
            return 2
        return _fail(error.format_message(), "`serinus VERB --help` shows its usage.", 2, as_json)
    except SerinusError as error:
        return _fail(error.message, error.hint, 2 if isinstance(error, InvalidInput) else 1, as_json)
    except BrokenPipeError:
        # The reader of the output has ended. That is not an error, and the interpreter must not try to flush again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # For example a full disk, or a file without write permission.
        return _fail(f"{error.filename or 'a file'}: {error.strerror or type(error).__name__}", "", 1, as_json)


def _fail(error: str, hint: str, code: int, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"error": error, "hint": hint}), file=sys.stderr)
        return code
    from serinus.cli.terminal import complain

    complain(error, hint)
    return code
