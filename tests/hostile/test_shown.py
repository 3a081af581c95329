"""What a model writes, where people read it: as text, whatever it holds."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
from hostile_models import mlmodel
from hostile_serinus import Attacked, fresh, shared

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]

ESCAPES = "\x1b[2J\x1b]0;owned\x07\x9b31m\r12:00 promoted: model@9 is champion"
BIDI = "\u202e\u2066\u2069\u200b\u200d\u2060\ufeff\U000e0041"
MARKUP = "<script>alert(1)</script><img src=x onerror=alert(1)>"
UNSHOWABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]"
)


@pytest.fixture(scope="module")
def stopped(serinus: Attacked) -> Mapping[str, Any]:
    """A rollout that ended with what the model's loader raised."""
    loader = f"def _load_pyfunc(path): raise Exception({BIDI + MARKUP + ESCAPES!r})\n"
    rollout = serinus.attempt(serinus.register(fresh("escapes"), {"code/by_hand.py": loader}, shared()))
    assert rollout["status"]["phase"] == "aborted", rollout["status"]
    assert "owned" in rollout["status"]["reason"], rollout["status"]
    return rollout


def test_what_is_stored_holds_no_control_characters(stopped: Mapping[str, Any]) -> None:
    assert not UNSHOWABLE.search(stopped["status"]["reason"])


@pytest.mark.parametrize("verb", ["explain", "status", "releases", "events"])
def test_the_command_line_shows_no_control_characters(serinus: Attacked, stopped: Mapping[str, Any], verb: str) -> None:
    words = [verb, stopped["id"] if verb == "explain" else stopped["model"]]
    for more in ([], ["--json"]):
        said = serinus.said(*words, *more).decode()
        assert stopped["model"] in said or "No releases yet" in said or said.strip() == "[]"
        assert not UNSHOWABLE.search(said), said


def test_a_signature_with_escapes_and_markup_is_shown_harmless(serinus: Attacked) -> None:
    column = {"type": "double", "name": f"amount{ESCAPES}{MARKUP}{BIDI}", "required": True}
    model = fresh("columns")
    content = mlmodel(inputs=[column]).replace(json.dumps([column]), json.dumps([column]).replace("'", "''"))
    ref = serinus.register(model, {"MLmodel": content}, shared())
    serinus.attempt(ref)
    for words in (["explain", f"{model}-r1"], ["status", model], ["init", model], ["explain", f"{model}-r1", "--json"]):
        said = serinus.said(*words).decode()
        assert model in said
        assert not UNSHOWABLE.search(said)
    assert not UNSHOWABLE.search((serinus.directory / f"{model}.yaml").read_text())
    answer = serinus.infer(model, [{"other": 1.0}])
    assert answer.status_code in (400, 404)
    assert answer.headers["content-type"].startswith("application/json")


@pytest.mark.parametrize("where", ["a requirement", "a tag", "a description", "an alias"])
def test_text_of_the_registry_and_of_requirements_is_shown_harmless(serinus: Attacked, where: str) -> None:
    model = fresh("text")
    line = f"six=={ESCAPES}{BIDI}" if where == "a requirement" else "six==0.0.1+none"
    ref = serinus.register(model, {}, [line])
    if where == "a tag":
        serinus.mlflow.set_model_version_tag(model, "1", "note", ESCAPES + BIDI)
    elif where == "a description":
        serinus.mlflow.update_model_version(model, "1", ESCAPES + BIDI)
    elif where == "an alias":
        serinus.mlflow.set_registered_model_alias(model, "note", "1")
    answer = serinus.asked(ref)
    if answer.status_code == 202:
        rollout = serinus.settled(str(answer.json()["rollout"]))
        assert not UNSHOWABLE.search(rollout["status"]["reason"])
        for words in (["explain", rollout["id"]], ["status", model], ["events", model]):
            assert not UNSHOWABLE.search(serinus.said(*words).decode())
    else:
        assert not UNSHOWABLE.search(answer.text)


def test_what_a_person_writes_is_shown_harmless(serinus: Attacked) -> None:
    model = fresh("why")
    ref = serinus.register(model, {}, ["six==0.0.1+none"])
    answer = serinus.post("/v1/deployments", {"ref": ref, "spec": None, "why": ESCAPES + BIDI})
    if answer.status_code == 202:
        serinus.settled(str(answer.json()["rollout"]))
    for words in (["status", model], ["events", model], ["audit"]):
        assert not UNSHOWABLE.search(serinus.said(*words).decode())


def test_the_processes_logs_hold_no_control_characters_of_a_model(
    serinus: Attacked, stopped: Mapping[str, Any]
) -> None:
    for name in ("control", "host", "collector", "supervisor"):
        path = serinus.home.logs / f"{name}.log"
        assert not path.exists() or not UNSHOWABLE.search(path.read_text(errors="replace")), name
