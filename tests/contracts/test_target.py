"""What every Target must do, see `core.ports.Target`."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import kept
import pytest
from pydantic import TypeAdapter
from waiting import wait_until

from serinus.core.errors import InvalidInput, Refused, Unavailable
from serinus.core.home import Home
from serinus.core.placement import Placement, PlacementState
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


def ready(target: Target, release: Release) -> Placement:
    wait_until(lambda: target.observe()[release.id].state is PlacementState.READY)
    return target.observe()[release.id]


def test_a_placed_release_is_observed_until_it_is_ready(target: Target, release: Release) -> None:
    target.place(release)
    assert target.observe()[release.id].state in (PlacementState.STARTING, PlacementState.READY)
    placement = ready(target, release)
    assert placement.endpoint
    assert placement.pid


def test_placing_twice_is_placing_once(target: Target, release: Release) -> None:
    target.place(release)
    placement = ready(target, release)
    target.place(replace(release, created_at=datetime(2026, 2, 2, tzinfo=UTC)))
    assert target.observe()[release.id].pid == placement.pid


def test_another_release_under_the_same_id_is_refused(target: Target, release: Release) -> None:
    target.place(release)
    with pytest.raises(Refused, match=release.id):
        target.place(replace(release, version="2"))


def test_a_removed_release_is_not_observed_any_more(target: Target, release: Release) -> None:
    target.place(release)
    ready(target, release)
    target.remove(release.id)
    assert release.id not in target.observe()


def test_removing_what_is_not_there_does_nothing(target: Target) -> None:
    target.remove("never-1-abcdef")
    assert target.observe() == {}


def test_an_id_that_would_lead_out_of_the_home_is_invalid(target: Target, release: Release) -> None:
    with pytest.raises(InvalidInput):
        target.place(replace(release, id=".hidden"))


@pytest.mark.parametrize("digest", ["../m", "/etc", "", ".hidden", "a/b", "a" * 200])
def test_a_digest_that_would_lead_out_of_the_home_is_invalid(target: Target, release: Release, digest: str) -> None:
    changed = [replace(release, artifact_digest=digest), replace(release, environment_digest=digest)]
    changed += [replace(release, compiled=Compiled(*pair)) for pair in ((digest, "e"), ("c", digest))]
    for one in changed:
        with pytest.raises(InvalidInput):
            target.place(one)
    assert target.observe() == {}


def test_what_a_release_names_is_held_until_its_files_are_gone(target: Target, home: Home, release: Release) -> None:
    assert target.holds(release)
    assert not target.holds(replace(release, environment_digest="gone"))
    home.artifact(release.artifact_digest).rename(home.artifacts / "elsewhere")
    assert not target.holds(release)


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


def test_without_a_host_the_target_is_unavailable(home: Home, release: Release) -> None:
    target = HostTarget(home)
    for act in (target.observe, lambda: target.place(release), lambda: target.remove(release.id)):
        with pytest.raises(Unavailable, match="does not answer"):
            act()
