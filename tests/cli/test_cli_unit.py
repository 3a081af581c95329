from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from cli_harness import Serinus


def test_unit_prints_a_unit_for_the_home(serinus: Serinus, tmp_path: Path) -> None:
    said = serinus("--home", str(tmp_path / "h"), "unit")
    assert said.code == 0
    assert f"--home {tmp_path / 'h'} up --foreground" in said.out
    assert serinus("unit", "--json").json["unit"].endswith("WantedBy=default.target\n")


def test_a_unit_of_the_system_needs_a_user(serinus: Serinus) -> None:
    said = serinus("unit", "--system")
    assert said.code == 2
    assert "--user" in said.err


def test_version_is_that_of_the_distribution(serinus: Serinus) -> None:
    said = serinus("--version")
    assert (said.code, said.out) == (0, f"serinus {version('serinus')}\n")


def test_logs_go_to_stderr_or_to_files(serinus: Serinus) -> None:
    said = serinus("up", "--foreground", "--log-to", "nowhere")
    assert said.code == 2
    assert "stderr or files" in said.err
