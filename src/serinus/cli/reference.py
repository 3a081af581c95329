"""`docs/cli.md`, which is generated from the verbs: `python -m serinus.cli.reference > docs/cli.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import typer

from serinus.cli.app import app

_PRELUDE = """# The command line

Generated from the code by `python -m serinus.cli.reference`; a test fails when it is stale.

Every verb has the options `--home`, `--server`, `--ca`, `--json` and `--help`. The first four may also stand before the
verb. Results are written to stdout. Errors are written to stderr, and say what was wrong and what to do next. On a
terminal, output is coloured (unless `NO_COLOR` is set) and progress is redrawn. In a pipe, output consists of plain
lines. With `--json`, the output is one JSON document, or one document in each line for streams (`events`, `logs`,
`audit`). An error is then `{"error", "hint"}` on stderr. A verb that cannot be undone asks for confirmation. `--yes`
confirms it, and is required where there is no terminal.

| exit code | meaning |
|---|---|
| 0 | Done. For `deploy` and `rollback`: promoted, or there was nothing to do. |
| 1 | Refused or failed. `deploy`: aborted by a gate, the judge or a person. `diff`: a difference. `plan`: a mistake. |
| 2 | Wrong usage: an option, a name or a file is not valid. For `diff` and `plan`: any failure. |
| 130 | Interrupted by Ctrl-C. A rollout that was being watched continues. |

| variable | meaning |
|---|---|
| `SERINUS_HOME` | The value of `--home`. |
| `SERINUS_SERVER` | The value of `--server`. |
| `SERINUS_TOKEN` | The token to use. The default is the home's own, which is never sent to another server. |
| `SERINUS_CA` | The value of `--ca`. |
| `SERINUS_API_KEY` | The API key for `predict` and `replay`, where callers need one. |
| `SERINUS_CLIENT_CERT`, `SERINUS_CLIENT_KEY` | The client certificate of `predict` and `replay`, in PEM. |
"""


def reference() -> str:
    """Returns the text of `docs/cli.md`."""
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
