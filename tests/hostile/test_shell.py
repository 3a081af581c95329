"""The attacks' own tool: a model whose worker runs what it is sent, so that "refused" is an answer of the walls."""

from __future__ import annotations

import os

import pytest
from hostile_serinus import Shell

pytestmark = pytest.mark.long


def test_code_that_is_sent_runs_in_the_confined_worker(shell: Shell) -> None:
    told = shell.run("import os; print(os.getuid(), os.getpid(), NAME)", NAME="given").split()
    assert told[0] == str(os.getuid())
    assert told[2] == "given"
    assert shell.serinus.placement(shell.release).pid == int(told[1])
