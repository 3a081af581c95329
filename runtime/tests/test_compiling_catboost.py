"""CatBoost, in an environment of its own: its graphs answer and refuse as it does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import uv

import serinus_runtime

SCRIPT = Path(__file__).parent / "catboost_compiled.py"
PACKAGES = ("catboost==1.2.10", "mlflow-skinny==3.9.0", "pandas==2.3.3", "numpy==2.2.6", "onnxruntime==1.23.2")


@pytest.mark.long
@pytest.mark.timeout(300)
def test_catboost_models_of_numbers_answer_and_refuse_alike(tmp_path: Path) -> None:
    libraries = [word for package in PACKAGES for word in ("--with", package)]
    command = [uv.find_uv_bin(), "run", "--no-project", "--isolated", "--python", sys.executable, *libraries]
    source = Path(str(serinus_runtime.__file__)).parent.parent
    done = subprocess.run(
        [*command, "python", str(SCRIPT), str(source), str(tmp_path)], cwd="/", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    proofs = json.loads(done.stdout.splitlines()[-1])
    assert len(proofs) == 3
    for proof in proofs:
        assert proof["rows"] > proof["own"] + 100
        assert proof["largest"] < 1e-12
        assert proof["differing"] == proof["refusals"] == proof["alone"] == []
