"""The verbs of the command line and their options, to which text that calls them is held."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import typer

from serinus.cli.app import app


def verbs() -> Mapping[str, frozenset[str]]:
    """Verb (`deploy`, `outcomes import`; empty: `serinus` itself) to its options."""
    return dict(_walk(typer.main.get_command(app), ""))


def unknown(words: list[str], known: Mapping[str, frozenset[str]]) -> Iterable[str]:
    """What the command line does not have of a call, of which `words` are those after `serinus`."""
    verb = " ".join(words[:2]) if " ".join(words[:2]) in known else words[0]
    if verb not in known:
        return [f"serinus {verb}"]
    given = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    return [f"serinus {verb} {option}" for option in sorted(given - known[verb] - known[""])]


def _walk(command: Any, name: str) -> Iterator[tuple[str, frozenset[str]]]:
    below = getattr(command, "commands", None)
    options = frozenset(o for p in command.params for o in (*p.opts, *p.secondary_opts) if o.startswith("-"))
    yield name, options | {"--help", "-h"}
    for verb, inner in (below or {}).items():
        yield from _walk(inner, f"{name} {verb}".strip())
