"""Ways around an approval, around a gate and around a revoked token, with the role `deploy` or less."""

from __future__ import annotations

import threading
import time

import httpx
import pytest
from hostile_models import mlmodel
from hostile_serinus import SPEC, Attacked, fresh, shared

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]

COLUMNS = [{"type": "double", "name": "amount", "required": True}]
MLMODEL = mlmodel(inputs=COLUMNS, outputs=[{"type": "double", "name": "score"}])
EXAMPLE = '{"dataframe_split": {"columns": ["amount"], "data": [[1.0]]}}'
NOT_A_NUMBER = """
class Model:
    def predict(self, rows, params=None):
        return [float("nan")] * len(rows)
def _load_pyfunc(path):
    return Model()
"""


def _version(serinus: Attacked, model: str, **files: str) -> str:
    named = {name.replace("__", "/").replace("_py", ".py"): text for name, text in files.items()}
    whole = {"MLmodel": MLMODEL, "serving_input_example.json": EXAMPLE, **named}
    return serinus.register(model, whole, shared())


def _asks_for_approval(model: str) -> str:
    return SPEC.format(model=model).replace("{steps: []}", "{approval: required, steps: []}")


@pytest.fixture(scope="module")
def waiting(serinus: Attacked) -> tuple[str, str, str, str, str]:
    """A model with a champion and a candidate that waits for an approval: model, champion, candidate, the rollout's id
    and the token of who asked."""
    model = fresh("approval")
    first = serinus.promoted(_version(serinus, model))
    _, token = serinus.token("deploy")
    rollout = serinus.attempt(_version(serinus, model), _asks_for_approval(model), token)
    assert rollout["status"]["phase"] == "approval", rollout["status"]
    return model, first, str(rollout["candidate"]["id"]), str(rollout["id"]), token


Waiting = tuple[str, str, str, str, str]


@pytest.mark.parametrize("other", [False, True])
def test_a_candidate_that_waits_for_an_approval_is_not_rolled_back_to(
    serinus: Attacked, waiting: Waiting, *, other: bool
) -> None:
    """`other`: by a second person who may deploy and not approve."""
    model, first, candidate, rollout, token = waiting
    if other:
        _, token = serinus.token("deploy")
    for release in (candidate, candidate.upper(), None):
        answer = serinus.post(f"/v1/models/{model}/rollback", {"to": release, "why": "x"}, token)
        assert answer.status_code in (404, 409, 422), answer.text
    assert serinus.champion(model) == first
    assert serinus.rollout(rollout)["status"]["phase"] == "approval"


@pytest.mark.parametrize("kind", ["promote", "approve"])
def test_who_asked_neither_approves_nor_promotes(serinus: Attacked, waiting: Waiting, kind: str) -> None:
    model, first, _, rollout, token = waiting
    answer = serinus.post(f"/v1/rollouts/{rollout}/orders", {"kind": kind, "why": "x"}, token)
    assert answer.status_code in (403, 404, 409, 422), answer.text
    assert serinus.champion(model) == first


def test_another_deployment_whose_spec_asks_for_nothing_still_waits(serinus: Attacked) -> None:
    model = fresh("drops")
    first = serinus.promoted(_version(serinus, model))
    ref = _version(serinus, model)
    rollout = serinus.attempt(ref, _asks_for_approval(model))
    serinus.post(f"/v1/rollouts/{rollout['id']}/orders", {"kind": "abort", "why": "x"}).raise_for_status()
    serinus.ended(rollout["id"])
    _, token = serinus.token("deploy")
    for spec in (SPEC.format(model=model), _asks_for_approval(model).replace("required", "none")):
        answer = serinus.asked(ref, spec, token)
        if answer.status_code != 202:
            assert answer.status_code in (409, 422), answer.text
            continue
        rollout = serinus.settled(str(answer.json()["rollout"]))
        assert rollout["status"]["phase"] == "approval", rollout["status"]
        answer = serinus.post(f"/v1/rollouts/{rollout['id']}/orders", {"kind": "approve", "why": "x"}, token)
        assert answer.status_code in (403, 409), answer.text
        serinus.post(f"/v1/rollouts/{rollout['id']}/orders", {"kind": "abort", "why": "x"}, token)
        serinus.ended(rollout["id"])
    assert serinus.champion(model) == first


def test_what_failed_its_gate_is_not_rolled_back_to_and_the_gate_is_named(serinus: Attacked) -> None:
    model = fresh("failed")
    first = serinus.promoted(_version(serinus, model))
    failed = serinus.attempt(_version(serinus, model, code__by_hand_py=NOT_A_NUMBER))
    assert failed["status"]["phase"] == "aborted"
    release = str(failed["candidate"]["id"])
    _, token = serinus.token("deploy")
    answer = serinus.post(f"/v1/models/{model}/rollback", {"to": release, "why": "x"}, token)
    assert answer.status_code == 409
    assert "example" in answer.text or "asked" in answer.text, answer.text
    assert serinus.post(f"/v1/models/{model}/rollback", {"to": None, "why": "x"}, token).status_code == 409
    assert serinus.champion(model) == first


def test_a_stream_of_events_ends_when_its_token_is_revoked_whatever_happens_meanwhile(serinus: Attacked) -> None:
    name, token = serinus.token("view")
    began, ended, stop = threading.Event(), threading.Event(), threading.Event()

    def listen() -> None:
        headers = {"Authorization": f"Bearer {token}"}
        with (
            httpx.Client(base_url=serinus.addresses.api, timeout=60, trust_env=False) as client,
            client.stream("GET", "/v1/events/stream", headers=headers) as stream,
        ):
            assert stream.status_code == 200
            began.set()
            for _ in stream.iter_raw():
                pass
        ended.set()

    def busy() -> None:
        while not stop.wait(0.2):
            serinus.asked(f"{fresh('nobody')}@1")

    listener, maker = threading.Thread(target=listen), threading.Thread(target=busy)
    listener.start()
    maker.start()
    try:
        assert began.wait(20)
        serinus.api.delete(f"/v1/tokens/{name}").raise_for_status()
        revoked = time.monotonic()
        assert ended.wait(20)
        assert time.monotonic() - revoked < 5
    finally:
        stop.set()
        maker.join()
        listener.join(30)
    headers = {"Authorization": f"Bearer {token}"}
    assert serinus.api.get("/v1/status", headers=headers).status_code == 401
