"""Artifacts and wheels made by hand, as somebody makes them who wants more than to score."""

from __future__ import annotations

import json
import platform
import tempfile
import zipfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

PLAIN = """
class Model:
    def predict(self, rows, params=None):
        return [0.5] * len(rows)

def _load_pyfunc(path):
    return Model()
"""
"""A loader of a model that scores everything alike."""

SHELL = """
import contextlib, io, traceback
import pandas as pd

class Shell:
    def __init__(self):
        self.names = {}

    def predict(self, rows, params=None):
        printed = []
        for code in rows["code"]:
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                try:
                    exec(code, self.names)
                except BaseException:
                    out.write(traceback.format_exc())
            printed.append(out.getvalue())
        return pd.DataFrame({"score": [0.5] * len(printed), "out": printed})

def _load_pyfunc(path):
    return Shell()
"""
"""A loader of a model that runs what it is sent. The code of any model may."""

SHELL_INPUTS = [{"type": "string", "name": "code", "required": True}]
SHELL_OUTPUTS = [{"type": "double", "name": "score"}, {"type": "string", "name": "out"}]


def requirements(*packages: str) -> list[str]:
    """Of what is installed here, so that all models share one environment, which is built once."""
    return [f"{name}=={version(name)}" for name in ("mlflow-skinny", "numpy", "pandas", *packages)]


def mlmodel(more: str = "", *, inputs: Any = None, outputs: Any = None, **flavor: str) -> str:
    """The text of a file MLmodel. `inputs` and `outputs`: columns of a signature. `flavor`: fields of the flavor."""
    fields = {"loader_module": "by_hand", "code": "code", "data": "data", **flavor}
    lines = [
        "flavors:",
        "  python_function:",
        *(f"    {name}: {value}" for name, value in fields.items()),
        "    env: {virtualenv: python_env.yaml}",
        f"    python_version: {platform.python_version()}",
        f"mlflow_version: {version('mlflow')}",
    ]
    if inputs:
        lines += ["signature:", f"  inputs: '{json.dumps(inputs)}'"]
    if outputs:
        lines += [f"  outputs: '{json.dumps(outputs)}'"]
    return "\n".join(lines) + "\n" + more


def artifact(files: Mapping[str, str | bytes], lines: list[str]) -> Mapping[str, str | bytes]:
    """Path and content of a harmless model's files, with `files` over them. `lines`: its requirements."""
    return {
        "MLmodel": mlmodel(),
        "python_env.yaml": f"python: {platform.python_version()}\ndependencies:\n- -r requirements.txt\n",
        "requirements.txt": "".join(f"{line}\n" for line in lines),
        "code/by_hand.py": PLAIN,
        "data": "x",
        **files,
    }


def write(files: Mapping[str, str | bytes], directory: Path) -> Path:
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return directory


def register(registry: MlflowClient, name: str, files: Mapping[str, str | bytes]) -> str:
    """The number of a new version of the model `name`, with these files."""
    if not registry.search_registered_models(f"name = '{name}'"):
        registry.create_registered_model(name)
    run = registry.create_run("0")
    with tempfile.TemporaryDirectory() as directory:
        registry.log_artifacts(run.info.run_id, str(write(files, Path(directory))), "model")
    registry.set_terminated(run.info.run_id)
    return str(registry.create_model_version(name, f"{run.info.artifact_uri}/model", run.info.run_id).version)


def wheel(package: str, files: Mapping[str, str]) -> tuple[str, bytes]:
    """File name and content of a wheel of `package` 1.0."""
    about = f"{package}-1.0.dist-info"
    whole = {
        **files,
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/RECORD": "",
    }
    with tempfile.TemporaryFile() as file:
        with zipfile.ZipFile(file, "w") as archive:
            for name, content in whole.items():
                archive.writestr(name, content)
        file.seek(0)
        return f"{package}-1.0-py3-none-any.whl", file.read()
