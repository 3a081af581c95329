"""Leaves out whole rollouts where the checks have a time limit from outside, as .ci/run has, that they would pass.

A plugin of pytest. SERINUS_TEST_DEADLINE is the time at which the checks must have ended, in seconds since 1970.
"""

from __future__ import annotations

import os
import time

import pytest

ENOUGH = 600
"""Seconds that a test may begin with: its own time, and that of the checks that follow."""
_skipped: list[str] = []


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    deadline = os.environ.get("SERINUS_TEST_DEADLINE")
    if not deadline or item.get_closest_marker("slow") is None:
        return
    if float(deadline) - time.time() < ENOUGH:
        _skipped.append(item.nodeid)
        pytest.skip(f"less than {ENOUGH} s are left for the checks")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _skipped:
        terminalreporter.section("NO TIME WAS LEFT FOR WHOLE ROLLOUTS", red=True)
        terminalreporter.line(
            f"NOT RUN, as less than {ENOUGH} s are left: {len(_skipped)}. `make test-slow` runs them."
        )
        for name in _skipped:
            terminalreporter.line(name)
