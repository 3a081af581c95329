"""Another version of Serinus takes over a home that serves, and gives it back: no request of a caller fails."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import threading
import venv
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from whole_load import wait_until
from whole_serinus import Serinus

import serinus as package
from serinus.targets.local.supervisor import state, up
from serinus.targets.local.supervisor.version import installed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

MODEL = "upgraded"
RATE = 100.0
ROW = {"dataframe_records": [{"amount": 12.5, "hour": 3.0}]}


def installation(directory: Path, version: str) -> Path:
    """A copy of what is installed here, in an environment of its own, under another version; its interpreter."""
    venv.create(directory / "venv", with_pip=False, symlinks=True)
    site = next((directory / "venv").glob("lib/python*/site-packages"))
    own = Path(str(package.__file__)).parents[2]
    for source, name in ((own / "src", "serinus"), (own / "runtime" / "src", "serinus_runtime")):
        shutil.copytree(source / name, directory / "code" / name, ignore=shutil.ignore_patterns("__pycache__"))
    (site / "paths.pth").write_text(f"{directory / 'code'}\n{sysconfig.get_path('purelib')}\n")
    facts = site / f"serinus-{version}.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: serinus\nVersion: {version}\n")
    (directory / "venv" / "bin" / "envoy").symlink_to(Path(sys.executable).parent / "envoy")
    return directory / "venv" / "bin" / "python"


@contextmanager
def newcomers(url: str) -> Iterator[Counter[str]]:
    """Callers that make a new connection for each request, by how they end."""
    ended: Counter[str] = Counter()
    stop = threading.Event()

    def call() -> None:
        while not stop.is_set():
            try:
                answer = httpx.post(f"{url}/models/{MODEL}/invocations", json=ROW, timeout=20, trust_env=False)
                ended[f"http {answer.status_code}"] += 1
            except httpx.HTTPError as error:
                ended[type(error).__name__] += 1
            stop.wait(0.02)

    thread = threading.Thread(target=call)
    thread.start()
    try:
        yield ended
    finally:
        stop.set()
        thread.join()


def up_by(python: Path, serinus: Serinus) -> subprocess.CompletedProcess[str]:
    words = [str(python), "-P", "-m", "serinus.cli", "--home", str(serinus.home.path), "up"]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def versions(serinus: Serinus) -> set[str]:
    return {record.version.partition("+")[0] for record in state.running(serinus.home) if "-before" not in record.name}


@pytest.fixture(scope="module")
def release(serinus: Serinus, register: Callable[..., str]) -> str:
    ended = serinus.ended(serinus.deploy(f"{MODEL}@{register(MODEL, 1.0)}"), timeout=600)
    assert ended["status"]["phase"] == "promoted", ended["status"]
    return str(ended["candidate"]["id"])


def test_a_new_version_takes_over_and_the_old_one_after_it_without_a_failed_request(
    serinus: Serinus, release: str, tmp_path: Path
) -> None:
    other = installation(tmp_path, "99.0.0")
    pids = {record.name: record.pid for record in state.running(serinus.home)}
    worker = serinus.placement(release).pid
    with serinus.load(MODEL, RATE) as load, newcomers(serinus.addresses.envoy) as ended:
        wait_until(lambda: len(load.seen) > RATE, 30, "steady load")
        done = up_by(other, serinus)
        assert done.returncode == 0, done.stdout + done.stderr
        assert versions(serinus) == {"99.0.0"}
        now = {record.name: record.pid for record in state.running(serinus.home)}
        assert not [name for name, pid in pids.items() if now[name] == pid], "all are replaced"
        wait_until(lambda: serinus.placement(release).pid not in (None, worker), 60, "a worker of the new version")
        assert serinus.answers()
        up(serinus.home)
        assert versions(serinus) == {installed().partition("+")[0]}
        count = len(load.seen)
        wait_until(lambda: len(load.seen) > count + RATE, 30, "more load")
    assert load.in_words() == {}
    assert set(ended) == {"http 200"}
    serinus.logged(load)


def test_one_that_does_not_come_up_gives_way_to_the_version_before(
    serinus: Serinus, release: str, tmp_path: Path
) -> None:
    broken = installation(tmp_path, "99.0.1")
    control = tmp_path / "code" / "serinus" / "wiring" / "control.py"
    control.write_text(control.read_text() + "\n\ndef run_control(home, settings):\n    raise OSError('broken')\n")
    with serinus.load(MODEL, RATE) as load, newcomers(serinus.addresses.envoy) as ended:
        wait_until(lambda: len(load.seen) > RATE, 30, "steady load")
        done = up_by(broken, serinus)
        assert done.returncode == 1, done.stdout
        assert (
            "control of the new version did not come up (control: exited with 1: OSError: broken); the version"
            in done.stderr
        )
        pids = {record.name: record.pid for record in state.running(serinus.home)}
        control.write_text("import nowhere\n")
        done = up_by(broken, serinus)
        assert "so nothing was replaced: ModuleNotFoundError" in done.stderr
        kept = {record.name: record.pid for record in state.running(serinus.home)}
        assert {name: pid for name, pid in pids.items() if "-before" not in name}.items() <= kept.items()
        assert versions(serinus) == {installed().partition("+")[0]}
        assert serinus.answers()
        assert serinus.placement(release).workers
    assert load.in_words() == {}
    assert set(ended) == {"http 200"}
