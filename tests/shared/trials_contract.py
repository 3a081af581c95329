"""What every Trials and every Rescorer must do, see `core.ports.trials`. A test class that derives from it has the
fixtures `trials`, `narrow` (the same with 8 seconds and little memory for the model), `hurried` (the same with few
seconds), `environment` (a digest, with pandas) and `keep` (keeps a directory under a digest as an artifact)."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import pytest

from serinus.core.errors import Unbuildable
from serinus.core.examination import GivenRows
from serinus.core.ports import Rescorer, Trials
from serinus.core.predictions import AnsweredRequest, OwnAnswer
from serinus.core.release import Release, ServingSettings

Keep = Callable[[Path, str], str]
"""Keeps the directory as the artifact of the digest, and returns that."""


class Both(Trials, Rescorer, Protocol):
    """Trials that rescore as well."""


ADDS_UP = """
import warnings

class Model:
    def predict(self, data, params=None):
        warnings.warn("soon gone", FutureWarning)
        return data["amount"].to_numpy(dtype="float64") + data["hour"].to_numpy(dtype="float64") / 3

def _load_pyfunc(path):
    return Model()
"""
TYPES = {"amount": "double", "hour": "long"}
COLUMNS = tuple(TYPES)
ROWS = [[1.5, 2], [0.1, 7], [1e300, 1]]
SCORES = [1.5 + 2 / 3, 0.1 + 7 / 3, 1e300 + 1 / 3]
EXAMPLE = {"dataframe_split": {"columns": list(COLUMNS), "data": [[12.5, 3], [0.25, 1]]}}

PRINTS = """
import os, sys
print('{"scores": [9.0, 9.0, 9.0]}', flush=True)
print("serinus-answer-1 2 00\\neJw=\\nserinus-answer-end", flush=True)
sys.stderr.write('{"scores": [9.0]}')
os.write(1, b'{"scores": [9.0, 9.0, 9.0]}\\n')
"""
NETWORK = "import socket\nsocket.create_connection(('10.99.0.2', 22), 3)\n"
EATS = "held = bytearray(6 << 30)\nheld[:] = b'x' * len(held)\n"
HANGS = "import time\ntime.sleep(600)\n"
DEEP = "import os, time\nos.makedirs('/'.join('d' * 70))\ntime.sleep(600)\n"
ABORTS = "import os\nos.abort()\n"
LEAVES = "import os\nos._exit(0)\n"
BABBLES = "import os\nfor n in range(3, 20):\n    try: os.write(n, b'[[[[')\n    except OSError: pass\nos._exit(0)\n"
OWN = "raise ImportError(\"No module named 'hidden'\", name='hidden')\n"
FAILS = ADDS_UP.replace("warnings.warn", "raise ValueError(data) #")
SHORT = ADDS_UP.replace("/ 3", "/ 3)[:1] + (0").replace("return data", "return (data")


def hand_made(directory: Path, code: str) -> Path:
    """A model whose loader is `code`, as MLflow saves one."""
    (directory / "code").mkdir(parents=True)
    name = f"handmade_{os.urandom(4).hex()}"
    (directory / "code" / f"{name}.py").write_text(code)
    specs = [{"type": kind, "name": column, "required": True} for column, kind in TYPES.items()]
    mlmodel: dict[str, Any] = {
        "flavors": {"python_function": {"loader_module": name, "code": "code", "env": "conda.yaml"}},
        "utc_time_created": "2026-01-01 00:00:00.000000",
        "signature": {"inputs": json.dumps(specs), "outputs": None},
    }
    (directory / "MLmodel").write_text(json.dumps(mlmodel))
    (directory / "serving_input_example.json").write_text(json.dumps(EXAMPLE))
    (directory / "extra.pkl").write_bytes(pickle.dumps(os.path.join))
    return directory


class TrialsContract:
    @pytest.fixture
    def saved(self, keep: Keep, tmp_path: Path) -> Callable[[str], str]:
        """Saves a model of this code. Returns its digest."""

        def save(code: str) -> str:
            digest = os.urandom(32).hex()
            return keep(hand_made(tmp_path / digest, code), digest)

        return save

    @pytest.fixture
    def adds_up(self, saved: Callable[[str], str]) -> str:
        return saved(ADDS_UP)

    def test_a_scan_names_what_pickles_would_import(self, trials: Both, adds_up: str) -> None:
        found = trials.scan(adds_up)
        assert [(one["file"], one["imports"]) for one in found["pickles"]] == [("extra.pkl", ["posixpath.join"])]
        assert any(name.startswith("code/handmade_") for name in found["other"])

    def test_a_model_that_loads_has_no_reason(self, trials: Both, adds_up: str, environment: str) -> None:
        assert trials.loads(environment, adds_up) is None

    def test_the_reference_has_every_bit_of_the_models_own_scores(
        self, trials: Both, adds_up: str, environment: str
    ) -> None:
        assert trials.reference(environment, adds_up, COLUMNS, ROWS, None) == SCORES

    def test_a_rehearsal_has_the_question_and_the_answers(self, trials: Both, adds_up: str, environment: str) -> None:
        found = trials.rehearse(release_of(adds_up, environment), None)
        assert found.question is not None
        assert (found.question.document, found.source, found.rows) == (EXAMPLE, "the input example", 2)
        assert found.answers == ((13.5,), (0.25 + 1 / 3,))
        assert [(one.category, one.message) for one in found.warnings] == [("FutureWarning", "soon gone")]

    def test_given_rows_are_asked_where_there_is_no_example(
        self, trials: Both, keep: Keep, environment: str, tmp_path: Path
    ) -> None:
        directory = hand_made(tmp_path / "without", ADDS_UP)
        (directory / "serving_input_example.json").unlink()
        release = release_of(keep(directory, os.urandom(32).hex()), environment)
        found = trials.rehearse(release, GivenRows("the golden rows", COLUMNS, [ROWS[0]] * 200))
        assert (found.source, found.rows, found.answers) == ("the golden rows", 50, ((SCORES[0],),) * 50)
        together = replace(release, settings=ServingSettings(rows="together"))
        assert trials.rehearse(together, GivenRows("the golden rows", COLUMNS, [ROWS[0]] * 200)).rows == 200

    def test_requests_are_rescored_each_by_itself(self, trials: Both, adds_up: str, environment: str) -> None:
        def request(columns: Sequence[str], rows: Any) -> AnsweredRequest:
            return AnsweredRequest("m-1-abcdef", tuple(columns), rows, [0.0] * len(rows))

        asked = [
            request(COLUMNS, ROWS),
            request(COLUMNS[::-1], [row[::-1] for row in ROWS[:1]]),
            request(("x",), [[1]]),
        ]
        found = trials.rescore(release_of(adds_up, environment), asked)
        assert list(found.answers) == [OwnAnswer(SCORES, "FP64"), OwnAnswer(SCORES[:1], "FP64"), None]
        assert 0 < found.seconds < 120

    def test_what_a_model_prints_is_not_its_answer(
        self, trials: Both, saved: Callable[[str], str], environment: str
    ) -> None:
        assert trials.reference(environment, saved(PRINTS + ADDS_UP), COLUMNS, ROWS, None) == SCORES

    @pytest.mark.parametrize(
        ("code", "words"),
        [
            (NETWORK, "PermissionError"),
            (ABORTS, "killed by SIGABRT: Fatal Python error: Aborted"),
            (OWN, "hidden"),
        ],
        ids=["network", "aborts", "import"],
    )
    def test_a_model_that_does_not_load_says_why(
        self, trials: Both, saved: Callable[[str], str], environment: str, code: str, words: str
    ) -> None:
        assert words in said(lambda: trials.loads(environment, saved(code)))

    @pytest.mark.parametrize("code", [LEAVES, BABBLES], ids=["nothing", "garbage"])
    def test_a_model_that_ends_without_an_answer_is_said(
        self, trials: Both, saved: Callable[[str], str], environment: str, code: str
    ) -> None:
        assert "it exited with 0 without an answer" in said(lambda: trials.loads(environment, saved(code)))

    @pytest.mark.parametrize(
        ("code", "words"),
        [
            (EATS, "memory"),
            (DEEP, "it had written directories more than 64 deep and was killed"),
        ],
        ids=["memory", "files"],
    )
    def test_a_model_that_takes_too_much_loads_in_no_environment(
        self, narrow: Both, saved: Callable[[str], str], environment: str, code: str, words: str
    ) -> None:
        with pytest.raises(Unbuildable, match="The model does not load: ") as raised:
            narrow.loads(environment, saved(code))
        assert words in str(raised.value)

    def test_a_model_that_takes_too_long_loads_in_no_environment(
        self, hurried: Both, saved: Callable[[str], str], environment: str
    ) -> None:
        with pytest.raises(Unbuildable, match=r"The model does not load: .*it took longer than \d s and was killed"):
            hurried.loads(environment, saved(HANGS))

    @pytest.mark.parametrize(
        ("code", "words"),
        [(FAILS, "the model failed on the rows: ValueError"), (SHORT, "row")],
        ids=["raises", "short"],
    )
    def test_a_model_that_gives_no_scores_says_why(
        self, trials: Both, saved: Callable[[str], str], environment: str, code: str, words: str
    ) -> None:
        with pytest.raises(Unbuildable, match=words):
            trials.reference(environment, saved(code), COLUMNS, ROWS, None)


def said(ask: Callable[[], str | None]) -> str:
    """The reason, whether it is one of the environment or of the model itself."""
    try:
        return ask() or "it loads"
    except Unbuildable as error:
        return str(error)


def release_of(artifact: str, environment: str) -> Release:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    return Release("m-1-abcdef", "m", "1", artifact, environment, ServingSettings(), when)
