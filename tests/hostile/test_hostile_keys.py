"""Keys of callers, from the command line to the prediction log. On a Serinus of its own: others' callers have none."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import polars as pl
import pytest
from hostile_models import SHELL, SHELL_INPUTS, SHELL_OUTPUTS, mlmodel, requirements
from hostile_serinus import Attacked, running
from whole_load import wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(280)]

SEEN = "import os; print('srn_' in str(dict(os.environ)))"


@pytest.fixture(scope="module")
def serinus() -> Iterator[Attacked]:
    with running() as serinus:
        yield serinus


@pytest.fixture(scope="module")
def shell(serinus: Attacked) -> str:
    files = {"MLmodel": mlmodel(inputs=SHELL_INPUTS, outputs=SHELL_OUTPUTS), "code/by_hand.py": SHELL}
    serinus.promoted(serinus.register("shell", files, requirements("scikit-learn", "cloudpickle")))
    return "shell"


def ask(client: httpx.Client, model: str, key: str = "", code: str = "print(1)", **more: str) -> httpx.Response:
    headers = {"x-api-key": key} if key else {}
    rows = {"dataframe_records": [{"code": code}]}
    return client.post(f"/models/{model}/invocations", json=rows, headers={**headers, **more})


def files_with(serinus: Attacked, key: str) -> list[Path]:
    """In the home, but for the packages of environments, and empty files, as locks are."""
    files = (path for path in serinus.home.path.rglob("*") if serinus.home.environments not in path.parents)
    return [path for path in files if path.is_file() and path.stat().st_size and key.encode() in path.read_bytes()]


def test_a_key_opens_its_models_is_recorded_by_name_and_ends_at_once(serinus: Attacked, shell: str) -> None:
    callers = serinus.callers
    assert ask(callers, shell).status_code == 200, "nobody has made a key yet"
    opens, shut = (
        json.loads(serinus.said("key", "create", name, "--model", model, "--json"))["key"]
        for name, model in (("payments", shell), ("shop", "another"))
    )
    assert ask(callers, shell).status_code == 401
    assert ask(callers, shell, "srn_wrong").status_code == 401
    assert ask(callers, shell, shut).status_code == 403
    seen = ask(callers, shell, opens, SEEN, **{"x-serinus-caller": "shop", "x-request-id": "mine"})
    assert seen.status_code == 200
    assert seen.json()["predictions"][0]["out"] == "False\n"

    def recorded() -> list[str] | None:
        found = serinus.log.read(shell).filter(pl.col("request_id") == "mine").collect()
        return found["caller"].to_list() or None

    assert wait_until(recorded, 30.0, "the record") == ["payments"]
    assert "revoked" in serinus.said("key", "revoke", "payments", "--yes").decode()
    revoked = time.monotonic()
    assert ask(callers, shell, opens).status_code == 401, "over a connection that was open before"
    assert time.monotonic() - revoked < 2
    assert ask(callers, shell).status_code == 401
    assert files_with(serinus, opens) == [], "the key itself is kept nowhere"
    routes = serinus.home.envoy / "xds" / "routes.json"
    assert files_with(serinus, shut) == [routes], "nor is one that holds, but where Envoy reads it"
