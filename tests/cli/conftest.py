"""A home whose API is served by a real server in this process, and the command line as a person has it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_harness import Proxy, Said, Serinus
from servers import ServerThread
from small_fleet import Installation, make_home, serving

from serinus.cli.app import run
from serinus.lib import processes
from serinus.targets.local.supervisor import settings as chosen
from serinus.targets.local.supervisor import state


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("SERINUS_HOME", "SERINUS_SERVER", "SERINUS_TOKEN", "SERINUS_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with ServerThread(Proxy()) as server:
        yield server


@pytest.fixture
def installation(tmp_path: Path, proxy: Proxy) -> Iterator[Installation]:
    """Served, with its settings and its token in the home."""
    made = Installation(make_home(tmp_path / ".serinus"))
    made.home.token.write_text(made.token("admin"))
    made.addresses["envoy"] = f"http://127.0.0.1:{proxy.server_port}"
    with serving(made) as address:
        ports = {"api": int(address.rpartition(":")[2]), "envoy": proxy.server_port, "mlflow": 5000}
        chosen.save(made.home, chosen.Settings(ports=ports))
        me = processes.look(os.getpid())
        assert me is not None
        made.home.run.mkdir(exist_ok=True)
        state.write(made.home, state.ProcessRecord("envoy", state.RUNNING, me.pid, me.identity))
        yield made
    made.close()


@pytest.fixture
def serinus(capfd: pytest.CaptureFixture[str]) -> Serinus:
    """`serinus("status", "--json")`, in this process and in a pipe."""

    def call(*arguments: str) -> Said:
        code = run(arguments)
        out, err = capfd.readouterr()
        return Said(code, out, err)

    return call
