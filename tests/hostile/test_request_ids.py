"""Request ids: whoever repeats or guesses another's neither labels its prediction nor hides it."""

from __future__ import annotations

import httpx
import polars as pl
import pytest
from hostile_serinus import Attacked, Shell, fresh
from whole_load import wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]

OWN = "x-serinus-prediction-id"


def ask(shell: Shell, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = shell.serinus.infer(shell.model, [{"code": "print(1)"}], headers=named)
    assert answer.status_code == 200, answer.text
    return answer


def labelled(serinus: Attacked, *ids: str) -> dict[str, float]:
    """Prediction id -> label, of those of `ids` that have one."""
    found = serinus.log.labelled().filter(pl.col("prediction_id").is_in(ids)).select("prediction_id", "label").collect()
    return dict(found.rows())


def test_a_repeated_request_id_neither_takes_a_label_nor_keeps_it_away(shell: Shell) -> None:
    serinus, identity = shell.serinus, fresh("payment")
    answers = [
        ask(shell, x_request_id=identity),
        ask(shell, x_request_id=identity, x_serinus_prediction_id="mine", x_serinus_caller="payments"),
    ]
    assert [answer.headers["x-request-id"] for answer in answers] == [identity, identity]
    victim, attacker = (answer.headers[OWN] for answer in answers)
    assert len({victim, attacker, "mine"}) == 3
    wait_until(
        lambda: serinus.log.read().filter(pl.col("request_id") == identity).collect().height == 2, 20, "both records"
    )
    before = serinus.api.get("/v1/outcomes").json()["ambiguous"]
    assert serinus.post("/v1/outcomes", [{"request_id": identity, "label": 0}]).status_code == 200
    assert labelled(serinus, victim, attacker) == {}
    assert serinus.api.get("/v1/outcomes").json()["ambiguous"] == before + 1
    assert b"ambiguous" in serinus.said("outcomes", "check")
    assert serinus.post("/v1/outcomes", [{"prediction_id": victim, "label": 1}]).status_code == 200
    assert labelled(serinus, victim, attacker) == {victim: 1.0}


def test_an_outcome_for_another_callers_name_labels_nothing(shell: Shell) -> None:
    serinus, identity = shell.serinus, fresh("payment")
    own = ask(shell, x_request_id=identity, x_serinus_caller="payments").headers[OWN]
    wait_until(
        lambda: serinus.log.read().filter(pl.col("prediction_id") == own).collect().height == 1, 20, "the record"
    )
    serinus.post("/v1/outcomes", [{"request_id": identity, "caller": "payments", "label": 1}]).raise_for_status()
    assert labelled(serinus, own) == {}
