"""Other ways to the same holes, tried by a worker and by a trial, which is where a model's code runs first."""

from __future__ import annotations

import json

import pytest
from hostile_models import mlmodel
from hostile_serinus import Attacked, Shell, fresh, shared

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]

ATTEMPTS = r"""
import ctypes, errno, glob, os, platform, signal, socket, sys, tempfile
libc = ctypes.CDLL(None, use_errno=True)
NUMBERS = {  # x86_64, aarch64
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "chroot": (161, 51), "pivot_root": (155, 41),
    "io_uring_setup": (425, 425), "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "keyctl": (250, 219), "add_key": (248, 217), "ptrace": (101, 117), "process_vm_readv": (310, 270),
    "pidfd_getfd": (438, 438), "kcmp": (312, 272), "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264),
    "fanotify_init": (300, 262), "inotify_init1": (294, 26), "shmget": (29, 194), "msgget": (68, 186),
    "mq_open": (240, 180), "kexec_load": (246, 104), "init_module": (175, 105), "quotactl": (179, 60),
    "sethostname": (170, 161), "setgroups": (116, 159), "personality": (135, 92),
    "reboot": (169, 142), "swapon": (167, 224), "acct": (163, 89), "move_mount": (429, 429), "fsopen": (430, 430),
    "mount_setattr": (442, 442), "process_madvise": (440, 440), "memfd_secret": (447, 447), "socket": (41, 198),
    "connect": (42, 203), "bind": (49, 200), "chmod_at": (268, 53), "fchmodat2": (452, 452), "utimensat": (280, 88),
    "fsetxattr": (190, 7), "setpriority": (141, 140), "sched_setattr": (314, 274), "ioprio_set": (251, 30),
}
WHICH = 0 if platform.machine() == "x86_64" else 1

def succeeded(attempt):
    try:
        return attempt() is not False
    except (OSError, ValueError, AttributeError):
        return False

def calls(name):
    ctypes.set_errno(0)
    zero = ctypes.c_long(0)
    argument = ctypes.c_long({"personality": 0x0040000, "unshare": 0x10000000}.get(name, 0))
    answer = libc.syscall(ctypes.c_long(NUMBERS[name][WHICH]), argument, zero, zero, zero, zero, zero)
    return answer != -1 or ctypes.get_errno() not in (errno.EPERM, errno.EACCES, errno.ENOSYS)

def writes(path):
    with open(path, "w") as file:
        file.write("x")
    os.unlink(path)

def reads(path):
    with open(path, "rb") as file:
        file.read(1)

def attempts(home, others):
    found = ["call " + name for name in NUMBERS if succeeded(lambda: calls(name))]
    for directory in ("/tmp", "/var/tmp", "/dev/shm", "/run", "/run/user/%d" % os.getuid(), "/root"):
        if succeeded(lambda: writes(directory + "/serinus-way-out")):
            found.append("write to " + directory)
    for name in ("token", "secret", "store.db", "settings.json", "mlflow.env", "s", "fleet/HEAD", "logs/control.log"):
        if succeeded(lambda: reads(home + "/" + name)):
            found.append("read " + name)
    for pid in others:
        for name in ("root", "cwd", "fd/0", "exe", "environ", "mem", "maps", "ns/user", "task/%d/mem" % pid):
            if succeeded(lambda: reads("/proc/%d/%s" % (pid, name))):
                found.append("read /proc/%d/%s" % (pid, name))
            if succeeded(lambda: os.listdir("/proc/%d/%s" % (pid, name))):
                found.append("list /proc/%d/%s" % (pid, name))
        if succeeded(lambda: os.kill(pid, signal.SIGCONT)):
            found.append("signal %d" % pid)
    for path in (os.path.dirname(home), home, home + "/artifacts", home + "/predictions", home + "/environments"):
        if succeeded(lambda: os.listdir(path)):
            found.append("list " + path)
    if succeeded(lambda: reads("/etc/shadow")) or succeeded(lambda: reads("/proc/kcore")):
        found.append("read of the system's secrets")
    if succeeded(lambda: reads("/dev/mem")):
        found.append("read /dev/mem")
    credentials = {"TOKEN", "SECRET", "PASSWORD", "USERNAME", "KEY"}
    secrets = [name for name in os.environ if credentials & set(name.split("_"))]
    found += ["variable " + name for name in secrets]
    return found
"""


def _others(serinus: Attacked) -> list[int]:
    """Processes that a worker must not touch: of the control plane, and of other models."""
    return [int(serinus.process(name)["pid"]) for name in ("control", "host", "collector", "envoy", "mlflow")]


def test_a_worker_finds_no_way_out(shell: Shell) -> None:
    told = shell.run(
        f"{ATTEMPTS}\nimport json\nprint(json.dumps(attempts(HOME, OTHERS)))",
        HOME=str(shell.serinus.home.path),
        OTHERS=_others(shell.serinus),
    )
    assert json.loads(told) == []


def test_a_trial_finds_no_way_out(serinus: Attacked) -> None:
    loader = f"""{ATTEMPTS}
def _load_pyfunc(path):
    raise RuntimeError("ways out: " + "; ".join(attempts({str(serinus.home.path)!r}, {_others(serinus)!r})) + ".")
"""
    ended = serinus.attempt(serinus.register(fresh("trial"), {"code/by_hand.py": loader}, shared()))
    assert ended["status"]["phase"] == "aborted"
    assert "ways out: ." in ended["status"]["reason"], ended["status"]


LINKS = """
import os, sys
HOME = {home!r}
def plant():
    planted = []
    for name in ("rows.json", "compiled", "compiled/model.onnx", "answers.npy", "out"):
        for make in (os.symlink, os.link):
            try:
                make(HOME + "/token", name)
                planted.append(name)
                break
            except OSError:
                pass
    try:
        os.mkfifo("proof.json")
    except OSError:
        pass
class Model:
    def predict(self, rows, params=None):
        plant()
        return [0.5] * len(rows)
def _load_pyfunc(path):
    plant()
    return Model()
"""


def test_links_and_pipes_that_a_trial_leaves_lead_nowhere(serinus: Attacked) -> None:
    """With compiling on, where the control plane copies what the model's process has written."""
    model = fresh("links")
    columns = [{"type": "double", "name": "amount", "required": True}]
    files = {
        "MLmodel": mlmodel(inputs=columns, outputs=[{"type": "double", "name": "score"}]),
        "code/by_hand.py": LINKS.format(home=str(serinus.home.path)),
        "serving_input_example.json": '{"dataframe_split": {"columns": ["amount"], "data": [[1.0], [2.0]]}}',
    }
    spec = f"model: {model}\ngates: {{latency_p99: 10s}}\nserving: {{timeout: 20s}}\nrollout: {{steps: []}}\n"
    before = serinus.home.token.stat()
    serinus.attempt(serinus.register(model, files, shared()), spec)
    token = serinus.home.token.read_bytes().strip()
    made = [path for path in serinus.home.compiled.rglob("*") if path.is_file() and "locks" not in path.parts]
    copies = [path for path in made if token in path.read_bytes()]
    assert copies == []
    after = serinus.home.token.stat()
    assert (after.st_ino, after.st_nlink, after.st_mode) == (before.st_ino, 1, before.st_mode)
