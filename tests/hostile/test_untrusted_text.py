"""Text of a model that makes a parser fail otherwise than by the error that is expected of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from serinus.backends.mlflow.artifact import read_artifact
from serinus.backends.mlflow.files import take_inventory
from serinus.core.errors import Unbuildable

PLAIN = "flavors:\n  python_function:\n    loader_module: by_hand\n    env:\n      virtualenv: python_env.yaml\n"
BRACKETS = "[" * 60_000 + "]" * 60_000


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"MLmodel": f"{PLAIN}x: {BRACKETS}\n"}, "MLmodel in the artifact is nested too deeply"),
        ({"MLmodel": PLAIN + "x:\n" + "".join(f"{' ' * n}- \n" for n in range(1, 900))}, "nested too deeply"),
        (
            {"MLmodel": f"{PLAIN}signature:\n  inputs: '{BRACKETS}'\n", "requirements.txt": "six\n"},
            "The signature in MLmodel cannot be read",
        ),
        ({"MLmodel": PLAIN + "#" * (3 << 20)}, "MLmodel in the artifact is longer than 2 MiB"),
        ({"MLmodel": PLAIN, "python_env.yaml": BRACKETS}, "python_env.yaml in the artifact is nested too deeply"),
        ({"MLmodel": PLAIN, "requirements.txt": "#" * (3 << 20)}, "requirements.txt in the artifact is longer"),
        (
            {"MLmodel": PLAIN, "requirements.txt": "-r 0.txt\n"}
            | {f"{n}.txt": f"-r {n + 1}.txt\n-r {n + 1}.txt\n" for n in range(60)}
            | {"60.txt": "six\n"},
            "include each other more than 50 times",
        ),
    ],
)
def test_it_is_refused_in_words(tmp_path: Path, files: dict[str, str], why: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(Unbuildable, match=why):
        read_artifact(tmp_path, take_inventory(tmp_path))
