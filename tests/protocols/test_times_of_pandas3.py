"""pandas 3 reads times in microseconds or seconds, where numpy lets those beyond nanoseconds become others.

In an interpreter of its own, since the project's environment has one pandas. The project's own pandas is asked the same
in `test_input_kinds`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RUNTIME = Path(__file__).parents[2] / "runtime" / "src"
UV = Path(sys.executable).with_name("uv")
ASK = """
import json, sys
import pandas
from serinus_runtime.base.errors import RequestError
from serinus_runtime.values.frames import Frames
from serinus_runtime.artifact.signature import Column

assert pandas.__version__.startswith("3."), pandas.__version__
frames, told = Frames([Column("a", "datetime")]), []
for text in json.loads(sys.argv[1]):
    try:
        told.append(frames.frame([[text]])["a"].astype(str).tolist()[0])
    except RequestError as error:
        told.append(str(error))
print(json.dumps(told))
"""


@pytest.mark.long
def test_times_beyond_nanoseconds_are_refused_and_others_exact() -> None:
    texts = ["2024-05-06", "2024-05-06T07:08:09.123456789", "9999-12-31", "0001-01-01", "x"]
    command = [str(UV), "run", "-q", "--no-project", "--isolated", "--python", sys.executable, "--with", "pandas>=3,<4"]
    done = subprocess.run(
        [*command, "python", "-c", ASK, json.dumps(texts)],
        env={"PYTHONPATH": str(RUNTIME), "PATH": "/usr/bin:/bin", **_index()},
        capture_output=True, text=True, timeout=150,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    near, exact, far, early, none = json.loads(done.stdout)
    assert near == "2024-05-06"
    assert exact == "2024-05-06 07:08:09.123456789"
    assert "1677-09-21" in far
    assert "1677-09-21" in early
    assert "not an ISO 8601 time" in none


def _index() -> dict[str, str]:
    """What says where packages come from, and where they are kept."""
    return {
        name: value for name, value in os.environ.items() if name.startswith(("UV_", "PIP_", "HOME", "XDG_", "SSL_"))
    }
