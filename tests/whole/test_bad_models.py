"""Models and requests as they should not be, through real deployments: a clear end, and everybody else goes on.

A model that hangs while it loads is left to the host's own tests: the limit that `up` sets is two minutes.
"""

from __future__ import annotations

import gzip
import json
import runpy
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from serinus_runtime.isolation import landlock
from whole_load import wait_until
from whole_serinus import Serinus, written

from serinus.targets.local.supervisor import state

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]

MODELS = Path(__file__).parent / "models"
GOOD = "bystander"
SPEC = """
model: {model}
serving: {{timeout: 5s}}
gates: {{latency_p99: 5s{more}}}
"""
MARK = 918273645.25
"""An amount that no example has and no log may ever hold."""
MARKS = ("918273645", "SECRET-CARD")


@pytest.fixture(scope="module")
def bystander(serinus: Serinus, register: Callable[..., str]) -> str:
    """A release beside the bad ones, which must not notice them; its id."""
    ended = serinus.deployed(f"{GOOD}@{register(GOOD, 1.0)}", text=SPEC.format(model=GOOD, more=""))
    assert ended["status"]["phase"] == "promoted", ended["status"]
    return str(ended["candidate"]["id"])


def deployed(serinus: Serinus, register_code: Callable[..., str], name: str, **how: Any) -> Mapping[str, Any]:
    model = name.replace("_", "-")
    ended = serinus.deployed(f"{model}@{register_code(name, **how)}", text=SPEC.format(model=model, more=""))
    assert serinus.infer(GOOD, [{"amount": 1.0, "hour": 2.0}]).status_code == 200
    return ended


@pytest.mark.parametrize(
    ("name", "causes", "words"),
    [
        ("crashes_at_import", {"environment", "load"}, "SIGSEGV"),
        ("raises_at_import", {"environment", "load"}, "a_library_that_nobody_declared"),
        ("not_a_number", {"gate"}, "no finite score"),
        ("too_few_rows", {"environment", "load", "gate"}, "row"),
    ],
)
def test_a_model_that_does_not_work_is_stopped_before_any_traffic_and_the_reason_is_said(
    serinus: Serinus, bystander: str, register_code: Callable[..., str], name: str, causes: set[str], words: str
) -> None:
    ended = deployed(serinus, register_code, name)
    status = ended["status"]
    print(f"\n{name}: {status['cause']}: {status['reason']}")
    assert status["phase"] == "aborted"
    assert status["cause"] in causes
    assert words in status["reason"]
    assert serinus.infer(name.replace("_", "-"), [{"amount": 1.0, "hour": 2.0}]).status_code == 404


def test_a_model_without_a_signature_is_served_and_that_is_said(
    serinus: Serinus, bystander: str, register_code: Callable[..., str]
) -> None:
    version = register_code("no_signature", signature=False)
    spec = SPEC.format(model="no-signature", more="")
    ended = serinus.deployed(f"no-signature@{version}", text=spec)
    assert "The model could not be asked" in ended["status"]["reason"], ended["status"]
    spec = SPEC.format(model="no-signature", more=", accept: [unasked]")
    ended = serinus.deployed(f"no-signature@{version}", text=spec)
    assert ended["status"]["phase"] == "promoted", ended["status"]
    assert any("without being asked" in note for note in serinus.model("no-signature")["notes"])
    said = [*ended["notes"], *(gate["summary"] for gate in ended["gates"])]
    assert any("without a signature" in line for line in said), said
    answer = serinus.infer("no-signature", [{"anything": 1}])
    assert (answer.status_code, answer.json()) == (200, {"predictions": [0.25]})


def test_a_model_that_ends_in_the_middle_of_a_request_fails_that_one_and_is_back_soon(
    serinus: Serinus, bystander: str, register_code: Callable[..., str]
) -> None:
    ended = deployed(serinus, register_code, "exits")
    assert ended["status"]["phase"] == "promoted", ended["status"]
    release = ended["candidate"]["id"]
    first = serinus.placement(release).pid
    answer = serinus.infer("exits", [{"amount": -MARK, "hour": 1.0}])
    assert answer.status_code in (502, 503, 504)
    assert set(answer.json()) == {"error"}
    row = [{"amount": 1.0, "hour": 1.0}]
    wait_until(lambda: serinus.infer("exits", row).status_code == 200, 20, "the next worker")
    placement = serinus.placement(release)
    assert placement.pid not in (None, first)
    assert placement.restarts in (1, 2)  # what it ended over was asked once more
    assert serinus.model("exits")["champion"]["restarts"] == placement.restarts
    assert [written(serinus.home, mark) for mark in MARKS] == [[], []]


