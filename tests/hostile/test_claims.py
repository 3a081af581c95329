"""What a zygote says of its children, however it says it: only what is its own is limited or ended."""

from __future__ import annotations

import json
import os
import subprocess
import venv
from pathlib import Path

import kept
import pytest

from serinus.core.home import Home
from serinus.targets.local.host import Trials
from serinus.targets.local.host.trial_limits import TrialLimits
from serinus.targets.local.host.trial_zygotes import TrialZygotes

LOADER = """
class Model:
    def predict(self, rows, params=None):
        return [0.0] * len(rows)

def _load_pyfunc(path):
    return Model()
"""
NAMES = """
import json, os, sys, time
for module in ("serinus_runtime.process.zygote", "serinus_runtime.process.trial_zygote"):
    found = sys.modules.get(module)
    if found is not None:
        def tell(control, **words):
            if "pid" in words:
                words = {"pid": CLAIM}
            if "ended" in words:
                time.sleep(1000)
            control.send(json.dumps(words).encode())
        found.tell = tell
"""
CLAIMS = ["BYSTANDER", "-BYSTANDER", "0", "-1", "1", "OURS", "2**70", "'BYSTANDER'", "True", "BYSTANDER + 0.0", "[1]"]


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_number_that_is_no_child_of_the_zygote_is_left_alone(
    tmp_path: Path, bystander: subprocess.Popen[bytes], claim: str
) -> None:
    root, home = tmp_path / "environment", Home(tmp_path / "h")
    venv.create(root, symlinks=True)
    (packages,) = root.glob("lib/python*/site-packages")
    named = claim.replace("BYSTANDER", str(bystander.pid)).replace("OURS", str(os.getpid()))
    (packages / "hook.pth").write_text("import hook\n")
    (packages / "hook.py").write_text(NAMES.replace("CLAIM", named))
    artifact = home.artifacts / "model"
    (artifact / "code").mkdir(parents=True)
    (artifact / "code" / "by_hand.py").write_text(LOADER)
    flavor = {"loader_module": "by_hand", "code": "code"}
    (artifact / "MLmodel").write_text(json.dumps({"flavors": {"python_function": flavor}}))
    limits = Path(f"/proc/{bystander.pid}/limits")
    before = limits.read_text()
    zygotes = TrialZygotes(home)
    try:
        trials = Trials(home, zygotes=zygotes, limits=TrialLimits(seconds=5, memory_bytes=1 << 30))
        assert trials.loads(kept.environment(home, root), "model") is None, "it was tried in a process of its own"
    finally:
        zygotes.close()
    assert bystander.poll() is None
    assert limits.read_text() == before
    assert list(home.scratch.iterdir()) == []
