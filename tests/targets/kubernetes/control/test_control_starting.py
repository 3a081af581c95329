"""The first process of a control plane's container: what it makes of what the pod gives it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from control_values import LEAST, MOST, NAMESPACE

from serinus.cli.app import app
from serinus.core.errors import InvalidInput, Refused
from serinus.core.home import Home
from serinus.targets.kubernetes.control.starting import Given, prepare
from serinus.targets.kubernetes.settings_file import load
from serinus.targets.local.supervisor import directories

SECRET = "5" * 64


@pytest.fixture
def given(tmp_path: Path) -> Given:
    """As the pod mounts it."""
    (tmp_path / "disk").mkdir()
    for name in ("identity", "store", "collectors", "api", "registry", "git"):
        (tmp_path / "secrets" / name).mkdir(parents=True)
    (tmp_path / "secrets" / "identity" / "secret").write_text(f"{SECRET}\n")
    for name in ("tls.crt", "tls.key"):
        (tmp_path / "secrets" / "api" / name).write_text("PEM")
    told = Given(tmp_path / "config.yaml", tmp_path / "secrets", tmp_path / "disk", NAMESPACE, 2)
    configured(told, LEAST)
    return told


def configured(given: Given, document: Any) -> None:
    given.config.write_text(yaml.safe_dump(document["config"]))


def options(words: Any) -> Mapping[str, Any]:
    """The options of `serinus up`, as the command line reads them."""
    up = words.index("up")
    command = typer.main.get_command(app).commands["up"]  # type: ignore[attr-defined]
    read: Mapping[str, Any] = command.make_context("up", list(words[up + 1 :])).params
    return read


def test_the_home_is_made_with_the_secret_that_all_control_planes_share(given: Given) -> None:
    words = prepare(given, os.environ)
    home = Home(given.disk / "home")
    assert words[: words.index("up")] == ["-P", "-m", "serinus.cli", "--home", str(home.path)]
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700
    assert stat.S_IMODE(home.secret.stat().st_mode) == 0o600
    directories.claim(home)  # As `serinus up` does.
    directories.make(home)
    assert home.secret.read_text() == SECRET
    prepare(given, os.environ)  # The container is started again.
    (given.secrets / "identity" / "secret").write_text("7" * 64)
    prepare(given, os.environ)
    assert home.secret.read_text() == "7" * 64


def test_the_settings_of_the_cluster_are_those_of_the_chart_and_what_follows_from_the_pod(given: Given) -> None:
    read = options(prepare(given, os.environ))
    settings = load(read["cluster"])
    assert (settings.namespace, settings.gateway_namespace) == ("fraud", NAMESPACE)
    assert settings.kubeconfig is None  # By the service account of the pod.
    assert settings.collectors.listen == "0.0.0.0:7443"
    assert settings.collectors.addresses == tuple(
        f"serinus-control-{number}.serinus-control.{NAMESPACE}.svc:7443" for number in range(2)
    )
    certificate, control = settings.collectors.certificate, settings.control
    assert certificate is not None
    assert str(certificate.authority) == "/etc/serinus/collectors/ca.crt"
    assert control is not None
    assert (str(control.store), control.namespace) == ("/etc/serinus/store/url", NAMESPACE)
    assert settings.fleet is None


def test_credentials_of_the_fleet_repository_are_used_where_there_are_any(given: Given) -> None:
    configured(given, MOST)
    fleet = load(options(prepare(given, os.environ))["cluster"]).fleet
    assert fleet is not None
    assert (fleet.credentials, fleet.argo_cd and fleet.argo_cd.cluster) == (None, "east")
    (given.secrets / "git" / "credentials").write_text("https://serinus:token@git.example")
    fleet = load(options(prepare(given, os.environ))["cluster"]).fleet
    assert fleet is not None
    assert str(fleet.credentials) == "/etc/serinus/git/credentials"


def test_up_is_told_what_the_values_say(given: Given) -> None:
    read = options(prepare(given, os.environ))
    assert read["foreground"] is True
    assert (read["listen"], read["api_port"]) == ("0.0.0.0", 8443)
    assert (read["mlflow_uri"], read["predictions"]) == ("http://mlflow:5000", "s3://fraud/serinus/predictions")
    assert read["predictions_database"] == "postgresql://serinus@db.example/serinus"
    assert read["allow_host"] == [f"serinus.{NAMESPACE}.svc:443", f"serinus.{NAMESPACE}", "serinus-control"]
    assert (read["tls_cert"], read["tls_key"]) == (given.secrets / "api" / "tls.crt", given.secrets / "api" / "tls.key")
    assert (read["insecure"], read["allow_builds"], read["unconfined"]) == (False, False, False)
    assert read["disk_budget"] == 12 * 2**30
    configured(given, MOST)
    read = options(prepare(given, os.environ))
    assert read["allow_host"][0] == "serinus.example.org:443"
    assert (read["insecure"], read["tls_cert"], read["allow_builds"]) == (True, None, True)
    assert read["disk_budget"] == 20 * 2**30


def test_an_image_without_git_is_said(given: Given, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="The image has no git") as raised:
        prepare(given, {"PATH": str(tmp_path)})
    assert "--git" in raised.value.hint


@pytest.mark.parametrize("content", ["", "5555", "z" * 64])
def test_a_secret_that_is_none_is_said_and_not_quoted(given: Given, content: str) -> None:
    (given.secrets / "identity" / "secret").write_text(content)
    with pytest.raises(InvalidInput, match="does not hold 64 hexadecimal digits") as raised:
        prepare(given, os.environ)
    assert not content or content not in raised.value.message


def test_a_missing_certificate_of_the_api_is_said(given: Given) -> None:
    (given.secrets / "api" / "tls.key").unlink()
    with pytest.raises(Refused, match=r"has no tls\.crt and tls\.key") as raised:
        prepare(given, os.environ)
    assert "secrets.api" in raised.value.hint


def test_a_mistake_in_the_configuration_is_said_with_its_line(given: Given) -> None:
    given.config.write_text("mlflow: mlflow:5000\ndatabases: x\n")
    with pytest.raises(InvalidInput) as raised:
        prepare(given, os.environ)
    lines = [line.removeprefix(f"{given.config}:") for line in raised.value.message.splitlines()]
    assert "1: cluster: is missing" in lines
    assert "2: databases: is not a field; did you mean 'database'?" in lines


def test_the_process_ends_with_what_is_wrong(given: Given) -> None:
    (given.secrets / "identity" / "secret").unlink()
    told = ["--config", str(given.config), "--secrets", str(given.secrets), "--disk", str(given.disk)]
    done = subprocess.run(
        [sys.executable, "-m", "serinus.targets.kubernetes.control", *told],
        env={**os.environ, "SERINUS_NAMESPACE": NAMESPACE, "SERINUS_REPLICAS": "2"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "identity/secret does not hold 64 hexadecimal digits." in done.stderr
    assert "kubectl create secret" in done.stderr
    assert "Traceback" not in done.stderr
