"""Where the command line sends requests to models of a home that runs them on a cluster."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from serinus.cli.session import Session
from serinus.cli.terminal import Terminal
from serinus.core.errors import Unavailable
from serinus.core.home import Home
from serinus.lib.processes import look
from serinus.targets.local.supervisor import settings as chosen
from serinus.targets.local.supervisor import state
from serinus.targets.local.supervisor.directories import make
from serinus.targets.local.supervisor.settings import Settings
from serinus.targets.local.supervisor.state import ProcessRecord

URL = "http://10.96.0.7:80"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.path.mkdir()
    make(home)
    chosen.save(home, Settings({"api": 1}, cluster="/etc/serinus/cluster.yaml", gateways=URL))
    return home


def test_models_are_asked_through_the_gateways_while_the_engine_runs(home: Home) -> None:
    session = Session(home, None, Terminal(as_json=False))
    with pytest.raises(Unavailable, match="Serinus is not running"):
        session.envoy()
    me = look(os.getpid())
    assert me is not None
    state.write(home, ProcessRecord("control", state.RUNNING, me.pid, me.identity, time.time()))
    assert session.envoy() == URL


def test_the_certificate_of_gateways_is_checked_by_authorities_and_not_by_that_of_the_home(home: Home) -> None:
    """The home has none."""
    assert Session(home, None, Terminal(as_json=False)).callers_context("https://10.96.0.7:443") is not None
