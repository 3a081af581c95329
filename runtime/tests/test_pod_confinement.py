"""A model in a pod that attacks: the supervisor, the zygote and the other workers, and the files of the container."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pods import SOURCE, RunningPod, until

from serinus_runtime.isolation import landlock

pytestmark = [
    pytest.mark.skipif(landlock.abi() < 1, reason="this kernel has no Landlock"),
    pytest.mark.timeout(120),
]

SHELL = """
import base64, json

class Model:
    def predict(self, data, params=None):
        code = base64.b64decode(data["code"][0]).decode()
        found = {}
        exec(code, found)
        return [found.get("answer", "nothing")]

def _load_pyfunc(path):
    return Model()
"""
TRIED = """
import ctypes, os, resource, signal, socket
libc = ctypes.CDLL(None, use_errno=True)
def called(name, *arguments):
    if getattr(libc, name)(*arguments) == -1:
        raise OSError(ctypes.get_errno(), name)
def tried(attempt):
    try:
        attempt()
    except OSError as error:
        return type(error).__name__
    return "done"
"""
ON_A_PROCESS = {
    "a signal": "os.kill(PID, signal.SIGTERM)",
    "a look whether it is there": "os.kill(PID, 0)",
    "a signal to its group": "os.killpg(PID, signal.SIGKILL)",
    "a signal to its thread": "called('tgkill', PID, PID, 15)",
    "a signal by descriptor": "called('syscall', 424, called('syscall', 434, PID, 0), 15, 0, 0)",
    "tracing": "called('ptrace', 16, PID, 0, 0)",
    "its memory": "open(f'/proc/{PID}/mem', 'rb')",
    "its variables": "open(f'/proc/{PID}/environ').read()",
    "its files": "os.listdir(f'/proc/{PID}/fd')",
    "its limits": "resource.prlimit(PID, resource.RLIMIT_CPU, (1, 1))",
    "its priority": "os.setpriority(os.PRIO_PROCESS, PID, 19)",
    "its chance of being killed": "open(f'/proc/{PID}/oom_score_adj', 'w').write('1000')",
}
ON_THE_CONTAINER = {
    "the termination message": "open(MESSAGE, 'w')",
    "the scratch of the zygote": "open(SCRATCH + '/zygote/planted', 'w')",
    "a directory beside the scratch": "os.mkdir(SCRATCH + '/planted')",
    "the token for collectors": "open(TOKEN)",
    "the artifact": "open(ARTIFACT + '/MLmodel', 'a')",
    "the environment": "open(__import__('numpy').__file__, 'a')",
    "the runtime": "open(RUNTIME, 'a')",
    "a socket of its own": "socket.socket()",
    "another listener": "socket.socket().bind(('127.0.0.1', 0))",
    "files of others": "os.listdir('/tmp')",
}


@pytest.fixture
def pod(start_pod: Callable[..., RunningPod], make_artifact: Callable[..., Path], tmp_path: Path) -> RunningPod:
    example = [base64.b64encode(b"answer = 'warm'").decode()]
    artifact = make_artifact(tmp_path / "model", SHELL, columns=("code:string",), example=example)
    pod = start_pod(artifact, workers=2, router="s3cr3t", settings={"timeout_ms": 60_000, "scored": False})
    return pod.wait_ready(2)


def answered(pod: RunningPod, code: str, **names: Any) -> str:
    told = "".join(f"{name} = {value!r}\n" for name, value in names.items()) + code
    content = {"dataframe_split": {"columns": ["code"], "data": [[base64.b64encode(told.encode()).decode()]]}}
    headers = {"content-type": "application/json", "x-serinus-router": "s3cr3t"}
    answer = pod.caller().request("POST", "/invocations", content, headers)
    assert answer.status == 200, answer.text
    return str(answer.json["predictions"][0])


def test_a_worker_does_nothing_to_the_supervisor_the_zygote_or_another_worker(pod: RunningPod) -> None:
    until(lambda: len(pod.workers()) == 2)
    attempts = "[" + ", ".join(f"lambda: {attempt}" for attempt in ON_A_PROCESS.values()) + "]"
    code = f"""{TRIED}
if os.getpid() == PID:
    answer = "itself"
else:
    answer = " ".join(tried(one) for one in {attempts})
