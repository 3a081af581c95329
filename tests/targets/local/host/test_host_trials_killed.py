"""Trials whose control process is killed: nothing of them goes on, whatever the model has done to get away."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import kept
import pytest
from descent import alive, end, started
from waiting import wait_until

from serinus.core.home import Home

SECONDS = 5.0
"""Within which nothing is left."""

ASKS = """
import sys
from pathlib import Path
from serinus.core.home import Home
from serinus.targets.local.host.trial_zygotes import TrialZygotes
from serinus.targets.local.host.trials import Trials

home = Home(Path(sys.argv[1]))
zygotes = TrialZygotes(home) if sys.argv[2] == "forked" else None
trials = Trials(home, zygotes=zygotes)
print(trials.loads(sys.argv[3], "model"), flush=True)
print(trials.reference(sys.argv[3], "model", ["x"], [[1.0]], None), flush=True)
"""

MLFLOW = """
class Model:
    def __init__(self, path):
        named = {}
        exec(open(f"{path}/model.py").read(), named)
        self.predict = named["predict"]
        self._model_impl = self
def load_model(path):
    return Model(path)
"""
PANDAS = """
class DataFrame:
    def __init__(self, rows, columns): self.rows = rows
    def astype(self, types): return self
    def __len__(self): return len(self.rows)
class Series: pass
"""
LEAVES = """
def leave():
    import ctypes, os, signal, time
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)
    for _ in range(2):
        if os.fork():
            return
        for away in (os.setsid, os.setpgrp):
            try: away()
            except OSError: pass
    time.sleep(600)
"""
MODEL = f"""{LEAVES}
def predict(frame):
    import time
    leave()
    time.sleep(600)
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "h")
    path = home.artifact("model")
    path.mkdir(parents=True)
    (path / "MLmodel").write_text(json.dumps({"flavors": {"python_function": {"loader_module": "mlflow.custom"}}}))
    (path / "model.py").write_text(MODEL)
    return home


@pytest.fixture
def environment(home: Home, tmp_path: Path) -> Callable[[str], str]:
    """environment(code): one whose `mlflow` runs `code` when it is imported; its digest."""

    def made(code: str) -> str:
        directory = tmp_path / "environment"
        venv.create(directory, symlinks=True)
        (packages,) = (directory / "lib").glob("python*/site-packages")
        (packages / "mlflow").mkdir()
        (packages / "mlflow" / "__init__.py").write_text(dedent(code))
        (packages / "mlflow" / "custom.py").touch()
        (packages / "mlflow" / "pyfunc.py").write_text(MLFLOW)
        (packages / "pandas.py").write_text(PANDAS)
        return kept.environment(home, directory)

    return made


@pytest.fixture
def asker(home: Home) -> Iterator[Callable[[str, str], subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start(how: str, environment: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", ASKS, str(home.path), how, environment]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True))
        return started[-1]

    yield start
    for process in started:
        end(process)
        assert process.stdout
        process.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize("how", ["alone", "forked"])
def test_nothing_of_a_trial_goes_on_when_the_process_that_asked_for_it_is_gone(
    environment: Callable[[str], str], asker: Callable[..., subprocess.Popen[str]], how: str, number: signal.Signals
) -> None:
    process = asker(how, environment(""))
    assert process.stdout
    assert process.stdout.readline() == "None\n"  # it loads
    # What guardians are forked from, the guardian, the zygote, the trial, and the two that it has left.
    left = started(process.pid, 6 if how == "forked" else 5)
    process.send_signal(number)
    process.wait(SECONDS)
    wait_until(lambda: not alive(left), SECONDS, "the end of all that was started")


def test_nothing_goes_on_of_what_libraries_leave_while_they_are_imported(
    environment: Callable[[str], str], asker: Callable[..., subprocess.Popen[str]]
) -> None:
    """A process that forks trials may lead sessions, and so may what a library of it starts."""
    process = asker("forked", environment(f"{LEAVES}\nleave()\nimport time\ntime.sleep(600)\n"))
    left = started(process.pid, 5)
    process.kill()
    process.wait(SECONDS)
    wait_until(lambda: not alive(left), SECONDS, "the end of all that was started")
