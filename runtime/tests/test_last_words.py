"""Why a process ended, in the words of what it wrote last."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest

from serinus_runtime.process.last_words import last_words, why_ended


def run(code: str) -> tuple[int, str]:
    done = subprocess.run([sys.executable, "-X", "faulthandler", "-c", code], capture_output=True, check=False)
    return done.returncode, last_words(io.BytesIO(done.stderr))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("def f():\n raise ValueError('x')\nf()", "ValueError: x (<string>:2, in f)"),
        ("import os\nos._exit(3)", "it ended itself with exit status 3 and gave no reason"),
        ("raise SystemExit(4)", "it ended itself with exit status 4 and gave no reason"),
        ("raise SystemExit('the licence is missing')", "the licence is missing"),
        ("import os\ndef f():\n os.abort()\nf()", "killed by SIGABRT: Fatal Python error: Aborted (<string>:3, in f)"),
        (
            "import ctypes\ndef f():\n ctypes.string_at(0)\nf()",
            "killed by SIGSEGV: Fatal Python error: Segmentation fault (__init__.py:",
        ),
        ("import os\nos.kill(os.getpid(), 9)", "killed by SIGKILL, as the kernel does where memory runs out"),
        ("import os\nos.kill(os.getpid(), 15)", "killed by SIGTERM"),
        ("import no_such_thing", "ModuleNotFoundError: No module named 'no_such_thing' (<string>:1, in <module>)"),
        ("print('fine')", "it exited with 0 without an answer"),
    ],
)
def test_every_way_to_end_is_told(code: str, words: str) -> None:
    assert why_ended(*run(code)).startswith(words)


def test_only_what_came_after_the_start_counts() -> None:
    before = b"ValueError: of an earlier one\n"
    assert last_words(io.BytesIO(before), len(before)) == ""


def test_of_a_log_only_errors_are_told() -> None:
    assert last_words(io.BytesIO(b"a line that the model prints\n"), errors_alone=True) == ""
    assert last_words(io.BytesIO(b"ValueError: x\n"), errors_alone=True) == "ValueError: x"


def test_the_end_of_one_that_is_not_our_child_is_told_as_far_as_it_is_known() -> None:
    assert why_ended(None, "") == "it is gone without an answer"


def test_long_last_words_are_cut() -> None:
    assert len(last_words(io.BytesIO(b"x" * 5000))) == 300
