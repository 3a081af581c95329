"""What the agent of a gateway writes to its log: the real program, with an API server that takes no report."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from lease_server import serving_leases
from waiting import free_port, wait_until


def test_its_own_requests_are_not_in_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    ports = [f"--{name}={free_port()}" for name in ("port", "probe-port", "health-port")]
    with serving_leases(tmp_path) as (kubeconfig, *_), log.open("wb") as stream:
        agent = subprocess.Popen(
            [
                *(sys.executable, "-m", "serinus.targets.kubernetes.gateway", "--address=127.0.0.1"),
                *(f"--home={tmp_path / 'home'}", f"--kubeconfig={kubeconfig}"),
                *("--namespace=serinus", "--models=serinus", "--pod=gateway-0", "--uid=uid", *ports),
            ],
            stdout=stream,
            stderr=stream,
        )
        try:
            wait_until(lambda: "the report could not be written" in log.read_text(), what="an answer to the agent")
            agent.send_signal(signal.SIGTERM)
            assert agent.wait(20) == 0
        finally:
            agent.kill()
            agent.wait()
    assert "HTTP Request" not in log.read_text()
