"""Trials that are forked from a process with the model's libraries in it: each as alone as a fresh interpreter is."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import venv
from pathlib import Path
from textwrap import dedent, indent

import kept
import pytest

from serinus.core.errors import Unbuildable
from serinus.core.home import Home
from serinus.targets.local.host.trial_limits import TrialLimits
from serinus.targets.local.host.trial_zygotes import TrialZygotes
from serinus.targets.local.host.trials import Trials

_LIBRARIES = {
    "mlflow/__init__.py": "",
    "mlflow/pyfunc.py": """
        import os
        IMPORTED_BY = os.getpid()
        class Model:
            def __init__(self, path):
                named = {}
                exec(open(f"{path}/model.py").read(), named)
                self.predict = named["predict"]
                self._model_impl = self
        def load_model(path):
            return Model(path)
    """,
    "mlflow/custom.py": "",
    "pandas.py": """
        class DataFrame:
            def __init__(self, rows, columns):
                self.rows, self.columns = rows, columns
            def astype(self, types):
                return self
            def __len__(self):
                return len(self.rows)
        class Series: pass
    """,
}
"""As much of them as a trial needs: the real ones take seconds to import."""

_MODEL = """
import os, subprocess, sys, time
from pathlib import Path

seen = []

def predict(frame):
    return [float(score(frame.rows[0][0]))]

