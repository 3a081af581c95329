"""The contract of Trials, for processes of this machine. tests/targets/kubernetes/jobs has it for Jobs."""

from __future__ import annotations

from pathlib import Path

import kept
import pytest
from pods import ALIKE, environment_of
from trials_contract import Keep, TrialsContract

from serinus.core.home import Home
from serinus.targets.local.host import Trials
from serinus.targets.local.host.trial_limits import TrialLimits


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("home") / "h")


@pytest.fixture(scope="module")
def environment(home: Home, tmp_path_factory: pytest.TempPathFactory) -> str:
    return kept.small_environment(home, environment_of(tmp_path_factory.mktemp("e") / "environment", ALIKE))


class TestProcesses(TrialsContract):
    @pytest.fixture
    def keep(self, home: Home) -> Keep:
        def kept_as(directory: Path, digest: str) -> str:
            return kept.artifact(home, directory, digest)

        return kept_as

    @pytest.fixture
    def trials(self, home: Home) -> Trials:
        return Trials(home)

    @pytest.fixture
    def narrow(self, home: Home) -> Trials:
        return Trials(home, limits=TrialLimits(seconds=8, memory_bytes=1 << 30))

    @pytest.fixture
    def hurried(self, home: Home) -> Trials:
        return Trials(home, limits=TrialLimits(seconds=2))
