"""What the demo on one machine and the one on a cluster have in common."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from demo.account import Account, outcome, say
from demo.serinus import MODEL, Serinus
from examples.card_fraud.data import FEATURES, LABEL, second_day, transactions

ROOT = Path(__file__).parent.parent
DATA = ROOT / "data"
SPECS = ROOT / "examples" / "card_fraud"


def prepare_data(every: int = 1) -> Path:
    """Every so many rows of the second day, in the order of time, as the file that is replayed; fetched and written
    once."""
    day = DATA / ("second-day.parquet" if every == 1 else f"second-day-{every}.parquet")
    if not day.exists():
        say("Fetching the ULB card transactions of September 2013 (284,807 rows, 492 frauds; ODbL)")
        frame = second_day(transactions(DATA))
        frame[[*FEATURES, "entity", LABEL]][::every].to_parquet(day, index=False)
    return day


def begin_anew(serinus: Serinus) -> None:
    if serinus.home.exists():
        subprocess.run(serinus.line("down"), capture_output=True, check=False)
        shutil.rmtree(serinus.home)


def up(serinus: Serinus, account: Account, words: Sequence[str], how: str) -> Mapping[str, str]:
    """Starts Serinus; its addresses."""
    code, seconds = serinus.shown("up", *words)
    if code != 0:
        raise SystemExit("`serinus up` failed: see above")
    account.add("everything is up", seconds, how)
    addresses: Mapping[str, str] = serinus.json("up")
    return addresses


def train(mlflow_env: str, *variants: str) -> float:
    """As a person does: sources the file that `up` names, and runs the script. How many seconds it took."""
    began = time.monotonic()
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    script = [sys.executable, "-m", "examples.card_fraud.train", *variants, "--data", str(DATA)]
    words = ["sh", "-c", f'. {shlex.quote(mlflow_env)} && exec "$@"', "sh", *script]
    trained = subprocess.run(words, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    if trained.returncode != 0:
        raise SystemExit(f"training failed:\n{trained.stderr}")
    return time.monotonic() - began


@contextmanager
def replayed(serinus: Serinus, day: Path, rate: int) -> Iterator[dict[str, Any]]:
    """The day is replayed, again and again, while the block runs. What it gives is empty until then, and the report of
    the replay afterwards."""
    words = ["replay", str(day), "--model", MODEL, "--rate", str(rate), "--passes", "50", "--fresh-entities"]
    words += ["--protocol", "invocations", "--entity", "entity", "--label", LABEL, "--json"]
    report: dict[str, Any] = {}
    with serinus.beside(*words) as replay:
        yield report
        replay.send_signal(signal.SIGINT)
        said, _ = replay.communicate(timeout=60)
    report.update(json.loads(said))


def first(serinus: Serinus, account: Account, *words: str) -> None:
    say("The first version: there is no champion to compare with, so it goes from the gates to full traffic")
    code, seconds = serinus.shown("deploy", f"{MODEL}@1", *words, "--reason", "first model")
    account.add("v1 (scikit-learn pipeline) is live", seconds, outcome(serinus, account, code, 0, "promoted"))


def better(serinus: Serinus, account: Account) -> None:
    say("A better model: gradient-boosted trees. By canary, judged at every step")
    code, seconds = serinus.shown("deploy", f"{MODEL}@2", "--reason", "trees catch more")
    account.add("v2 (XGBoost) is promoted", seconds, outcome(serinus, account, code, 0, "promoted"))


def worse(serinus: Serinus, account: Account) -> None:
    say(
        "Trees blended with the risk of the time of day: a little better offline. Its table has never seen a second day"
    )
    code, seconds = serinus.shown("deploy", f"{MODEL}@3", "--reason", "the hour matters")
    account.add("v3 is aborted in the canary", seconds, outcome(serinus, account, code, 1, "aborted", "judge"))


def wait_for_the_reader(addresses: Mapping[str, str]) -> None:
    print(f"\n  The status page: {addresses['login']}", flush=True)
    if os.environ.get("DEMO_EXIT"):
        return
    print("  It keeps running. Ctrl-C ends it.", flush=True)
    try:
        signal.pause()
    except KeyboardInterrupt:
        print()
