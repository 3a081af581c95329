"""Tables in a pipe and on terminals of any width."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from serinus.cli.terminal import Terminal

RELEASE = "card-fraud-transactions-17-3f9a2c"
REASON = "recall .58 against .80 of the champion at the alert budget, which is more than may be lost; " * 4
COLUMNS = ["release", "state", "reason", "rollout"]
ROWS = [[RELEASE, "aborted", REASON, "card-fraud-transactions-r12"], ["b-1-1c04be", "promoted", "", "b-r1"]]


def drawn(width: int) -> list[str]:
    screen = io.StringIO()
    terminal = Terminal(as_json=False)
    terminal.console = Console(file=screen, force_terminal=True, width=width, color_system=None)
    terminal.table(COLUMNS, ROWS)
    return screen.getvalue().splitlines()


def test_in_a_pipe_a_row_is_a_line_and_a_long_cell_pads_no_other_row(capfd: pytest.CaptureFixture[str]) -> None:
    Terminal(as_json=False).table(COLUMNS, ROWS)
    head, first, second = capfd.readouterr().out.splitlines()
    assert first == f"{RELEASE}  aborted   {REASON.strip()}  card-fraud-transactions-r12"
    assert second == f"{'b-1-1c04be':33}  promoted          b-r1"
    assert head == f"{'release':33}  state     reason  rollout"


@pytest.mark.parametrize("width", [200, 120, 90, 80, 40])
def test_an_identifier_is_never_broken(width: int) -> None:
    text = "\n".join(drawn(width))
    assert RELEASE in text
    assert "card-fraud-transactions-r12" in text


def test_on_a_terminal_that_is_too_narrow_for_columns_a_row_is_a_list() -> None:
    lines = drawn(70)
    assert lines[0] == f"release: {RELEASE}"
    assert lines[-4:] == ["", "release: b-1-1c04be", "state: promoted", "rollout: b-r1"]
