from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from stages import FOR_EVER, Stage, on_sigterm, python
from waiting import wait_until

from serinus.core.errors import InvalidInput, Refused, Unavailable
from serinus.core.home import Home
from serinus.lib import processes
from serinus.targets.local.supervisor import (
    Addresses,
    Options,
    directories,
    down,
    kernel,
    launching,
    lifecycle,
    logs,
    ports,
    state,
    up,
)
from serinus.targets.local.supervisor import settings as chosen
from serinus.targets.local.supervisor.checks import Check, Silent
from serinus.targets.local.supervisor.settings import Settings


def begin(stage: Stage, options: Options | None = None, say: Callable[[str], None] = lambda _: None) -> Addresses:
    return up(stage.home, options, say, launch=stage.launch)


def supervisor_pid(stage: Stage) -> int:
    return int(wait_until(lambda: stage.pid("supervisor")))


def kill_supervisor(stage: Stage) -> None:
    os.kill(supervisor_pid(stage), signal.SIGKILL)
    wait_until(lambda: stage.pid("supervisor") is None)


# --- up and down ------------------------------------------------------------------------------------------


def test_up_returns_when_all_answers_says_what_runs_already_and_down_stops_it(stage: Stage) -> None:
    stage.listens()
    stage.add("host", FOR_EVER)
    said: list[str] = []
    first = begin(stage, say=said.append)
    assert "api answers" in said
    pids = stage.pids()
    assert pids.keys() == {"control", "host"}

    again = begin(stage, Options(ports={"api": 4711}, unconfined=True))
    assert again.already_running
    assert (again.api, again.envoy, again.home) == (first.api, first.envoy, first.home)
    assert stage.pids() == pids
    assert any("was not changed: confinement of models, port of api" in warning for warning in again.warnings)

    assert down(stage.home)
    assert stage.pids() == {}
    assert stage.pid("supervisor") is None
    assert not down(stage.home)


def test_a_process_that_the_settings_no_longer_have_is_not_shown_any_more(stage: Stage) -> None:
    """As with an MLflow server of the team in place of the home's own."""
    stage.add("mlflow", FOR_EVER)
    stage.listens()
    begin(stage)
    kill_supervisor(stage)
    del stage.specs[0]
    begin(stage)
    assert stage.shown("mlflow")["state"] == "running", "what still runs can be seen, and is stopped by `down`"
    assert down(stage.home)
    assert stage.shown("mlflow")["state"] == "stopped"
    begin(stage)
    wait_until(lambda: stage.pid("supervisor"))
    assert {one["name"] for one in state.processes(stage.home)} == {"control", "supervisor"}
    down(stage.home)


def test_ports_are_remembered_and_a_home_is_closed_to_others(stage: Stage) -> None:
    stage.listens()
    first = begin(stage)
    down(stage.home)
    assert begin(stage).api == first.api
    assert stage.home.path.stat().st_mode & 0o777 == 0o700
    assert stage.home.secret.stat().st_mode & 0o777 == 0o600
    assert len(stage.home.secret.read_text()) == 64
    assert (stage.home.path / ".gitignore").read_text() == "*\n"


def sourced(stage: Stage) -> dict[str, str]:
    """What a shell has after it has sourced the file that `up` names."""
    words = ["env", "-i", "sh", "-c", f". '{stage.home.mlflow_env}' && env"]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    return dict(line.split("=", 1) for line in told if line.startswith("MLFLOW_"))


def test_the_credentials_of_our_mlflow_are_in_files_of_their_owner_alone(stage: Stage) -> None:
    stage.listens()
    addresses = begin(stage)
    password = stage.home.mlflow_password.read_text()
    assert len(password) == 64
    assert password not in str(addresses)
    assert addresses.mlflow_env == stage.home.mlflow_env
    for file in (stage.home.mlflow_password, stage.home.mlflow_env):
        assert file.stat().st_mode & 0o777 == 0o600
    assert sourced(stage) == {
        "MLFLOW_TRACKING_URI": addresses.mlflow,
        "MLFLOW_TRACKING_USERNAME": "serinus",
        "MLFLOW_TRACKING_PASSWORD": password,
    }
    stage.home.mlflow_env.unlink()
    begin(stage)
    assert sourced(stage)["MLFLOW_TRACKING_PASSWORD"] == password, "written again, and the same"


