"""`up` beyond loopback: with TLS, or refused in a sentence before anything is changed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from identities import Authority
from stages import Stage, end_everything

from serinus.core.errors import InvalidInput, Refused
from serinus.core.home import Home
from serinus.targets.local.supervisor import Addresses, Options, down, up
from serinus.targets.local.supervisor import settings as chosen
from serinus.targets.local.supervisor.settings import Settings


@pytest.fixture
def stage() -> Iterator[Stage]:
    """Short enough for Unix sockets."""
    directory = Path(tempfile.mkdtemp(prefix="serinus-", dir="/tmp"))
    made = Stage(Home(directory / "home"))
    made.listens()
    yield made
    for _ in range(2):
        end_everything(made.home)
    shutil.rmtree(directory, ignore_errors=True)


def begin(stage: Stage, options: Options | None = None) -> Addresses:
    return up(stage.home, options, launch=stage.launch)


def test_beyond_loopback_without_tls_is_refused_and_nothing_is_changed(stage: Stage) -> None:
    for _ in range(2):
        with pytest.raises(Refused, match=r"0\.0\.0\.0 is not loopback, and without TLS tokens") as caught:
            begin(stage, Options(listen="0.0.0.0"))
    assert "--tls-cert FILE" in caught.value.hint
    assert "--insecure" in caught.value.hint
    assert (stage.pids(), chosen.load(stage.home)) == ({}, None)


def test_insecure_is_remembered_and_told_each_time(stage: Stage) -> None:
    for options in (Options(listen="0.0.0.0", insecure=True), Options()):
        found = begin(stage, options)
        assert any("0.0.0.0 is served without TLS" in warning for warning in found.warnings)
        assert found.api.startswith("http://0.0.0.0:")
        down(stage.home)


def test_a_home_of_an_earlier_version_that_listens_in_the_clear_is_asked_to_say_so(stage: Stage) -> None:
    stage.home.path.mkdir(mode=0o700)
    before = Settings({"api": 1, "envoy": 2, "mlflow": 3}, listen="0.0.0.0")
    chosen.save(stage.home, before)
    with pytest.raises(Refused, match="without TLS"):
        begin(stage, Options(ports={"api": 21_301, "envoy": 21_302, "mlflow": 21_303}))
    assert chosen.load(stage.home) == before


def test_with_certificates_it_says_https_and_keeps_them_until_they_are_taken_back(
    stage: Stage, authority: Authority, tmp_path: Path
) -> None:
    cert, key = authority.issue().written(tmp_path)
    found = begin(stage, Options(listen="0.0.0.0", tls_cert=cert, tls_key=key, allowed_hosts=("serinus.test",)))
    assert found.warnings == () or not any("TLS" in warning for warning in found.warnings)
    assert found.api.startswith("https://serinus.test:")
    assert found.envoy.startswith("https://serinus.test:")
    assert stage.home.tls_server.exists()
    down(stage.home)
    assert any("without TLS" in warning for warning in begin(stage, Options(insecure=True)).warnings)
    down(stage.home)
    assert list(stage.home.tls.iterdir()) == []


def test_files_that_are_wrong_stop_up_before_anything_is_changed(
    stage: Stage, authority: Authority, tmp_path: Path
) -> None:
    cert, key = authority.issue().written(tmp_path)
    Path(key).chmod(0o604)
    with pytest.raises(Refused, match="may be used by other users"):
        begin(stage, Options(listen="0.0.0.0", tls_cert=cert, tls_key=key))
    Path(key).unlink()
    with pytest.raises(InvalidInput, match="cannot be read"):
        begin(stage, Options(listen="0.0.0.0", tls_cert=cert, tls_key=key))
    assert (stage.pids(), chosen.load(stage.home), list(stage.home.tls.iterdir())) == ({}, None, [])


def test_what_went_on_running_is_taken_over_though_its_certificate_is_gone_now(
    stage: Stage, authority: Authority, tmp_path: Path
) -> None:
    import os
    import signal

    from waiting import wait_until

    cert, key = authority.issue().written(tmp_path)
    begin(stage, Options(listen="0.0.0.0", tls_cert=cert, tls_key=key))
    os.kill(int(stage.pid("supervisor") or 0), signal.SIGKILL)
    wait_until(lambda: stage.pid("supervisor") is None)
    Path(key).unlink()
    assert begin(stage).api.startswith("https://")
