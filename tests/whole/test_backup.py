"""A home is saved while it serves, and another one that is made of it gives the same answers."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import polars as pl
import pytest
from waiting import free_port
from whole_load import wait_until
from whole_serinus import Serinus

from serinus.backends.git import GitFleet
from serinus.core.home import Home
from serinus.predictions import DeltaPredictionLog
from serinus.targets.local.supervisor import Options, down, up
from serinus.wiring.backup import build_environments, restore, save

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

MODEL = "saved"
RATE = 100.0
ROWS = [{"amount": float(amount), "hour": float(amount % 24)} for amount in range(1, 400, 7)]


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="serinus-elsewhere-", dir="/tmp"))
    yield directory
    down(Home(directory / "home"))
    shutil.rmtree(directory, ignore_errors=True)


def test_it_is_restored_elsewhere_and_gives_the_same_answers(
    serinus: Serinus, register: Callable[..., str], elsewhere: Path
) -> None:
    ended = serinus.ended(serinus.deploy(f"{MODEL}@{register(MODEL, 1.0)}"), timeout=600)
    assert ended["status"]["phase"] == "promoted", ended["status"]
    with serinus.load(MODEL, RATE) as load:
        wait_until(lambda: len(load.seen) > 5 * RATE, 60, "steady load")
        before = serinus.logged(load, missing=int(RATE))
        saved = save(serinus.home, elsewhere / "backup")
    assert load.in_words() == {}

    home = Home(elsewhere / "home")
    restore(saved.path, home)
    assert build_environments(home, print) == []
    addresses = up(home, Options(ports={name: free_port() for name in ("api", "envoy", "mlflow")}))
    assert list(addresses.warnings) == []
    path, asked = f"/models/{MODEL}/invocations", {"dataframe_records": ROWS}
    with httpx.Client(base_url=addresses.envoy, timeout=20, trust_env=False) as callers:
        theirs = callers.post(path, json=asked).raise_for_status()
    ours = serinus.callers.post(path, json=asked).raise_for_status()
    assert theirs.json() == ours.json()
    assert theirs.headers["x-serinus-release"] == ours.headers["x-serinus-release"] == ended["candidate"]["id"]

    mine = pl.col("request_id").str.starts_with(f"{load.prefix}-")
    kept = DeltaPredictionLog(home).read().filter(mine).select("request_id").collect()["request_id"]
    assert set(before["request_id"]) <= set(kept), "no record that was there is lost"
    assert kept.n_unique() == len(kept), "and none is there twice"
    assert GitFleet(home.fleet).live(MODEL) == GitFleet(serinus.home.fleet).live(MODEL)