def test_credentials_in_the_address_of_a_teams_mlflow_are_not_shown(stage: Stage) -> None:
    stage.listens()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        silent.close()
        addresses = begin(stage, Options(mlflow_uri=f"http://somebody:pass'w%40rd@{address}"))
    assert "somebody" not in str(addresses)
    assert "pass'w" not in str(addresses)
    assert addresses.mlflow == f"http://{address}"
    assert sourced(stage) == {
        "MLFLOW_TRACKING_URI": f"http://{address}",
        "MLFLOW_TRACKING_USERNAME": "somebody",
        "MLFLOW_TRACKING_PASSWORD": "pass'w@rd",
    }
    assert stage.home.mlflow_env.stat().st_mode & 0o777 == 0o600


def test_a_killed_supervisor_is_replaced_by_one_that_adopts_what_runs(stage: Stage) -> None:
    stage.listens()
    stage.add("host", FOR_EVER)
    begin(stage)
    pids = stage.pids()
    kill_supervisor(stage)
    assert stage.pids() == pids

    said: list[str] = []
    addresses = begin(stage, Options(listen="127.0.0.2"), said.append)
    assert "control, host went on running and stay as they are" in said
    assert any("was not changed: address to listen on" in warning for warning in addresses.warnings)
    assert stage.pids() == pids
    os.kill(pids["host"], signal.SIGKILL)
    wait_until(lambda: stage.pids().keys() == pids.keys() and stage.pid("host") != pids["host"])
    wait_until(lambda: stage.shown("host")["restarts"] == 1)
    down(stage.home)
    assert stage.pids() == {}


def test_down_stops_what_a_killed_supervisor_has_left(stage: Stage) -> None:
    stage.listens()
    stage.add("host", FOR_EVER)
    begin(stage)
    kill_supervisor(stage)
    said: list[str] = []
    assert down(stage.home, said.append)
    assert said == ["the supervisor is no longer running: stopping control, host, which it has left"]
    assert stage.pids() == {}


def test_a_supervisor_that_hangs_is_killed_and_what_it_kept_is_stopped(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "STOP_MARGIN", 0.2)
    stage.listens()
    stage.specs[0] = replace(stage.specs[0], stop_seconds=0.2)
    begin(stage)
    os.kill(supervisor_pid(stage), signal.SIGSTOP)
    assert down(stage.home)
    assert stage.pids() == {}
    assert stage.pid("supervisor") is None


