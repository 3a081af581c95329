"""The collector of a cluster, as a process, with its table in a bucket and its counts in PostgreSQL."""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from object_stores import BUCKET, ObjectStore
from waiting import free_port, wait_until

from serinus.core.home import Home
from serinus.core.keys import log_token
from serinus.predictions import DeltaPredictionLog
from serinus.predictions.paths import counts_path, table_path
from serinus.predictions.table.places import place_at
from serinus.targets.kubernetes.settings_file import load
from serinus.targets.local.supervisor import settings as chosen
from serinus.targets.local.supervisor.directories import make
from serinus.targets.local.supervisor.settings import Settings
from serinus.wiring.collectors import make_identity

RELEASE = "fraud-1-abcdef"
PLACE = f"s3://{BUCKET}/cluster-collector"


@pytest.fixture
def home(tmp_path: Path, postgres_database: str) -> Home:
    """Of a control plane whose cluster does not answer at present."""
    made = Home(tmp_path / "home")
    made.path.mkdir()
    make(made)
    kubeconfig = {
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
    document = {
        "kubeconfig": "kubeconfig",
        "namespace": "fraud",
        "images": {"repository": "registry.example/serinus", "base": f"registry.example/base@sha256:{'0' * 64}"},
        "collectors": {"listen": f"127.0.0.1:{free_port()}", "addresses": ["192.0.2.10:7443"]},
    }
    file = tmp_path / "cluster.yaml"
    file.write_text(yaml.safe_dump(document))
    make_identity(made, load(file))
    places = {"predictions": PLACE, "predictions_database": postgres_database}
    chosen.save(made, Settings({"api": 1, "mlflow": 3}, cluster=str(file), **places))
    return made


def send(home: Home) -> None:
    """One batch with one record, which is acknowledged."""
    hello = {"release": RELEASE, "token": log_token(home.secret.read_text(), RELEASE), "boot": secrets.token_hex(8)}
    record = {"t": time.time(), "id": "request-1", "entity": None, "role": "champion", "split": "s1", "status": 200}
    record |= {"ms": 2.0, "rows": 1, "scores": [0.5], "answers": None, "error": None, "fallback": 0, "cached": 0}
    record |= {"columns": None, "inputs": None}
    body = json.dumps({**{name: [value] for name, value in record.items()}, "headers": []}).encode()
    with socket.socket(socket.AF_UNIX) as connection:
        wait_until(lambda: connection.connect_ex(str(home.log_socket)) == 0)
        connection.sendall(json.dumps({**hello, "format": 2}).encode() + b"\n")
        connection.sendall(json.dumps({"seq": 1, "bytes": len(body)}).encode() + b"\n" + body)
        assert connection.recv(100)


def test_it_writes_where_the_settings_of_the_home_say(
    home: Home, object_store: ObjectStore, postgres_database: str, tmp_path: Path
) -> None:
    process = subprocess.Popen([sys.executable, "-m", "serinus.wiring", "collector", "--home", str(home.path)])
    other = DeltaPredictionLog(Home(tmp_path / "other"), place=place_at(PLACE), database=postgres_database)
    with closing(other):
        try:
            wait_until(home.log_socket.exists)
            send(home)
            wait_until(lambda: RELEASE in other.totals())
        finally:
            process.terminate()
            assert process.wait(60) == 0
        assert other.totals()[RELEASE].requests == 1
        assert other.read().collect()["request_id"].to_list() == ["request-1"]
    assert not counts_path(home).exists()
    assert not table_path(home).exists()
