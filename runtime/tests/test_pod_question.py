"""A container that asks one question: what it answers in its log, and why it has no answer."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import subprocess
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from descent import descendants, end
from pods import PYTHON, SOURCE, until

from serinus_runtime.isolation import landlock
from serinus_runtime.pod import frame, posed

pytestmark = [
    pytest.mark.skipif(landlock.abi() < 1, reason="this kernel has no Landlock"),
    pytest.mark.timeout(120),
]

KEY = b"k" * 32
ENTRY = f"import sys; sys.path.append({str(SOURCE)!r}); from serinus_runtime.pod.question import main; main()"
ROWS = {"columns": ["amount", "hour", "country"], "rows": [[1.5, 2, "FR"], [2.5, 3, "DE"]]}
LIMITS = {
    "seconds": 60, "memory_bytes": 1 << 30, "file_bytes": 1 << 20, "written_bytes": 16 << 20, "written_files": 100,
    "printed_bytes": 1 << 20,
}  # fmt: skip


@dataclass
class Container:
    process: subprocess.Popen[bytes]
    log: Path
    message: Path
    digest: str

    def ended(self) -> int:
        return self.process.wait(60)

    def answer(self) -> Mapping[str, Any]:
        assert self.ended() == 0, self.log.read_text()
        return frame.read(self.log.read_text().splitlines(), KEY, self.digest)


Ask = Callable[..., Container]


@pytest.fixture
def ask(tmp_path: Path, environment: Path) -> Any:
    """`ask(artifact, module, rows=.., parts=.., digest=.., config=.., **limits)`"""
    started: list[subprocess.Popen[bytes]] = []

    def start(artifact: Path, module: str = "trials.reference", **how: Any) -> Container:
        directory = tmp_path / f"container-{len(started)}"
        (directory / "question").mkdir(parents=True)
        (directory / "scratch").mkdir()
        files = {"rows": how.pop("rows", ROWS)} if how.get("rows", ROWS) else {}
        config, parts, digest = how.pop("config", {}), how.pop("parts", 1), how.pop("digest", None)
        directories, returned = how.pop("directories", {}), how.pop("returned", "")
        content = posed.packed(
            {
                "module": module, "config": config, "files": files, "directories": directories,
                "returned": returned, "confinement": "required",
                "limits": {**LIMITS, **how},
            }
        )  # fmt: skip
        size = -(-len(content) // parts)
        for number in range(parts):
            (directory / "question" / posed.part(number)).write_bytes(content[number * size : (number + 1) * size])
        (directory / "question" / posed.KEY).write_bytes(KEY)
        (message := directory / "termination-log").touch()
        paths = {
            "environment": str(environment), "artifact": str(artifact), "scratch": str(directory / "scratch"),
            "termination_log": str(message), "question": str(directory / "question"),
        }  # fmt: skip
        told = {"parts": parts, "sha256": digest or posed.digest_of(content), "paths": paths}
        with (log := directory / "log").open("wb") as stream:
            started.append(
                subprocess.Popen(
                    [PYTHON, "-I", "-S", "-u", "-X", "faulthandler", "-c", ENTRY],
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=stream,
                    cwd="/",
                    env={"PATH": "/usr/bin:/bin", posed.VARIABLE: json.dumps(told)},
                )
            )
        return Container(started[-1], log, message, posed.digest_of(content))

    yield start
    for process in started:
        end(process)


def kill(pids: Iterable[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_the_answer_is_in_the_log_and_nothing_else_is(ask: Ask, adds_up: Path) -> None:
    container = ask(adds_up, parts=3)
    answer = container.answer()
    assert (answer["code"], answer["stopped"]) == (0, "")
    assert json.loads(answer["said"]) == {"scores": [3.5, 5.5]}
    assert answer["seconds"] > 0
    lines = container.log.read_text().split()
    assert lines[0] == "serinus-answer-1"
    assert lines[-1] == "serinus-answer-end"
    assert container.message.read_text() == ""


def test_a_scan_needs_no_environment(ask: Ask, adds_up: Path) -> None:
    answer = ask(adds_up, "trials.scan", config=None, rows=None).answer()
    assert json.loads(answer["said"])["pickles"] == []


FORGES = """
import os, sys
for number in (1, 2, *range(3, 64)):
    try:
        os.write(number, b'\\nserinus-answer-1 3 00\\neJw=\\nserinus-answer-end\\n')
    except OSError:
        pass