@pytest.mark.skipif(landlock.abi() < 6, reason="this kernel's Landlock does not cover signals")
def test_nothing_that_a_hostile_model_tries_through_a_real_deployment_succeeds(
    serinus: Serinus, bystander: str, register_code: Callable[..., str]
) -> None:
    peer = serinus.placement(bystander).pid
    [beside] = serinus.home.scratch.glob(f"*/{bystander}")  # of a worker that the same zygote has forked
    control, host = serinus.process("control")["pid"], serinus.process("host")["pid"]
    target = {
        "home": str(serinus.home.path),
        "sockets": str(serinus.home.sockets),
        "peers": {bystander: peer, "control": control, "host": host},
        "port": serinus.api.base_url.port,
        "scratches": [str(beside)],
    }
    ended = deployed(serinus, register_code, "hostile", data=json.dumps(target))
    assert ended["status"]["phase"] == "promoted", ended["status"]
    answer = serinus.infer("hostile", [{"amount": 1.0, "hour": 2.0}])
    log = (serinus.home.logs / f"release-{ended['candidate']['id']}.log").read_text()
    assert "at a prediction:" in log
    assert (answer.status_code, answer.json()) == (200, {"predictions": [0.0]}), log
    # What it tried to harm was there to be harmed, and is as it was.
    for path in (serinus.home.token, serinus.home.secret, serinus.home.store, beside):
        assert path.exists()
    assert not list(serinus.home.path.rglob("planted"))
    assert serinus.placement(bystander).pid == peer
    assert [serinus.process(name)["pid"] for name in ("control", "host")] == [control, host]
    assert all(p["state"] == state.RUNNING for p in state.processes(serinus.home))
    assert serinus.api.get("/v1/audit/verify").json() == {"holds": True, "broken_at": None}


def test_the_same_attempts_succeed_where_nothing_confines_them_so_that_their_failure_means_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    for directory in ("scratch/other", "predictions", "fleet"):
        (home / directory).mkdir(parents=True)
    for file in ("token", "secret", "store.db"):
        (home / file).write_text("secret")
    code = shutil.copy(MODELS / "hostile.py", tmp_path)  # it overwrites itself
    monkeypatch.chdir(tmp_path)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as peer, socket.socket() as api:
        api.bind(("127.0.0.1", 0))
        api.listen()
        target = {
            "home": str(home),
            "sockets": "/none",
            "peers": {"other": peer.pid},
            "port": api.getsockname()[1],
            "scratches": [str(home / "scratch" / "other")],
        }
        attacks = runpy.run_path(code)["Attacks"](target)
        tried = {name for name in dir(attacks) if name.startswith("try_")}
        succeeded = set(attacks.succeeded())
    assert tried - succeeded == {"try_command_the_host", "try_write_predictions_of_others"}  # nobody listens here
    assert len(succeeded) > 10


def tensor(name: str, value: Any, shape: tuple[int, ...] = (1,), datatype: str = "FP64") -> dict[str, Any]:
    return {"name": name, "shape": list(shape), "datatype": datatype, "data": [value]}


HOUR = tensor("hour", 2.0)
INFER, INVOKE = f"/v2/models/{GOOD}/infer", f"/models/{GOOD}/invocations"


@pytest.mark.parametrize(
    ("path", "content", "status"),
    [
        pytest.param(INVOKE, {"dataframe_records": [{"amount": MARK}]}, 400, id="a column too few"),
        pytest.param(INVOKE, {"dataframe_records": [{"amout": MARK, "hour": 1.0}]}, 400, id="a wrong column"),
        pytest.param(INVOKE, {"dataframe_records": [{"amount": "SECRET-CARD", "hour": 1.0}]}, 400, id="a wrong type"),
        pytest.param(INVOKE, b'{"dataframe_records": [{"amount": 918273645.25', 400, id="half of JSON"),
        pytest.param(INVOKE, b'{"dataframe_records": "\xff\xfe SECRET-CARD"}', 400, id="not UTF-8"),
        pytest.param(INVOKE, {"anything": MARK}, 400, id="none of the known words"),
        pytest.param(INFER, {"inputs": [tensor("amount", MARK, (2,)), HOUR]}, 400, id="shape and data differ"),
        pytest.param(INFER, {"inputs": [tensor("amount", MARK, (1, 1, 1)), HOUR]}, 400, id="too many dimensions"),
        pytest.param(INFER, {"inputs": [tensor("amount", "SECRET-CARD", datatype="BYTES"), HOUR]}, 400, id="bytes"),
        pytest.param(INFER, {"inputs": [tensor("amount", MARK, datatype="FP17"), HOUR]}, 400, id="no such datatype"),
        pytest.param(INFER, b"SECRET-CARD " * 200_000, 413, id="a body that is too big"),
        pytest.param("/v2/models/nobody/infer", {"inputs": [tensor("amount", MARK)]}, 404, id="no such model"),
    ],
)
def test_a_bad_request_is_answered_with_its_own_4xx_and_nothing_of_its_values_is_told_or_logged(
    serinus: Serinus, bystander: str, path: str, content: Any, status: int
) -> None:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    answer = serinus.callers.post(path, content=body, headers={"content-type": "application/json"})
    check_refused(serinus, answer, status)


def test_a_compressed_request_is_refused_as_such(serinus: Serinus, bystander: str) -> None:
    body = gzip.compress(json.dumps({"dataframe_records": [{"amount": MARK, "hour": 1.0}]}).encode())
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    check_refused(serinus, serinus.callers.post(INVOKE, content=body, headers=headers), 415)


def check_refused(serinus: Serinus, answer: httpx.Response, status: int) -> None:
    """In words and without values, which no log has either; the next one is answered."""
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    assert not any(mark in answer.text for mark in MARKS)
    assert serinus.infer(GOOD, [{"amount": 1.0, "hour": 2.0}]).status_code == 200
    assert [written(serinus.home, mark) for mark in MARKS] == [[], []]
