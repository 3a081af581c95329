"""A home whose models run on a cluster: what is started, what is not, and what is kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from stages import Stage

from serinus.core.errors import InvalidInput, Refused
from serinus.core.home import Home
from serinus.targets.local.supervisor import Options, down, ports, up
from serinus.targets.local.supervisor import settings as chosen
from serinus.targets.local.supervisor.checks import local_checks
from serinus.targets.local.supervisor.launching import Say, install
from serinus.targets.local.supervisor.settings import Settings
from serinus.wiring.processes import processes_of

URL = "http://10.96.0.7:80"
ON_A_CLUSTER = Settings({"api": 1, "mlflow": 3}, cluster="/etc/serinus/cluster.yaml", gateways=URL)


@pytest.fixture
def file(directory: Path) -> Path:
    path = directory / "cluster.yaml"
    path.write_text("namespace: fraud\nimage: {}\n")
    return path


def test_neither_workers_nor_envoy_are_started(home: Home) -> None:
    home.secret.write_text("s")
    assert [spec.name for spec in processes_of(home, ON_A_CLUSTER)] == ["mlflow", "collector", "control"]
    own_mlflow = replace(ON_A_CLUSTER, mlflow_uri="http://mlflow:5000")
    assert [spec.name for spec in processes_of(home, own_mlflow)] == ["collector", "control"]
    assert {check.process for check in local_checks(home, ON_A_CLUSTER)} == {"mlflow", "collector", "control"}


def test_callers_are_sent_to_the_gateways() -> None:
    assert (ON_A_CLUSTER.url("envoy"), ON_A_CLUSTER.public_url("envoy")) == (URL, URL)
    assert ON_A_CLUSTER.url("api") == "http://127.0.0.1:1"


def test_no_port_is_kept_for_envoy() -> None:
    assert set(ports.assigned(replace(ON_A_CLUSTER, ports={}), {}).ports) == {"api", "mlflow"}


def test_the_file_is_kept_by_its_absolute_path(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    found = Options(cluster=file.name).applied_to(Settings())
    assert found.cluster == str(file)
    assert Options().applied_to(found).cluster == str(file)
    with pytest.raises(InvalidInput, match=r"--cluster nowhere\.yaml cannot be read"):
        Options(cluster="nowhere.yaml").applied_to(Settings())


def test_gateways_are_installed_before_anything_is_started(stage: Stage, file: Path) -> None:
    stage.listens()
    lines: list[str] = []

    def installs(home: Home, settings: Settings, say: Say) -> Settings:
        assert stage.pids() == {}
        say("installed")
        chosen.save(home, replace(settings, gateways=URL))
        return replace(settings, gateways=URL)

    launch = replace(stage.launch, install=installs)
    assert up(stage.home, Options(cluster=str(file)), lines.append, launch=launch).envoy == URL
    assert lines[0] == "installed"
    again = up(stage.home, launch=launch)
    assert (again.already_running, again.envoy) == (True, URL)
    down(stage.home)
    kept = chosen.load(stage.home)
    assert kept is not None
    assert (kept.cluster, kept.gateways) == (str(file), URL)


def test_where_gateways_cannot_be_installed_nothing_is_started_and_the_file_is_not_kept(
    stage: Stage, file: Path
) -> None:
    stage.listens()
    with pytest.raises(Refused) as raised:
        up(stage.home, Options(cluster=str(file)), launch=replace(stage.launch, install=install))
    said = raised.value.message
    assert said.startswith("the gateways of the cluster are not installed: ")
    assert f"{file}:2: image: is not a field; did you mean 'images'?" in said
    assert f"{file}:1: collectors: is missing" in said
    assert stage.pids() == {}
    kept = chosen.load(stage.home)
    assert kept is not None
    assert kept.cluster is None


def test_one_machine_has_nothing_to_install(home: Home) -> None:
    assert install(home, Settings({"api": 1}), lambda _: None) == Settings({"api": 1})