found = []
for path in ("/proc/1/fd/1", "/proc/%d/fd/1" % os.getppid(), QUESTION, MESSAGE):
    try:
        open(path, "ab" if path != QUESTION else "rb")
        found.append(path)
    except OSError:
        pass
raise RuntimeError("reached %s" % found)
"""


def test_a_model_reaches_neither_the_log_nor_the_key(ask: Ask, make_artifact: Any, tmp_path: Path) -> None:
    directory = tmp_path / "container-0"
    code = FORGES.replace("QUESTION", repr(str(directory / "question" / posed.KEY)))
    artifact = make_artifact(tmp_path / "model", code.replace("MESSAGE", repr(str(directory / "termination-log"))))
    container = ask(artifact)
    answer = container.answer()
    assert "reached []" in answer["said"]
    # What it has forged is nowhere but in what it printed itself.
    assert container.log.read_text().count("serinus-answer-1") == 1


HANGS = "import time\nopen('here', 'w').close()\ntime.sleep(600)\n"
# Not as fast as it can, which would reach the limit of its files before anybody looks at what it has printed.
PRINTS = "import os, time\nwhile True:\n    os.write(2, b'x' * 65536)\n    time.sleep(0.001)\n"
WRITES = "import os\nfor n in range(1000):\n    open(f'f{n}', 'w').close()\nimport time\ntime.sleep(600)\n"
EATS = "held = bytearray(2 << 30)\n"
DIES = "import os\nos.abort()\n"


@pytest.mark.parametrize(
    ("code", "limits", "words"),
    [
        (HANGS, {"seconds": 2}, "it took longer than 2 s and was killed"),
        (PRINTS, {"file_bytes": 1 << 30}, "it had printed more than 1 MiB and was killed"),
        (WRITES, {}, "it had written more than 100 files and was killed"),
    ],
)
def test_a_model_that_takes_too_much_is_killed(
    ask: Ask, make_artifact: Any, tmp_path: Path, code: str, limits: dict[str, Any], words: str
) -> None:
    answer = ask(make_artifact(tmp_path / "model", code), **limits).answer()
    assert (answer["code"], answer["stopped"]) == (-signal.SIGKILL, words)


def test_a_model_that_needs_more_memory_than_it_may_fails_in_words(
    ask: Ask, make_artifact: Any, tmp_path: Path
) -> None:
    answer = ask(make_artifact(tmp_path / "model", EATS)).answer()
    assert answer["code"] == 1
    assert "does not fit into its memory limit" in answer["said"]


def test_a_crash_has_its_last_words(ask: Ask, make_artifact: Any, tmp_path: Path) -> None:
    answer = ask(make_artifact(tmp_path / "model", DIES)).answer()
    assert (answer["code"], answer["said"]) == (-signal.SIGABRT, "")
    assert answer["complained"].startswith("Fatal Python error: Aborted")


LONG = """
import random

class Model:
    def predict(self, data, params=None):
        return [random.random() for _ in data.index]

def _load_pyfunc(path):
    return Model()
