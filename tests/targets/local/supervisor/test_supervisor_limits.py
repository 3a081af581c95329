"""What an operator allows the models of a machine: remembered in the home, and handed to the host."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

from stages import Stage
from waiting import wait_until

from serinus.core.home import Home
from serinus.targets.local.supervisor import Addresses, Options, down, state, up
from serinus.targets.local.supervisor.settings import Settings
from serinus.wiring.processes import processes_of


def begin(stage: Stage, options: Options | None = None) -> Addresses:
    return up(stage.home, options, launch=stage.launch)


def test_limits_of_models_are_remembered_and_told_and_reach_a_host_that_runs_only_at_the_next_up(stage: Stage) -> None:
    stage.listens()
    assert begin(stage).limits == {}
    again = begin(stage, Options(memory=2**30, idle=60.0, busiest=0))
    what = "memory of models, idle time until models are scaled to zero, number of models that are not scaled to zero"
    assert any(f"was not changed: {what};" in warning for warning in again.warnings)
    assert again.limits == {}
    down(stage.home)
    assert begin(stage, Options(memory=2**30, busiest=0)).limits == {"memory": 2**30, "busiest": 0}
    down(stage.home)
    assert begin(stage, Options(idle=60.0)).limits == {"memory": 2**30, "idle": 60.0, "busiest": 0}
    down(stage.home)
    assert begin(stage).limits == {"memory": 2**30, "idle": 60.0, "busiest": 0}
    assert not any("not changed" in warning for warning in begin(stage, Options(busiest=0)).warnings)


def test_the_host_is_started_with_the_limits_that_were_chosen(home: Home) -> None:
    home.secret.write_text("s")
    settings = Settings({"api": 1, "envoy": 2, "mlflow": 3}, memory=2**33, idle=90.0, busiest=0)
    command = next(spec.command for spec in processes_of(home, settings) if spec.name == "host")
    assert command[-3:] == ["--memory=8589934592", "--idle=90.0", "--busiest=0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as host:
        try:
            wait_until(lambda: host.poll() is not None or home.host_socket.exists(), timeout=60)
            assert host.poll() is None, host.stderr and host.stderr.read()
        finally:
            host.terminate()


def test_a_host_without_chosen_limits_has_its_own(home: Home) -> None:
    home.secret.write_text("s")
    specs = processes_of(home, Settings({"api": 1, "envoy": 2, "mlflow": 3}))
    command = next(spec.command for spec in specs if spec.name == "host")
    assert list(command[-2:]) == ["--home", str(home.path)]


def test_what_runs_may_open_as_many_files_as_its_user_though_up_was_given_few(stage: Stage) -> None:
    stage.listens()
    usual, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, most))
    try:
        begin(stage)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (usual, most))
    for process in state.running(stage.home):
        limits = Path(f"/proc/{process.pid}/limits").read_text().splitlines()
        assert next(line for line in limits if line.startswith("Max open files")).split()[3:5] == [str(most)] * 2


def test_the_supervisor_takes_little_memory_for_it_loads_nothing_of_the_control_plane() -> None:
    """Whatever it imports stays in memory beside all models, for as long as they run."""
    asked = "import sys; import serinus.wiring.__main__; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "serinus.targets.local.supervisor.process" in loaded
    assert not loaded & {"serinus.wiring.control", "fastapi", "sqlalchemy", "deltalake", "numpy", "mlflow"}