def score(x):
"""


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "h")


@pytest.fixture
def environment(home, tmp_path):
    """Its digest."""
    directory = tmp_path / "environment"
    venv.create(directory, symlinks=True)
    (packages,) = (directory / "lib").glob("python*/site-packages")
    for name, source in _LIBRARIES.items():
        (packages / name).parent.mkdir(exist_ok=True)
        (packages / name).write_text(dedent(source))
    return kept.environment(home, directory)


@pytest.fixture
def zygotes(home):
    zygotes = TrialZygotes(home)
    yield zygotes
    zygotes.close()


@pytest.fixture
def trials(home, zygotes):
    return Trials(home, zygotes=zygotes, limits=TrialLimits(seconds=20))


@pytest.fixture
def model(home):
    def save(score, name="model"):
        """A model with this body of the function that gives the score of `x`."""
        path = home.artifact(name)
        path.mkdir(parents=True)
        (path / "MLmodel").write_text(json.dumps({"flavors": {"python_function": {"loader_module": "mlflow.custom"}}}))
        (path / "model.py").write_text(_MODEL + indent(dedent(score), "    "))
        return name

    return save


@pytest.fixture
def asked(environment):
    def ask(trials, path, x=0.0):
        (score,) = trials.reference(environment, path, ["x"], [[x]], None)
        return score

    return ask


def zygote_of(home):
    """The pid of the only one there is."""
    found = []
    for status in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            told = status.read_bytes()
            if b"serinus_runtime.process.trial_zygote" in told and str(home.path).encode() in told:
                found.append(int(status.parent.name))
        except OSError:
            continue
    (pid,) = found
    return pid


def test_trials_of_a_model_that_has_loaded_are_forked_and_know_nothing_of_each_other(
    home, trials, model, environment, asked
):
    path = model("""
        seen.append(1)
        return sys.modules["mlflow.pyfunc"].IMPORTED_BY + len(seen) / 4
    """)
    assert trials.loads(environment, path) is None
    zygote = zygote_of(home)
    assert [asked(trials, path) for _ in range(2)] == [zygote + 0.25] * 2


def test_a_trial_of_another_model_is_a_process_of_its_own(home, trials, model, environment, asked):
    one, other = model("return os.getppid()"), model("return os.getppid()", "other")
    trials.loads(environment, one)
    zygote = zygote_of(home)
    assert asked(trials, one) == zygote
    assert asked(trials, other) != zygote


def test_a_forked_trial_may_do_no_more_than_another(home, trials, zygotes, model, environment, asked):
    """Neither the home's secret, nor another model's files, nor what another trial writes."""
    home.secret.parent.mkdir(parents=True, exist_ok=True)
    home.secret.write_text("a")
    other = model("return 1.0", "other")
    path = model(f"""
        refused = 0
        beside = Path.cwd().parent
        for try_it in (
            Path({str(home.secret)!r}).read_text,
            Path({str(home.artifact(other) / "MLmodel")!r}).read_text,
            (beside / "note").touch,
            lambda: Path(f"/proc/{{os.getppid()}}/environ").read_bytes(),
        ):
            try:
                try_it()
            except OSError:
                refused += 1
        return refused
    """)
    trials.loads(environment, path)
    assert asked(trials, path) == 4
    zygotes.close()
    assert asked(trials, path) == 4


def test_the_end_of_a_forked_trial_is_told_as_that_of_any(trials, model, environment, asked):
    path = model("""
        if x == 1: os.abort()
        if x == 2: os._exit(3)
        if x == 3: raise ValueError("4111 1111 1111 1111")
        print("not the answer")
        return x
    """)
    trials.loads(environment, path)
    with pytest.raises(Unbuildable, match="killed by SIGABRT: Fatal Python error: Aborted"):
        asked(trials, path, 1.0)
    with pytest.raises(Unbuildable, match="ended itself with exit status 3"):
        asked(trials, path, 2.0)
    with pytest.raises(Unbuildable, match=r": the model failed on the rows: ValueError$"):
        asked(trials, path, 3.0)
    assert asked(trials, path, 4.0) == 4.0


def test_a_forked_trial_that_takes_too_long_is_killed_with_all_that_it_started(
    home, zygotes, model, wait_until, environment, asked
):
    path = model("""
        if not x: return os.getppid()
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", "left-behind"])
        time.sleep(600)
    """)
    trials = Trials(home, zygotes=zygotes, limits=TrialLimits(seconds=3))
    trials.loads(environment, path)
    zygote = zygote_of(home)
    with pytest.raises(Unbuildable, match="longer than 3 s and was killed"):
        asked(trials, path, 1.0)
    assert asked(trials, path) == zygote
    wait_until(lambda: not children_of(zygote))


def test_what_a_forked_trial_leaves_running_is_killed_when_it_ends(home, trials, model, wait_until, environment, asked):
    path = model("""
        return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid
    """)
    trials.loads(environment, path)
    left = int(asked(trials, path))
    wait_until(lambda: not Path(f"/proc/{left}").exists() or state_of(left) == "Z")


@pytest.mark.parametrize("leaves", ["os.setsid()", "os.setpgid(0, 0)"])
def test_what_a_trial_has_started_cannot_leave_its_group(home, trials, model, environment, asked, leaves):
    """Its group is how it is ended."""
    path = model(f"""
        try:
            {leaves}
        except PermissionError:
            pass
        pid = os.fork()
        if not pid:
            try:
                {leaves}
            except PermissionError:
                os._exit(7)
            os._exit(8)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    """)
    assert asked(trials, path) == 7
    trials.loads(environment, path)
    assert zygote_of(home)
    assert asked(trials, path) == 7


def test_a_forked_trial_has_the_limits_of_the_one_who_asks(home, zygotes, model, environment, asked):
    path = model("""
        if x: bytearray(1 << 30)
        return os.getppid()
    """)
    wide, narrow = (Trials(home, zygotes=zygotes, limits=TrialLimits(memory_bytes=most)) for most in (8 << 30, 1 << 29))
    wide.loads(environment, path)
    zygote = zygote_of(home)
    assert asked(wide, path, 1.0) == zygote
    with pytest.raises(Unbuildable, match="MemoryError"):
        asked(narrow, path, 1.0)
    assert asked(narrow, path) == zygote


def test_a_forked_trial_does_nothing_before_it_has_its_limits(home, zygotes, model, environment, asked):
    class SlowLimits(TrialLimits):
        def put_on(self, pid):
            time.sleep(0.5)
            super().put_on(pid)

    path = model("""
        import resource
        return resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    """)
    trials = Trials(home, zygotes=zygotes, limits=SlowLimits(file_bytes=12345))
    Trials(home, zygotes=zygotes).loads(environment, path)
    zygote = zygote_of(home)
    assert asked(trials, path) == 12345
    assert zygote_of(home) == zygote


def test_forked_trials_give_way_to_the_workers_together_with_their_zygote(home, trials, model, environment, asked):
    """A session of their own would be a group of the scheduler that gives way to nobody."""
    path = model("return os.getsid(0) if x else os.getpriority(os.PRIO_PROCESS, 0)")
    trials.loads(environment, path)
    zygote = zygote_of(home)
    assert asked(trials, path, 1.0) == zygote
    nice = TrialLimits().nice
    assert asked(trials, path) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + nice)
    groups = [Path(f"/proc/{one}/autogroup") for one in (zygote, "self")]
    if groups[0].exists() and (words := groups[0].read_text().split()):  # else sessions are no groups
        assert int(words[-1]) == min(19, int(groups[1].read_text().split()[-1]) + nice)


def test_where_the_zygote_has_gone_the_trial_is_a_process_of_its_own(home, trials, model, environment, asked):
    path = model("return os.getppid()")
    trials.loads(environment, path)
    zygote = zygote_of(home)
    os.kill(zygote, signal.SIGKILL)
    parents = {asked(trials, path) for _ in range(2)}
    assert len(parents) == 2
    assert zygote not in parents
    assert list(home.scratch.iterdir()) == []


def test_a_zygote_that_nobody_needs_any_more_is_gone_and_leaves_nothing(home, model, wait_until, environment):
    path = model("return os.getppid()")
    zygotes = TrialZygotes(home, idle=1.0)
    Trials(home, zygotes=zygotes).loads(environment, path)
    pid = zygote_of(home)
    wait_until(lambda: not Path(f"/proc/{pid}").exists() and list(home.scratch.iterdir()) == [])
    assert zygotes.take(home.interpreter(environment), home.artifact(path)) is None


def test_what_a_killed_process_left_of_its_trials_is_removed_by_the_next(home):
    for name in (".trials-a/.trial-b", ".trial-c", "workers"):
        (home.scratch / name).mkdir(parents=True)
    TrialZygotes(home)
    assert [left.name for left in home.scratch.iterdir()] == ["workers"]


def test_of_two_that_nobody_needs_the_later_one_is_kept(home, trials, model, environment, asked):
    one, other = model("return os.getppid()"), model("return os.getppid()", "other")
    trials.loads(environment, one)
    trials.loads(environment, other)
    assert asked(trials, other) == zygote_of(home)


def test_two_at_once_do_not_share_one(home, trials, model, environment, asked):
    path = model("""
        time.sleep(1)
        return os.getppid()
    """)
    trials.loads(environment, path)
    zygote, parents = zygote_of(home), []
    threads = [threading.Thread(target=lambda: parents.append(asked(trials, path))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(parents)) == 2
    assert zygote in parents


def test_libraries_that_leave_threads_are_not_forked_and_not_tried_again(
    home, zygotes, trials, model, environment, asked, caplog, tmp_path
):
    """A lock that such a thread holds would be held for ever in the child."""
    (library,) = (home.environments / environment).glob("lib/python*/site-packages/mlflow/custom.py")
    library.write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
    )
    path = model("return os.getppid()")
    with caplog.at_level("INFO"):
        assert trials.loads(environment, path) is None
    assert "start threads when they are imported" in caplog.text
    assert len({asked(trials, path) for _ in range(2)}) == 2
    assert list(home.scratch.iterdir()) == []
    library.write_text("")
    assert zygotes.start(home.interpreter(environment), home.artifact(path), TrialLimits()) is None
    elsewhere = kept.environment(home, tmp_path / "environment", "elsewhere")
    trials.loads(elsewhere, path)
    assert zygotes.take(home.interpreter(elsewhere), home.artifact(path)) is not None


def children_of(pid: int) -> str:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text()


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
