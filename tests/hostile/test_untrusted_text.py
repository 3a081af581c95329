"""Text of a model that makes a parser fail otherwise than by the error that is expected of it."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from serinus_runtime.process.last_words import last_words

from serinus.backends.mlflow.artifact import read_artifact
from serinus.backends.mlflow.files import take_inventory
from serinus.core.errors import Unbuildable

PLAIN = "flavors:\n  python_function:\n    loader_module: by_hand\n    env:\n      virtualenv: python_env.yaml\n"
BRACKETS = "[" * 60_000 + "]" * 60_000
ALIASES = "x0: &x0 [a]\n" + "".join(f"x{n}: &x{n} [*x{n - 1}]\n" for n in range(1, 5_000))
"""Each level is shallow as it is written."""
LAUGHS = "x0: &x0 [a]\n" + "".join(f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 10)}]\n" for n in range(1, 12))
MANY = [{"type": "double", "name": "a"}] * 20_001
LONG = [{"type": "double", "name": "a" * 2_000}]


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
        ({"MLmodel": PLAIN, "requirements.txt": "a\n" * 5_000}, "has more than 2,000 lines"),
        ({"MLmodel": PLAIN, "requirements.txt": "a" * 30_000}, "one of more than 20,000 characters"),
        ({"MLmodel": PLAIN, "conda.yaml": ALIASES, "requirements.txt": "six\n"}, "conda.yaml .* nested too deeply"),
        ({"MLmodel": PLAIN, "python_env.yaml": LAUGHS}, "python_env.yaml .* nested too deeply"),
        ({"MLmodel": PLAIN, "python_env.yaml": "a: &a [*a]\n"}, "python_env.yaml.* in the artifact is n"),
        (
            {"MLmodel": f"{PLAIN}signature:\n  inputs: '{json.dumps(MANY)}'\n", "requirements.txt": "six\n"},
            "more than 20,000 inputs",
        ),
        (
            {"MLmodel": f"{PLAIN}signature:\n  inputs: '{json.dumps(LONG)}'\n", "requirements.txt": "six\n"},
            "The signature in MLmodel cannot be read",
        ),
    ],
)
def test_it_is_refused_in_words(tmp_path: Path, files: dict[str, str], why: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(Unbuildable, match=why):
        read_artifact(tmp_path, take_inventory(tmp_path))


SLOW = {
    "a version of conda": ("conda.yaml", "dependencies:\n- numpy=1" + "a-" * 60 + "!\n"),
    "a package of conda": ("conda.yaml", "dependencies:\n- '" + "a::" * 30_000 + "b[\u2028'\n"),
    "an address of conda": ("conda.yaml", "dependencies:\n- a://x/" + "a-" * 60_000 + "\n"),
    "an option": ("requirements.txt", "-i" + "=" * 19_000 + " x\n"),
    "letters that are no address": ("requirements.txt", "".join("a" * 19_000 + "\n" for _ in range(50))),
    "half addresses": ("requirements.txt", "a://" * 4_000 + "\n"),
    "a local path": ("requirements.txt", "a" * 9_000 + " ;" * 5_000 + "\n"),
    "many lines": ("requirements.txt", "".join(f"p{n}\n" for n in range(1_999))),
}
"""Which a pattern could take hours, or for ever, to look at."""


@pytest.mark.parametrize("what", SLOW)
def test_no_text_takes_long_to_be_looked_at(tmp_path: Path, what: str) -> None:
    """In a process of its own: a pattern that backtracks holds all threads of the one that it is in."""
    name, content = SLOW[what]
    (tmp_path / "MLmodel").write_text(PLAIN)
    (tmp_path / name).write_text(content)
    reads = (
        "import sys, time\nfrom pathlib import Path\nfrom serinus.backends.mlflow.artifact import read_artifact\n"
        "from serinus.backends.mlflow.files import take_inventory\nfrom serinus.core.errors import SerinusError\n"
        "root, began = Path(sys.argv[1]), time.process_time()\n"
        "try:\n    read_artifact(root, take_inventory(root))\nexcept SerinusError:\n    pass\n"
        "print(time.process_time() - began)"
    )
    done = subprocess.run([sys.executable, "-c", reads, tmp_path], capture_output=True, timeout=30, check=True)
    assert float(done.stdout) < 5


@pytest.mark.parametrize(
    "last",
    [
        'File "x", line 1, in ' + " " * 30_000 + "x" + " " * 30_000 + "y",
        "A" * 60_000,
        "Error." * 10_000,
        'File "' * 10_000,
    ],
)
def test_the_last_words_of_a_process_do_not_take_long_to_be_looked_at(last: str) -> None:
    """They are looked at by the host, which nothing may hold up."""
    said = f"Traceback\n{last}\nValueError: x".encode()
    code = (
        "import io, sys, time\nfrom serinus_runtime.process.last_words import last_words\n"
        "began = time.process_time()\nlast_words(io.BytesIO(sys.stdin.buffer.read()))\n"
        "print(time.process_time() - began)"
    )
    done = subprocess.run([sys.executable, "-c", code], input=said, capture_output=True, timeout=30, check=True)
    assert float(done.stdout) < 0.5
    assert len(last_words(io.BytesIO(said))) < 400


@pytest.mark.parametrize("part", ["a", "a-", "(", "=a:", "a://", "token ", "a@", "'a:b@", "authorization: "])
def test_redaction_does_not_take_long_and_finds_an_address_behind_much_text(part: str) -> None:
    text = part * (60_000 // len(part)) + " https://user:secret@example.org/x " + part * (60_000 // len(part))
    code = (
        "import sys, time\nfrom serinus.core.redaction import without_credentials\n"
        "began = time.process_time()\ntold = without_credentials(sys.stdin.read())\n"
        "assert 'secret' not in told\nprint(time.process_time() - began)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=text, text=True, capture_output=True, timeout=60, check=True
    )
    assert float(done.stdout) < 3


@pytest.mark.parametrize("name", ["\udcff.bin", "a\n.bin", "a\x1b[2J", "a\u202eb"])
def test_a_file_whose_name_cannot_be_shown_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "MLmodel").write_text(PLAIN)
    (tmp_path / name).write_text("x")
    with pytest.raises(Unbuildable, match="characters that cannot be shown") as caught:
        take_inventory(tmp_path)
    assert str(caught.value).isprintable()
