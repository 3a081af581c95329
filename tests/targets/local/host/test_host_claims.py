"""What a zygote says of itself is a claim, what it writes is data, and what a model starts ends with its worker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import venv
from dataclasses import replace
from pathlib import Path

import kept
import pytest

from serinus.core.home import Home
from serinus.core.keys import ROUTER_HEADER, router_key
from serinus.core.placement import PlacementState
from serinus.core.release import Scale
from serinus.lib.processes import identity
from serinus.targets.local.host.trial_limits import TrialLimits
from serinus.targets.local.host.trial_zygotes import TrialZygotes
from serinus.targets.local.host.trials import Trials
from serinus.targets.local.host.unix_http import call
from serinus.targets.local.host.zygotes import key

MODEL = """
import os, sys

class Model:
    def predict(self, data, params=None):
        return [0.0] * len(data)

def _load_pyfunc(path):
    return Model()
"""

NAMES = """
import json, sys, time
for module in ("serinus_runtime.process.zygote", "serinus_runtime.process.trial_zygote"):
    found = sys.modules.get(module)
    if found is not None:
        def tell(control, _tell=found.tell, **words):
            if "pid" in words:
                words = {"pid": BYSTANDER}
            if "ended" in words:
                time.sleep(1000)
            control.send(json.dumps(words).encode())
        found.tell = tell
"""

LINKS = """
import os, sys
if "serinus_runtime.process.zygote" in sys.modules and "serinus_runtime.process.trial_zygote" not in sys.modules:
    nest = os.path.dirname(os.getcwd())
    for name in ("second-1-aaaaaa", "third-1-aaaaaa"):
        try:
            os.symlink(HOME, os.path.join(nest, name))
        except OSError:
            pass
    for place in (os.path.dirname(nest), os.path.join(os.path.dirname(nest), "own")):
        try:
            os.symlink(HOME, os.path.join(place, "planted"))
        except OSError:
            pass
"""


@pytest.fixture
def bystander():
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True) as process:
        yield process
        process.kill()


@pytest.fixture
def environment(tmp_path):
    """An environment of the home `h`; `hook` is what its zygotes run at their start."""

    def make(hook: str) -> str:
        root = tmp_path / "environment"
        venv.create(root, symlinks=True)
        (packages,) = root.glob("lib/python*/site-packages")
        (packages / "hook.pth").write_text("import hook\n")
        (packages / "hook.py").write_text(hook)
        (packages / "slowlib.py").write_text("")
        return kept.environment(Home(tmp_path / "h"), root)

    return make


def artifact(home: Home, name: str, code: str = MODEL) -> str:
    path = home.artifacts / name
    (path / "code").mkdir(parents=True)
    (path / "code" / f"m_{name.replace('-', '_')}.py").write_text("import slowlib\n" + code)
    flavor = {"loader_module": f"m_{name.replace('-', '_')}", "code": "code"}
    (path / "MLmodel").write_text(json.dumps({"flavors": {"python_function": flavor}}))
    return name


def place(hosted, environment, name, code=MODEL):
    release = replace(
        hosted.release(name),
        id=name, artifact_digest=artifact(hosted.home, f"{name}-code", code), environment_digest=environment,
    )  # fmt: skip
    hosted.target.place(release, Scale(keep_warm=True))
    return hosted.until(name, PlacementState.READY)


def with_zygote(hosted, environment, wait_until):
    place(hosted, environment, "first-1-aaaaaa")
    file = hosted.home.host / "zygotes" / f"{key(hosted.home.interpreter(environment))}.json"
    wait_until(lambda: file.exists() and "slowlib" in json.loads(file.read_text()))


def serves(hosted, placement):
    headers = {ROUTER_HEADER: router_key(hosted.home.secret.read_text(), placement.release)}
    return call(Path(placement.endpoint), "GET", "/v2/health/ready", None, headers, 10.0).status == 200


def test_a_pid_that_a_trials_zygote_names_is_neither_limited_nor_ended(tmp_path, environment, bystander):
    home = Home(tmp_path / "h")
    digest = environment(NAMES.replace("BYSTANDER", str(bystander.pid)))
    before = Path(f"/proc/{bystander.pid}/limits").read_text()
    zygotes = TrialZygotes(home)
    trials = Trials(home, zygotes=zygotes, limits=TrialLimits(seconds=10, memory_bytes=1 << 30))
    assert trials.loads(digest, artifact(home, "model")) is None
    zygotes.close()
    assert bystander.poll() is None
    assert Path(f"/proc/{bystander.pid}/limits").read_text() == before
    assert list(home.scratch.iterdir()) == []


def test_a_pid_that_a_workers_zygote_names_is_not_taken_for_a_worker(hosted, environment, bystander, wait_until):
    hosted.start("--survey", "0.2", runtime=None)
    digest = environment(NAMES.replace("BYSTANDER", str(bystander.pid)))
    with_zygote(hosted, digest, wait_until)
    second = place(hosted, digest, "second-1-aaaaaa")
    assert second.pid != bystander.pid
    assert serves(hosted, second)
    assert "named a process that is not its own" in (hosted.home.logs / "host.log").read_text()
    hosted.target.remove("second-1-aaaaaa")
    wait_until(lambda: identity(second.pid) is None)
    assert bystander.poll() is None


def test_links_that_a_zygote_puts_in_the_place_of_scratch_directories_lead_nowhere(hosted, environment, wait_until):
    hosted.home.token.write_text("t")
    hosted.start("--survey", "0.2", runtime=None)
    digest = environment(LINKS.replace("HOME", repr(str(hosted.home.path))))
    with_zygote(hosted, digest, wait_until)
    nest = hosted.home.scratch / key(hosted.home.interpreter(digest))
    wait_until(lambda: (nest / "second-1-aaaaaa").is_symlink())
    release = replace(
        hosted.release("second-1-aaaaaa"),
        artifact_digest=artifact(hosted.home, "second-code"),
        environment_digest=digest,
    )
    hosted.target.place(release)
    hosted.come_up(release.id)
    assert "second-1-aaaaaa was replaced by a link, which is removed" in (hosted.home.logs / "host.log").read_text()
    assert not (nest / "second-1-aaaaaa").is_symlink()
    assert hosted.home.token.read_text() == "t"
    assert not (hosted.home.scratch / "planted").is_symlink()
    assert not (hosted.home.scratch / "own" / "planted").is_symlink()
    assert sorted(path.name for path in hosted.home.path.glob("told*")) == []


LEAVES = (
    MODEL
    + """
def left():
    r, w = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(w, str(os.getpid()).encode())
            os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"])
        os._exit(0)
    os.wait()
    return os.read(r, 20).decode()

with open("left", "w") as file:
    file.write(left())
"""
)


@pytest.mark.parametrize("end", ["kill", "remove", "down"])
def test_what_a_worker_has_started_in_a_session_of_its_own_ends_with_it(hosted, environment, wait_until, end):
    hosted.start("--survey", "600", runtime=None)
    placement = place(hosted, environment(""), "first-1-aaaaaa", LEAVES)
    left = int((hosted.home.scratch / "own" / "first-1-aaaaaa" / "left").read_text())
    assert identity(left) is not None
    if end == "kill":
        os.kill(placement.pid, signal.SIGKILL)
    elif end == "remove":
        hosted.target.remove("first-1-aaaaaa")
    else:
        hosted.stop()
    wait_until(lambda: identity(left) is None, 20.0)
