"""When callers of models are asked for a key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from serinus.backends.envoy.names import API_KEY_FILTER, bootstrap_file
from serinus.core.home import Home
from serinus.targets.local.supervisor.settings import Keys, Options, Settings, load, save
from serinus.wiring.processes import processes_of

PORTS = {"api": 1, "envoy": 2, "mlflow": 3}


@pytest.mark.parametrize(
    ("listen", "keys", "asked"),
    [
        ("127.0.0.1", "made", "made"),
        ("127.0.0.1", "required", "required"),
        ("127.0.0.1", "none", "none"),
        ("192.0.2.1", "made", "required"),
        ("192.0.2.1", "none", "required"),
    ],
)
def test_beyond_loopback_a_key_is_always_asked_for(listen: str, keys: Keys, asked: Keys) -> None:
    assert Settings(ports=PORTS, listen=listen, keys=keys).api_keys == asked


def test_the_choice_is_remembered_and_a_home_of_before_asks_once_a_key_was_made(tmp_path: Path) -> None:
    home = Home(tmp_path)
    save(home, Settings(ports=PORTS))
    kept = json.loads(home.settings.read_text())
    del kept["keys"]
    home.settings.write_text(json.dumps(kept))
    found = load(home)
    assert found is not None
    assert found.keys == "made"
    changed = Options(keys="required").applied_to(found)
    save(home, changed)
    assert load(home) == changed
    assert Options().applied_to(changed).keys == "required"
    assert Options(keys="none").ignored_by(changed) == ["keys of callers"]


@pytest.mark.parametrize(("keys", "disabled"), [("required", [False]), ("made", [True]), ("none", [])])
def test_envoy_is_told(keys: Keys, disabled: list[bool], tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.envoy.mkdir()
    home.secret.write_text("s")
    [envoy] = [spec for spec in processes_of(home, Settings(ports=PORTS, keys=keys)) if spec.name == "envoy"]
    assert envoy.prepare is not None
    envoy.prepare()
    text = json.loads(bootstrap_file(home).read_text())
    (listener,) = (one for one in text["static_resources"]["listeners"] if one["name"] == "requests")
    filters = listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
    assert [one["disabled"] for one in filters if one["name"] == API_KEY_FILTER] == disabled