"""
    zygote = pod.zygote()
    assert zygote is not None
    for pid in (pod.process.pid, zygote, *pod.workers()):
        results = until(lambda: _not_itself(answered(pod, code, PID=pid)))  # noqa: B023  called at once
        assert not [name for name, result in zip(ON_A_PROCESS, results, strict=True) if result == "done"], pid
    assert pod.metric("restarts_total") == 0


def _not_itself(answer: str) -> list[str]:
    """Empty where the worker was asked to attack itself: another one is to do it."""
    return [] if answer == "itself" else answer.split()


def test_a_worker_changes_nothing_in_the_container_and_reaches_nobody(pod: RunningPod) -> None:
    token = pod.artifact.parent / "token"
    token.write_text("t0k3n")
    attempts = "[" + ", ".join(f"lambda: {attempt}" for attempt in ON_THE_CONTAINER.values()) + "]"
    results = answered(
        pod,
        f"{TRIED}\nanswer = ' '.join(tried(one) for one in {attempts})",
        MESSAGE=str(pod.message),
        TOKEN=str(token),
        SCRATCH=str(pod.scratch),
        ARTIFACT=str(pod.artifact),
        RUNTIME=str(SOURCE / "serinus_runtime/__init__.py"),
    ).split()
    assert not [name for name, result in zip(ON_THE_CONTAINER, results, strict=True) if result == "done"]


def test_a_worker_has_the_rest_of_what_it_needs(pod: RunningPod) -> None:
    code = "import tempfile, threading, os\nwith tempfile.NamedTemporaryFile('w+') as f:\n    f.write('x')\n"
    code += "t = threading.Thread(target=print); t.start(); t.join()\nanswer = os.getcwd()"
    assert answered(pod, code).startswith(str(pod.scratch))


def test_a_worker_knows_of_its_surroundings_only_what_it_needs(pod: RunningPod) -> None:
    said = json.loads(answered(pod, "import json, os\nanswer = json.dumps(dict(os.environ))"))
    assert "SERINUS_RELEASE" not in said
    assert "s3cr3t" not in json.dumps(said)


@pytest.mark.long
def test_a_worker_that_reports_nonsense_is_replaced_and_the_supervisor_goes_on(
    start_pod: Callable[..., RunningPod], make_artifact: Callable[..., Path], tmp_path: Path
) -> None:
    """The descriptor of the reports is found and written to, before and after the worker is ready."""
    code = """
import os, socket

def say(line):
    for entry in os.listdir("/proc/self/fd"):
        try:
            # Of its Unix sockets the one to the supervisor alone has a time limit.
            found = socket.socket(fileno=os.dup(int(entry)))
            if found.family == socket.AF_UNIX and any(found.getsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, 16)):
                os.write(int(entry), line)
        except OSError:
            pass

class Model:
    def predict(self, data, params=None):
        say(b'{"state": "stats", "requests": -5, "waiting": "x"}\\n' * 3 + b"x" * 100_000 + b"\\n")
        say(b'{"state": "stats", "requests": 1e400, "waiting": NaN}\\n')
        return [1.0]

def _load_pyfunc(path):
    return Model()
"""
    pod = start_pod(make_artifact(tmp_path / "model", code, example=None)).wait_ready()
    for _ in range(5):
        assert pod.caller().invoke().json == {"predictions": [1.0]}
    until(lambda: pod.metric("requests_total") >= 5)
    assert pod.probe("/live").status == 200
    assert pod.metric("restarts_total") == 0
    early = code.replace("    return Model()", "    say(b'[' * 100_000 + b'\\n')\n    return Model()")
    pod = start_pod(make_artifact(tmp_path / "early", early, example=None))
    assert pod.process.wait(30) == 1
    assert "it reported something that the runtime does not say" in pod.message.read_text()


def test_one_that_says_it_is_confined_is_asked_of_the_kernel(
    start_pod: Callable[..., RunningPod], adds_up: Path
) -> None:
    """A container has a filter of system calls already: only one more is the worker's own."""
    lies = (
        f"import sys; sys.path.append({str(SOURCE)!r}); import serinus_runtime.pod.launch as launch; "
        "made = launch.Launcher.worker_config; "
        "launch.Launcher.worker_config = lambda *a, **k: dict(made(*a, **k), confine=False); "
        "made_z = launch.Launcher.zygote_config; "
        "launch.Launcher.zygote_config = lambda *a, **k: dict(made_z(*a, **k), confine=False); "
        "from serinus_runtime.pod.main import main; main()"
    )
    pod = start_pod(adds_up, entry=lies)
    assert pod.process.wait(60) == 1
    assert "did not confine itself" in pod.message.read_text()


WITHOUT_LANDLOCK = """
import sys
sys.path.append({source!r})
from serinus_runtime.isolation import landlock
landlock.abi = lambda: 0
from serinus_runtime.pod import launch
launch._ENTRY = launch._ENTRY.replace(
    "from serinus_runtime.{{module}}",
    "from serinus_runtime.isolation import landlock; landlock.abi = lambda: 0; from serinus_runtime.{{module}}",
)
from serinus_runtime.pod.main import main
main()
"""


def test_without_landlock_it_starts_and_says_so_unless_it_is_required(
    start_pod: Callable[..., RunningPod], adds_up: Path
) -> None:
    """As on a kernel that has none; the filter of system calls still holds."""
    entry = WITHOUT_LANDLOCK.format(source=str(SOURCE))
    pod = start_pod(adds_up, entry=entry).wait_ready()
    assert pod.caller().invoke().json == {"predictions": [15.5]}
    assert pod.metric("landlock_abi") == 0
    assert "this kernel has no Landlock: the model can read every file that its user can read" in pod.log
    required = start_pod(adds_up, entry=entry, confinement="required")
    assert required.process.wait(60) == 1
    assert "this kernel has no Landlock, so the model cannot be confined" in required.message.read_text()


def test_the_supervisor_is_not_to_be_looked_into_and_dumps_no_core(pod: RunningPod) -> None:
    owner = Path(f"/proc/{pod.process.pid}/environ").stat().st_uid
    assert owner == 0  # root's, as of every process that is not dumpable
    limits = Path(f"/proc/{pod.process.pid}/limits").read_text().splitlines()
    assert next(line for line in limits if line.startswith("Max core file size")).split()[4:6] == ["0", "0"]