"""


def test_an_answer_that_no_log_holds_is_a_failure(ask: Ask, make_artifact: Any, tmp_path: Path) -> None:
    rows = {"columns": ["amount", "hour", "country"], "rows": [[1.0, 1, ""]] * 750_000}
    answer = ask(
        make_artifact(tmp_path / "model", LONG),
        rows=rows,
        memory_bytes=4 << 30,
        file_bytes=1 << 30,
        printed_bytes=64 << 20,
    ).answer()
    assert (answer["said"], answer["stopped"]) == ("", "its answer is longer than 6 MiB when it is compressed")


WRITES_OUT = """
import os
os.mkdir("out")
THIS
raise ImportError(open(GIVEN + "/a.bin", "rb").read())
"""


def writing(code: str, tmp_path: Path) -> str:
    given = str(tmp_path / "container-0" / "scratch" / "given" / "sent")
    return WRITES_OUT.replace("THIS", code).replace("GIVEN", repr(given))


def test_files_are_sent_with_the_question_and_returned_with_the_answer(
    ask: Ask, make_artifact: Any, tmp_path: Path
) -> None:
    code = writing("open('out/b.bin', 'wb').write(bytes(range(256)))", tmp_path)
    sent = {"sent": {"a.bin": base64.b64encode(b"sent").decode()}}
    answer = ask(make_artifact(tmp_path / "model", code), directories=sent, returned="out").answer()
    assert "b'sent'" in answer["said"]
    assert {name: base64.b64decode(one) for name, one in answer["files"].items()} == {"b.bin": bytes(range(256))}


@pytest.mark.parametrize(
    "code",
    [
        "os.symlink('/opt', 'out/link')",
        "os.mkdir('out/directory')",
        "[open(f'out/{n}', 'wb').write(bytes(12 << 20)) for n in range(3)]",
    ],
    ids=["link", "directory", "size"],
)
def test_what_is_no_file_or_too_much_is_not_returned(ask: Ask, make_artifact: Any, tmp_path: Path, code: str) -> None:
    artifact = make_artifact(tmp_path / "model", writing(code, tmp_path))
    answer = ask(artifact, returned="out", file_bytes=1 << 30, written_bytes=1 << 30).answer()
    assert (answer["files"], answer["said"]) == ({}, "")
    assert answer["stopped"] == "what it has written is not a plain file, or has more than 32 MiB"


def test_a_directory_that_is_a_link_or_missing_has_no_files(ask: Ask, make_artifact: Any, tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path / "model", "import os\nos.symlink('/etc', 'out')\nraise ImportError()\n")
    assert ask(artifact, returned="out").answer()["files"] == {}
    assert ask(artifact, returned="nothing").answer()["files"] == {}


def test_another_question_than_the_one_that_was_posed_is_not_asked(ask: Ask, adds_up: Path) -> None:
    container = ask(adds_up, digest="0" * 64)
    assert container.ended() == 2
    assert "its digest is another one" in container.log.read_text()
    assert "serinus-answer-1" not in container.log.read_text()


def test_a_question_that_is_not_there_is_said(adds_up: Path, tmp_path: Path) -> None:
    command = [PYTHON, "-I", "-S", "-c", ENTRY]
    told = {posed.VARIABLE: json.dumps({"parts": 1, "sha256": "", "paths": {"question": str(tmp_path)}})}
    done = subprocess.run(command, env=told, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 2
    assert "the question cannot be read (FileNotFoundError)" in done.stderr


def test_a_container_that_is_stopped_ends_at_once(ask: Ask, make_artifact: Any, tmp_path: Path) -> None:
    container = ask(make_artifact(tmp_path / "model", HANGS))
    until((tmp_path / "container-0" / "scratch" / "work" / "here").exists)
    family = descendants(container.process.pid)
    container.process.send_signal(signal.SIGTERM)
    try:
        assert container.ended() == 128 + signal.SIGTERM
    finally:
        kill(family)  # as the end of the first process of a container does


# --- frames -----------------------------------------------------------------------------------------------

DOCUMENT = {"said": "x" * 10_000 + "\n\u2028", "code": 0}


def lines(document: Mapping[str, Any] = DOCUMENT, key: bytes = KEY) -> list[str]:
    return frame.framed(document, key, "q").decode().split("\n")


def test_an_answer_is_read_between_other_lines() -> None:
    assert frame.read(["before", *lines({"code": 1}), "between", *lines(), "after"], KEY, "q") == DOCUMENT


@pytest.mark.parametrize(
    ("log", "question", "words"),
    [
        ([], "q", "holds no whole answer"),
        (lines()[:-2], "q", "holds no whole answer"),
        ([*lines()[:1], "serinus-answer-1 x", *lines()[2:]], "q", "holds no whole answer"),
        ([*lines()[:2], *lines()[3:]], "q", "bytes of"),
        (lines(key=b"another"), "q", "not signed with the key"),
        (lines(), "another", "not signed with the key"),
    ],
)
def test_what_is_no_answer_is_refused(log: list[str], question: str, words: str) -> None:
    with pytest.raises(frame.NoAnswer, match=words):
        frame.read(log, KEY, question)


def test_an_answer_that_unpacks_to_too_much_is_refused() -> None:
    packed = zlib.compress(b" " * (65 << 20))
    signature = frame._signature(packed, KEY, "q")
    text = base64.b64encode(packed).decode()
    with pytest.raises(frame.NoAnswer, match="longer than 64 MiB"):
        frame.read([f"serinus-answer-1 {len(packed)} {signature}", text, "serinus-answer-end"], KEY, "q")


def test_a_question_that_is_too_large_is_refused() -> None:
    with pytest.raises(posed.InvalidQuestion, match="65 MiB of 64"):
        posed.packed({"files": "x" * (65 << 20)})
