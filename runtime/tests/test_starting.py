"""A process with a model's code has limits from its first step, and none of the variables of the one that starts it,
but for those that are named."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from serinus_runtime.process import starting

TELL = "import os; print(os.environ.get('LD_LIBRARY_PATH'), os.environ.get('PASSWORD'))"


@pytest.mark.parametrize(("variables", "told"), [((), "None None"), (("LD_LIBRARY_PATH", "ABSENT"), "/opt/lib None")])
def test_only_variables_that_are_named_are_passed_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variables: tuple[str, ...], told: str
) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/lib")
    monkeypatch.setenv("PASSWORD", "secret")
    python = Path(sys.executable)
    with (tmp_path / "said").open("wb") as output:
        process = starting.start(
            [str(python), "-I", "-S", "-c", TELL], python, tmp_path / "s", output, subprocess.DEVNULL, (), variables
        )
        assert process.wait(60) == 0
    assert (tmp_path / "said").read_text().strip() == told


def test_limits_are_there_before_the_command_runs(tmp_path: Path) -> None:
    def slowly() -> None:
        time.sleep(0.5)
        starting.limit(0, file_bytes=12345)

    tell = "import resource; print(resource.getrlimit(resource.RLIMIT_FSIZE)[0])"
    python = Path(sys.executable)
    with (tmp_path / "said").open("wb") as output:
        process = starting.start(
            [str(python), "-I", "-S", "-c", tell], python, tmp_path / "s", output, subprocess.DEVNULL, before=slowly
        )
        assert process.wait(60) == 0
    assert (tmp_path / "said").read_text().strip() == "12345"
