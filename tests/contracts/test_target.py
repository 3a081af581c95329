"""The target of one machine does what every Target must do (`target_contract`)."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import kept
import pytest
from pydantic import TypeAdapter
from target_contract import TargetContract
from waiting import wait_until

from serinus.core.home import Home
from serinus.core.ports import Target
from serinus.core.release import Compiled, Release, ServingSettings
from serinus.targets.local.host import HostTarget
from serinus.targets.local.host.state_files import StateFiles
from serinus.targets.local.host.unix_http import call

STANDIN = Path(__file__).parents[1] / "targets" / "local" / "host" / "standin"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "h")
    for directory in home.directories:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    home.secret.write_text(secrets.token_hex(16))
    return home


@pytest.fixture
def target(home: Home) -> Iterator[Target]:
    command = [sys.executable, "-m", "serinus.targets.local.host", "--home", str(home.path), "--runtime", str(STANDIN)]
    host = subprocess.Popen(command)
    try:
        made = HostTarget(home)
        wait_until(lambda: home.host_socket.exists())
        yield made
    finally:
        host.terminate()
        host.wait(20)


@pytest.fixture
def release(home: Home) -> Release:
    artifact = home.artifacts / "m"
    artifact.mkdir()
    (artifact / "behaviour.json").write_text(json.dumps({}))
    settings, made = ServingSettings(), datetime(2026, 1, 1, tzinfo=UTC)
    return Release("fraud 1-1-abcdef", "fraud", "1", artifact.name, kept.environment(home), settings, made)


@pytest.fixture
def without_files(home: Home, release: Release) -> Callable[[], None]:
    def rename() -> None:
        home.artifact(release.artifact_digest).rename(home.artifacts / "elsewhere")

    return rename


@pytest.fixture
def away(home: Home) -> Target:
    return HostTarget(home)


class TestHost(TargetContract):
    """The target of one machine."""


def test_a_release_that_was_placed_with_paths_by_an_earlier_version_is_the_same_release(
    target: Target, home: Home, release: Release
) -> None:
    """As it is in the host's records, and in what a control plane of that version says."""
    compiled = replace(release, compiled=Compiled("c" * 64, release.environment_digest))
    text = TypeAdapter(Release).dump_python(compiled, mode="json")
    paths = {"artifact_path": str(home.artifact("m")), "python": "/srv/serinus/environments/e/bin/python"}
    python = f"/srv/serinus/environments/{release.environment_digest}/bin/python"
    graph = {"path": f"/srv/serinus/compiled/{'c' * 64}", "digest": "c" * 64, "python": python}
    before = json.dumps({**text, **paths, "compiled": graph})
    secret = {"Authorization": f"Bearer {home.secret.read_text()}"}
    said = call(home.host_socket, "PUT", f"/releases/{quote(release.id)}", before.encode(), secret, 10.0)
    assert said.status == 202
    target.place(compiled)
    target.remove(release.id)
    (home.host / "fraud%201-1-abcdef.json").write_text(before)
    assert StateFiles(home).releases() == {release.id: compiled}
