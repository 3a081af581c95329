"""`docs/cli.md`, generated from the verbs themselves: `python -m serinus.cli.reference > docs/cli.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import typer

from serinus.cli.app import app

_PRELUDE = """# The command line

Generated from the code by `python -m serinus.cli.reference`; a test fails when it is stale.

Every verb takes `--home`, `--server`, `--ca`, `--json` and `--help`; the first four may also stand before the verb.
Answers go to stdout, errors to stderr: what was wrong, and what to do next. On a terminal there is colour (unless
`NO_COLOR` is set) and live progress; in a pipe there are plain lines. With `--json` an answer is one JSON document, or
a line of JSON each where it is a stream (`events`, `logs`, `audit`), and an error is `{"error", "hint"}` on stderr.
A verb that cannot be undone asks on a terminal, is answered by `--yes`, and refuses in a pipe without it.

| exit code | meaning |
|---|---|
| 0 | done; of `deploy` and `rollback`: promoted, or nothing was to be done |
| 1 | refused or failed; of `deploy`: aborted by a gate, the judge or a person; of `diff`: something would change |
| 2 | wrong usage: an option, a name or a file that cannot be read as what it should be; of `diff`: any failure |
| 130 | interrupted by Ctrl-C; a rollout that was being watched goes on |

| variable | meaning |
|---|---|
| `SERINUS_HOME` | like `--home` |
| `SERINUS_SERVER` | like `--server` |
| `SERINUS_TOKEN` | the token to use; without it the home's own is used, and only for the home's own server |
| `SERINUS_CA` | like `--ca` |
| `SERINUS_API_KEY` | the key of a caller of models, where Envoy asks for one |
| `SERINUS_CLIENT_CERT`, `SERINUS_CLIENT_KEY` | what `predict` and `replay` show where callers need a certificate; PEM |
"""


def reference() -> str:
    """The text of `docs/cli.md`."""
    root = typer.main.get_command(app)
    parts = [_PRELUDE.strip()]
    for name, command in _verbs(root, "serinus"):
        context = command.make_context(name, [], resilient_parsing=True)
        context.terminal_width = context.max_content_width = 100
        parts.append(f"## `{name}`\n\n```text\n{command.get_help(context).strip()}\n```")
    return "\n\n".join(parts) + "\n"


def _verbs(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    for verb, below in getattr(command, "commands", {}).items():
        if hasattr(below, "commands"):
            yield from _verbs(below, f"{name} {verb}")
        else:
            yield f"{name} {verb}", below


if __name__ == "__main__":
    sys.stdout.write(reference())
