"""What every verb does alike: where it looks, how it fails, what it prints where."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from cli_harness import Serinus
from scenes import busy
from small_fleet import Installation

from serinus.cli.app import app
from serinus.cli.reference import reference
from serinus.core.people import Access

DOCUMENT = Path(__file__).parents[2] / "docs" / "cli.md"


def verbs(command: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, below in (command or typer.main.get_command(app)).commands.items():
        if hasattr(below, "commands"):
            yield from verbs(below, (*path, name))
        else:
            yield (*path, name), below


VERBS = dict(verbs())
ARGUMENTS = {
    ("init",): ["card-fraud"],
    ("spec",): ["card-fraud"],
    ("diff",): [str(DOCUMENT)],
    ("deploy",): ["card-fraud@7"],
    ("explain",): ["card-fraud-r1"],
    ("promote",): ["card-fraud"],
    ("abort",): ["card-fraud", "--yes"],
    ("approve",): ["card-fraud"],
    ("rollback",): ["card-fraud", "--yes"],
    ("retire",): ["card-fraud", "--yes", "--reason", "replaced"],
    ("policy",): ["card-fraud"],
    ("logs",): ["card-fraud-6-1c04be"],
    ("predict",): ["card-fraud", "--row", "{}"],
    ("key", "create"): ["shop"],
    ("key", "revoke"): ["shop", "--yes"],
    ("token", "create"): ["ci"],
    ("token", "revoke"): ["ci", "--yes"],
}
LOCAL = {
    *(("env",), ("up",), ("down",), ("unit",), ("install",), ("backup",), ("restore",), ("replay",), ("plan",)),
    *(("outcomes", "import"), ("store", "copy"), ("token", "reset")),
}


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_verb_has_help_with_an_example_and_speaks_json(verb: tuple[str, ...], serinus: Serinus) -> None:
    said = serinus(*verb, "--help")
    assert said.code == 0
    assert f"\n    serinus {' '.join(verb)}" in said.out
    assert {"--json", "--home", "--server"} <= {o for p in VERBS[verb].params for o in p.opts}


@pytest.mark.parametrize("verb", sorted(VERBS.keys() - LOCAL), ids=" ".join)
def test_without_a_server_every_verb_says_how_to_start_one(
    verb: tuple[str, ...], tmp_path: Path, serinus: Serinus
) -> None:
    with socket.socket() as taken:  # bound but not listening: nothing answers there, and nobody else gets it
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        said = serinus("--server", address, *verb, *ARGUMENTS.get(verb, []), "--json")
    assert said.code == (2 if verb == ("diff",) else 1)  # where 1 says that there are differences
    assert said.out == ""
    assert json.loads(said.err) == {
        "error": f"Serinus does not answer at {address}",
        "hint": "Start it with `serinus up`.",
    }


def test_a_home_that_was_never_started_says_so(serinus: Serinus) -> None:
    said = serinus("status")
    assert said.code == 1
    assert "there is no Serinus home in" in said.err
    assert "serinus up" in said.err


@pytest.mark.parametrize("arguments", [["deploy"], ["nonsense"], ["status", "--nonsense"], ["logs"]])
def test_wrong_usage_is_2_in_words_and_in_json(arguments: list[str], serinus: Serinus) -> None:
    assert serinus(*arguments).code == 2
    said = serinus(*arguments, "--json")
    assert said.code == 2
    assert set(json.loads(said.err)) == {"error", "hint"}


def test_what_the_server_refuses_is_1_with_its_words_and_hint(installation: Installation, serinus: Serinus) -> None:
    said = serinus("promote", "card-fraud-r9", "--json")
    assert said.code == 1
    assert "card-fraud-r9" in json.loads(said.err)["error"]
    assert serinus("promote", "card-fraud-r9").err.startswith("error: ")


def test_the_home_is_found_before_and_behind_the_verb_and_by_the_environment(
    installation: Installation, serinus: Serinus, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir("/")
    home = str(installation.home.path)
    assert serinus("status").code == 1
    assert serinus("--home", home, "status").code == 0
    assert serinus("status", "--home", home).code == 0
    monkeypatch.setenv("SERINUS_HOME", home)
    assert serinus("status").code == 0
    assert serinus("--home", str(tmp_path / "other"), "status").code == 1  # what is said wins


def test_the_homes_token_is_never_sent_to_another_server(
    installation: Installation, serinus: Serinus, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = installation.addresses["api"]
    refused = serinus("--server", address, "status")
    assert refused.code == 1
    assert "this request needs a valid token" in refused.err
    monkeypatch.setenv("SERINUS_TOKEN", installation.token("bob", Access.VIEW))
    assert serinus("--server", address, "status").code == 0
    assert serinus("--server", "nonsense", "status").code == 2


def test_a_server_that_is_none_of_ours_is_told_apart(proxy: Any, serinus: Serinus) -> None:
    said = serinus("--server", f"http://127.0.0.1:{proxy.server_port}", "status")
    assert said.code == 1
    assert "may not be a Serinus server" in said.err


def test_a_destructive_verb_refuses_in_a_pipe_without_yes(
    installation: Installation, serinus: Serinus, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy(installation)
    for arguments in (["abort", "card-fraud"], ["rollback", "card-fraud"], ["token", "revoke", "admin"]):
        said = serinus(*arguments)
        assert said.code == 1
        assert "--yes" in said.err
    assert installation.store.orders("card-fraud-r3") == []
    assert serinus("abort", "card-fraud", "--yes", "--reason", "complaints").code == 0
    (order,) = installation.store.orders("card-fraud-r3")
    assert (order.kind, order.why) == ("abort", "complaints")


def test_a_pipe_gets_whole_lines_without_colour(installation: Installation, serinus: Serinus) -> None:
    busy(installation)
    out = serinus("explain", "card-fraud-r1").out
    assert "\x1b" not in out
    line = next(line for line in out.splitlines() if line.startswith("aborted, because the judge"))
    assert line.endswith("e-value 4,100, bound 1,000")


def test_a_reader_that_goes_away_is_no_error(installation: Installation) -> None:
    busy(installation)
    command = f"{sys.executable} -m serinus.cli events | true"
    found = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert "Traceback" not in found.stderr
    assert "BrokenPipe" not in found.stderr


def test_the_start_is_quick() -> None:
    """In processor time: how long the clock runs says more of the machine than of the program."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "serinus.cli", "--help"], check=True, capture_output=True, timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime - before.ru_utime < 0.6


def test_what_is_slow_to_import_is_imported_by_those_who_need_it() -> None:
    code = "import sys, serinus.cli.app; print(*sorted({'httpx', 'polars', 'rich', 'fastapi'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=os.environ)
    assert found.stdout.strip() == ""


def test_the_reference_is_not_stale() -> None:
    assert DOCUMENT.read_text() == reference(), "run: python -m serinus.cli.reference > docs/cli.md"
