"""What makes workers quicker: beside a model's own packages, never in their place, and never in the way."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import serinus
from serinus.backends.uv import UvEnvironments
from serinus.core.release import Environment, Requirements

RUNTIME = Path(serinus.__file__).parents[2] / "runtime" / "src"
FIND = f"""
import sys
sys.path.append({str(RUNTIME)!r})
from serinus_runtime.base import accelerators
accelerators.find()
print(accelerators.orjson and accelerators.orjson.__version__, bool(accelerators.uvloop))
"""


def found(home: Path, environment: Environment) -> str:
    return subprocess.run(
        [home / environment.digest / "bin" / "python", "-I", "-c", FIND], capture_output=True, text=True, check=True
    ).stdout.strip()


def prepared(environments: UvEnvironments, *packages: str, say: Callable[[str], None]) -> Environment:
    return environments.prepare(Requirements(packages, None), lambda _: None, say)


@pytest.mark.long
def test_a_model_that_pins_one_of_them_has_its_own_and_all_environments_share_the_rest(home: Path) -> None:
    environments = UvEnvironments(home, always=())
    pinned = prepared(environments, "orjson==3.9.15", say=lambda _: None)
    without = prepared(environments, "packaging==24.0", say=lambda _: None)
    assert found(home, pinned) == "3.9.15 True"
    ours, loop = found(home, without).split()
    assert ours != "3.9.15"
    assert loop == "True"
    links = [(home / one.digest / "accelerators").resolve() for one in (pinned, without)]
    assert links[0] == links[1]
    assert links[0].parent == home / "accelerators"
    assert list(links[0].glob("orjson/__pycache__/*.pyc")), "a confined worker cannot write bytecode"
    assert [one.name for one in links[0].parent.iterdir()] == [links[0].name]


def test_an_environment_goes_without_where_they_cannot_be_had_and_does_not_ask_again_at_once(
    index: Any, home: Path, said: list[str], prepare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.add("scorer", "1.0", "2023-01-01")
    index.add("other", "1.0", "2023-01-01")
    monkeypatch.setenv("UV_INDEX_URL", f"http://{index.host}/simple")  # which has none of them
    accelerating = UvEnvironments(home, always=())
    environment = prepare("scorer", using=accelerating)
    assert found(home, environment) == "None False"
    assert [line for line in said if line.startswith("goes without accelerators")]
    asked = index.requests
    prepare("scorer", using=accelerating)
    assert index.requests == asked, "a machine without a network is not to wait at each deployment"
    assert said[-1].endswith("a short time ago")


def test_an_environment_that_was_built_without_gets_its_link_when_it_is_next_prepared(
    index: Any, home: Path, prepare: Any, said: list[str]
) -> None:
    index.add("scorer", "1.0", "2023-01-01")
    environment = home / prepare("scorer").digest
    accelerating = UvEnvironments(home, always=(), indexes=[index.url])
    place = accelerating._builder._accelerators.place(_interpreter(accelerating))  # type: ignore[union-attr]
    place.mkdir(parents=True)
    prepare("scorer", using=accelerating)
    assert (environment / "accelerators").resolve() == place.resolve()
    assert not [line for line in said if "without" in line]


def _interpreter(environments: UvEnvironments) -> Any:
    return environments._interpreters.choose(None, lambda _: None).interpreter