def test_two_ups_at_once_start_one_supervisor_and_both_say_where_it_is(stage: Stage) -> None:
    stage.listens()
    launch, found = stage.launch, []
    said: list[str] = []

    def start() -> None:
        found.append(up(stage.home, say=said.append, launch=launch))

    threads = [threading.Thread(target=start) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(a.already_running for a in found) == [False, True, True]
    assert len({a.api for a in found}) == 1
    assert "another `serinus up` is starting this home: waiting for it" in said
    supervisors = [p for p in Path("/proc").glob("[0-9]*") if _is_supervisor(p, stage.home)]
    assert len(supervisors) == 1


def _is_supervisor(process: Path, home: Home) -> bool:
    try:
        words = (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"--home" in words and os.fsencode(home.path) in words


def test_an_up_during_a_down_waits_and_then_starts_anew(stage: Stage) -> None:
    stage.listens()
    ready = stage.home.path.parent / "ready"
    stage.add("host", on_sigterm("time.sleep(0.5); sys.exit(0)", ready))
    begin(stage)
    wait_until(ready.exists)
    stopping = threading.Thread(target=down, args=(stage.home,))
    stopping.start()
    wait_until(lambda: (r := state.read(stage.home, "supervisor")) is not None and r.state == "stopping")
    said: list[str] = []
    addresses = begin(stage, say=said.append)
    stopping.join()
    assert not addresses.already_running
    assert "Serinus is being stopped: waiting for that" in said
    assert stage.pids().keys() == {"control", "host"}


def test_an_up_without_a_process_that_answers_says_so_and_leaves_nothing_running(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launching, "GIVE_UP_AFTER", 2)
    stage.add("control", "import sys; sys.exit('the store is of another version')")
    with pytest.raises(
        Unavailable, match=r"api did not come up \(control: exited with 1: the store is of another version\)"
    ):
        begin(stage, Options(allowed_hosts=("fraud.example.com",)))
    assert stage.pids() == {}
    assert stage.pid("supervisor") is None
    kept = chosen.load(stage.home)
    assert kept is not None
    assert kept.allowed_hosts == ()  # an option with which nothing has ever come up is not remembered


def test_a_supervisor_that_cannot_begin_is_quoted(stage: Stage) -> None:
    launch = replace(stage.launch, command=python("import sys; sys.exit('There is no Envoy at /nowhere.')"))
    with pytest.raises(Unavailable, match=r"the supervisor ended: There is no Envoy at /nowhere\."):
        up(stage.home, launch=launch)


def test_ctrl_c_during_up_stops_what_was_started(stage: Stage) -> None:
    stage.listens()

    def interrupt(line: str) -> None:
        if line.endswith("answers"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        begin(stage, say=interrupt)
    assert stage.pids() == {}
    assert stage.pid("supervisor") is None


def test_ctrl_c_during_an_up_that_adopts_does_not_stop_what_was_serving(stage: Stage) -> None:
    stage.listens()
    begin(stage)
    pids = stage.pids()
    kill_supervisor(stage)

    def interrupt(line: str) -> None:
        if line.endswith("answers"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        begin(stage, say=interrupt)
    assert stage.pids() == pids


def test_a_second_up_tells_what_does_not_answer(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.listens()
    begin(stage)
    monkeypatch.setattr(lifecycle, "START_SECONDS", 0.0)
    monkeypatch.setattr(lifecycle, "SECOND_LOOK_SECONDS", 0.3)
    os.kill(stage.pids()["control"], signal.SIGKILL)
    silent = replace(stage.launch, checks=lambda *_: [Check("control", "api", lambda: False)])
    wait_until(lambda: stage.shown("control")["restarts"] == 1)
    assert up(stage.home, launch=silent).warnings[0] == "api does not answer (control: killed by SIGKILL)"


# --- what can be wrong with a home ------------------------------------------------------------------------


def test_a_home_in_a_very_deep_directory_works(stage: Stage, tidy: Callable[[Home], Home]) -> None:
    deep = tidy(Home(stage.home.path / Path(*["a-very-deep-directory"] * 10) / "home"))
    stage.home = deep
    stage.listens()
    deep.path.parent.mkdir(parents=True)
    try:
        begin(stage)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(deep.release_socket("card-fraud-7-3f9a2c")))
        assert down(deep)
    finally:
        shutil.rmtree(deep.sockets, ignore_errors=True)


def test_another_versions_home_is_refused_and_not_touched(directory: Path) -> None:
    home = Home(directory)
    home.settings.write_text('{"format": 99}')
    with pytest.raises(Refused, match="a home of another version: its format is 99, this version reads 1"):
        up(home)
    assert [entry.name for entry in directory.iterdir()] == ["settings.json"]


def test_a_directory_that_is_used_for_something_else_is_refused_and_not_touched(directory: Path) -> None:
    (directory / "train.py").write_text("")
    directory.chmod(0o755)
    with pytest.raises(Refused, match=r"neither empty nor a Serinus home: it contains train\.py"):
        up(Home(directory))
    assert [entry.name for entry in directory.iterdir()] == ["train.py"]
    assert directory.stat().st_mode & 0o777 == 0o755


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to somebody else")
def test_a_directory_that_belongs_to_somebody_else_is_refused(directory: Path) -> None:
    os.chown(directory, 12_345, -1)
    with pytest.raises(Refused, match="belongs to another user"):
        up(Home(directory))
    assert list(directory.iterdir()) == []


def test_a_file_in_the_place_of_a_home_is_refused(directory: Path) -> None:
    (directory / "home").write_text("")
    with pytest.raises(Refused, match="home cannot be a directory: File exists"):
        up(Home(directory / "home"))
    with pytest.raises(Refused, match="below cannot be a directory: Not a directory"):
        up(Home(directory / "home" / "below"))


def test_a_start_that_was_killed_half_way_is_taken_up_again(stage: Stage) -> None:
    directories.make(stage.home)
    stage.home.secret.unlink()
    for name in ("secret.new", "settings.json.new", ".gitignore.new"):
        (stage.home.path / name).write_text("half")
    stage.listens()
    begin(stage)
    assert len(stage.home.secret.read_text()) == 64


def test_settings_that_cannot_be_read_say_where(directory: Path) -> None:
    home = Home(directory)
    for text, words in (
        ("{", "cannot be read"),
        ("[]", "a home of another version"),
        ('{"format": 1, "ports": {"api": "many"}, "confined": 7.5}', "has wrong values in: confined, ports"),
    ):
        home.settings.write_text(text)
        with pytest.raises((InvalidInput, Refused), match=words):
            chosen.load(home)


# --- ports and addresses ----------------------------------------------------------------------------------


def test_a_port_that_is_taken_is_named_and_nothing_is_started(stage: Stage) -> None:
    stage.listens()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(Refused, match=f"port {port} for api is in use by another process"):
            begin(stage, Options(ports={"api": port}))
    assert stage.pids() == {}
    assert stage.pid("supervisor") is None
    assert chosen.load(stage.home) is None


def test_ports_and_addresses_that_cannot_be_are_refused_in_words() -> None:
    for options, words in (
        (Options(ports={"api": 70_000}), "70000 is not a port"),
        (Options(ports={"api": 21_111, "envoy": 21_111}), "cannot be both for api and for envoy"),
        (Options(listen="203.0.113.7"), "nothing can listen on 203.0.113.7"),
        (Options(listen="fraud.example.com"), "is not an IP address"),
        (Options(envoy_binary="/nowhere/envoy"), "is not a program"),
        (Options(listen="0.0.0.0", keys="none"), "--keys none is allowed on loopback only"),
        (Options(keys="some"), "--keys some is not one of required, made, none"),  # type: ignore[arg-type]
        (Options(indexes=("pypi.example.org",)), "--index pypi.example.org is not an address"),
        (Options(indexes=("https://${TOKEN}@pypi.example.org",)), "is not an address"),
        (Options(interpreters=("/nowhere/python",)), "--interpreter /nowhere/python is not a program"),
    ):
        with pytest.raises(InvalidInput, match=words):
            ports.assigned(options.applied_to(Settings()), options.ports)


def test_ports_found_free_are_different_and_out_of_the_way_of_outgoing_connections() -> None:
    first_outgoing = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    found = [ports.assigned(Settings(), {}).ports for _ in range(20)]
    assert all(len({p["api"], p["envoy"], p["mlflow"]}) == 3 for p in found)
    assert all(port < first_outgoing for p in found for port in p.values())


def test_no_port_is_kept_for_a_registry_that_is_not_ours() -> None:
    assert "mlflow" not in ports.assigned(Settings(mlflow_uri="http://127.0.0.1:1"), {}).ports


def test_what_is_not_chosen_stays_as_it_was(directory: Path) -> None:
    home = Home(directory)
    before = Settings({"api": 1, "envoy": 2, "mlflow": 3}, interpreters=("/usr/bin/python3",), confined=False)
    chosen.save(home, before)
    assert chosen.load(home) == Options().applied_to(before) == before
    changed = Options(listen="localhost", mlflow_uri="http://m", unconfined=False).applied_to(before)
    assert changed == replace(before, listen="127.0.0.1", mlflow_uri="http://m", confined=True)


# --- the supervisor's own process -------------------------------------------------------------------------


def test_a_supervisor_whose_home_is_removed_stops_everything_and_ends(stage: Stage) -> None:
    stage.listens()
    begin(stage)
    control, supervisor = stage.pids()["control"], supervisor_pid(stage)
    stage.home.path.rename(stage.home.path.with_name("elsewhere"))
    wait_until(lambda: processes.look(control) is None and processes.look(supervisor) is None)


def test_a_supervisor_that_cannot_write_a_byte_keeps_its_processes_running_and_can_be_stopped(stage: Stage) -> None:
    stage.add("host", FOR_EVER)
    directories.make(stage.home)
    code = "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0));"
    code += "os.execv(sys.argv[1], sys.argv[1:])"
    words = [sys.executable, "-c", code, *stage.launch.command, "--home", str(stage.home.path)]
    environment = {**os.environ, kernel.MARK: "supervisor"}
    supervisor = subprocess.Popen(
        words, cwd=stage.home.path, env=environment, start_new_session=True, stderr=subprocess.DEVNULL
    )
    first = wait_until(lambda: stage.pid("host"))
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: stage.pid("host") not in (None, first))
    assert list(stage.home.run.glob("*.json")) == []
    stopped = threading.Thread(target=down, args=(stage.home,))
    stopped.start()
    supervisor.wait(timeout=10)
    stopped.join()
    assert stage.pids() == {}


def test_a_second_supervisor_of_one_home_ends_at_once_and_says_why(stage: Stage) -> None:
    stage.listens()
    begin(stage)
    pids = stage.pids()
    command = [*stage.launch.command, "--home", str(stage.home.path)]
    second = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    assert second.returncode == 1
    assert f"another supervisor keeps {stage.home.path}" in second.stderr
    assert stage.pids() == pids


def test_the_status_shows_that_the_supervisor_is_gone(stage: Stage) -> None:
    stage.listens()
    begin(stage)
    kill_supervisor(stage)
    assert stage.shown("supervisor")["state"] == "gone"
    assert stage.shown("control")["state"] == "running"


def test_last_words_are_one_printable_line_of_the_present_life(directory: Path) -> None:
    log = directory / "log"
    log.write_bytes(b"earlier\n\x1b[31mred\x00 words\x1b[0m\n\n")
    assert logs.last_words(log) == "[31mred words[0m"
    assert logs.last_words(log, log.stat().st_size) == ""
    assert logs.last_words(directory / "none") == ""


# --- models in use ----------------------------------------------------------------------------------------


def test_up_says_that_it_runs_once_the_champions_that_are_starting_answer(stage: Stage) -> None:
    stage.listens()
    first, second = Silent("fraud", "starting", coming=True), Silent("churn", "not placed", coming=True)
    stage.silent = [[first, second], [first], [first], []]
    said: list[str] = []
    assert begin(stage, say=said.append).warnings == ()
    assert said[-3:] == ["waiting for 2 models: fraud, churn", "waiting for 1 model: fraud", "models answer"]


def test_up_tells_which_champions_do_not_answer_and_waits_for_none_that_has_failed(stage: Stage) -> None:
    stage.listens()
    failed = Silent("churn", "failed: while loading: ImportError", coming=False)
    stage.silent = [[Silent("fraud", "starting", coming=True), failed], [failed]]
    warnings = begin(stage).warnings
    assert warnings == ("churn does not answer: its champion is failed: while loading: ImportError",)
    assert stage.pids().keys() == {"control"}, "what runs is not stopped for it"
    assert begin(stage).warnings == warnings


def test_up_does_not_wait_for_ever_for_a_model(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "MODELS_SECONDS", 0.3)
    stage.listens()
    stage.silent = [[Silent("fraud", "starting", coming=True)]]
    assert begin(stage).warnings == ("fraud does not answer: its champion is starting",)
