"""`.ci/run`: as whom and with what it runs the checks, and what it leaves behind."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
USER = "serinus-ci-test"
OUTSIDE = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
"""As where no `make` runs the tests."""
TELL = """
tell:
\t@id -un; pwd; touch written; umask; ulimit -Hc >/dev/null; mkdir -p /tmp/serinus-ci-test-left; env
fail:
\t@exit 7
"""


def run(*targets: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / ".ci/run", "--no-print-directory", f"--eval={TELL}", *targets],
        env={**OUTSIDE, "SERINUS_CI_USER": USER, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def exists(user: str) -> bool:
    return any(entry.pw_name == user for entry in pwd.getpwall())


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a user")
def test_root_has_the_checks_run_by_an_ordinary_user_in_a_clean_login_and_leaves_nothing(tmp_path: Path) -> None:
    """The settings of the package index come along, also files that only root can read; what is root's own does not."""
    secret = tmp_path / "bundle.pem"
    secret.write_text("certificates")
    secret.chmod(0o600)
    told = run(
        "tell",
        CI="true",
        PYENV_ROOT="/root/.pyenv",
        PYTHON="/root/nowhere/python3",
        UV_DEFAULT_INDEX="http://127.0.0.1:9/simple",
        UV_CACHE_DIR="/root/.cache/uv",
        https_proxy="http://127.0.0.1:9",
        SSL_CERT_FILE=str(secret),
    )
    assert told.returncode == 0, told.stderr
    who, where, _, *lines = told.stdout.splitlines()
    environment = dict(line.partition("=")[::2] for line in lines if "=" in line)
    assert who == USER
    assert where.startswith(f"/home/{USER}/checkout-")
    assert environment["HOME"] == f"/home/{USER}"
    assert "/root" not in environment["PATH"]
    assert not {"PYENV_ROOT", "PYTHON", "UV_CACHE_DIR"} & environment.keys()
    assert environment["CI"] == "true"
    assert environment["UV_DEFAULT_INDEX"] == "http://127.0.0.1:9/simple"
    assert environment["https_proxy"] == "http://127.0.0.1:9"
    assert environment["SSL_CERT_FILE"].startswith(where)
    assert not exists(USER)
    assert not Path(f"/home/{USER}").exists()
    assert not Path("/tmp/serinus-ci-test-left").exists()


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a user")
def test_a_failure_is_the_exit_status_and_a_user_that_was_there_stays_without_the_copy() -> None:
    subprocess.run(["useradd", "--create-home", "--shell", "/bin/bash", USER], check=True)
    try:
        failed = run("fail")
        assert failed.returncode == 2, "make's own"
        assert "Error 7" in failed.stderr
        assert exists(USER)
        assert not list(Path(f"/home/{USER}").glob("checkout-*"))
    finally:
        subprocess.run(["userdel", "--remove", USER], check=True, capture_output=True)


def test_an_ordinary_user_just_runs_them() -> None:
    """Where the tests run as root, another user does."""
    nobody = 65534
    other: dict[str, Any] = {"user": nobody, "group": nobody, "extra_groups": []} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="serinus-ci-", dir="/tmp") as directory:
        checkout = Path(directory)
        (checkout / ".ci").mkdir()
        (checkout / ".ci/run").write_bytes((ROOT / ".ci/run").read_bytes())
        (checkout / "Makefile").write_text("check:\n\t@echo checked by $$(id -u)\n")
        for path in (checkout, *checkout.rglob("*")):
            path.chmod(0o755)
        command = ["bash", str(checkout / ".ci/run")]
        told = subprocess.run(command, capture_output=True, text=True, check=False, env=OUTSIDE, **other)
    assert (told.returncode, told.stdout) == (0, f"checked by {other.get('user', os.geteuid())}\n"), told.stderr


LAB = """
check:
\t@echo checked by $$(id -un)
test-root:
\t@echo tested by $$(id -un)
setup:
\t@echo installing
lab-packages:
lab-built:
\t@exit {cold}
lab-build:
\t@echo compiling; exit {status}
test-cluster-short:
\t@echo the cluster is tested by $$(id -un)
"""


def run_lab(tmp_path: Path, status: int, cold: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    """All checks, where building the lab ends with `status`. `cold`: no cache has its programs. CI is not set unless
    `environment` has it."""
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci/run").write_bytes((ROOT / ".ci/run").read_bytes())
    (tmp_path / "Makefile").write_text(LAB.format(status=status, cold=int(cold)))
    outside = {name: value for name, value in OUTSIDE.items() if name != "CI"}
    return subprocess.run(
        ["bash", tmp_path / ".ci/run"],
        env={**outside, "SERINUS_CI_USER": USER, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a user, and start a cluster")
@pytest.mark.parametrize(
    ("built", "environment", "status"),
    [(True, {"CI": "true"}, 0), (False, {"CI": "true"}, 1), (False, {}, 0)],
    ids=["built", "not-built-in-CI", "not-built"],
)
def test_the_tests_of_the_cluster_are_skipped_only_where_the_lab_cannot_be_built_which_fails_in_ci(
    built: bool, environment: dict[str, str], status: int, tmp_path: Path
) -> None:
    told = run_lab(tmp_path, 0 if built else 3, SERINUS_CI_CLUSTER="yes", **environment)
    assert told.returncode == status, told.stderr
    lines = [line for line in told.stdout.splitlines() if "make" not in line]
    assert lines == [f"checked by {USER}", "tested by root", *(["the cluster is tested by root"] if built else [])]
    assert ("THE TESTS OF THE CLUSTER ARE SKIPPED" in told.stderr) == (not built)
    assert ("compiling" in told.stderr) == (not built)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a user")
@pytest.mark.parametrize("environment", [{}, {"SERINUS_CI_CLUSTER": "no"}], ids=["not-asked-for", "refused"])
def test_the_tests_of_the_cluster_are_left_out_where_a_long_build_is_not_asked_for_and_where_a_setting_refuses_them(
    environment: dict[str, str], tmp_path: Path
) -> None:
    told = run_lab(tmp_path, 3, cold=not environment, CI="true", **environment)
    assert told.returncode == 0, told.stderr
    assert "tested by root" in told.stdout
    assert "the cluster is tested" not in told.stdout
    assert "compiling" not in told.stderr
    assert "THE TESTS OF THE CLUSTER ARE SKIPPED: the programs of the lab are not built" in told.stderr


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a user, and start a cluster")
def test_the_tests_of_the_cluster_are_run_without_a_setting_where_a_cache_has_the_programs(tmp_path: Path) -> None:
    told = run_lab(tmp_path, 0, cold=False, CI="true")
    assert told.returncode == 0, told.stderr
    assert told.stdout.splitlines()[-1] == "the cluster is tested by root"


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a user, and start a cluster")
def test_the_tests_of_the_cluster_are_left_out_where_no_time_is_left_for_them(tmp_path: Path) -> None:
    told = run_lab(tmp_path, 0, CI="true", SERINUS_CI_CLUSTER="yes", SERINUS_CI_MINUTES="14")
    assert told.returncode == 0, told.stderr
    assert "tested by root" in told.stdout
    assert "the cluster is tested" not in told.stdout
    assert "minutes are left of 14, which" in told.stderr


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a user")
def test_the_tests_that_need_root_are_left_out_where_no_time_is_left_for_them(tmp_path: Path) -> None:
    told = run_lab(tmp_path, 0, CI="true", SERINUS_CI_CLUSTER="no", SERINUS_CI_MINUTES="4")
    assert told.returncode == 0, told.stderr
    assert "checked by" in told.stdout
    assert "tested by root" not in told.stdout
    assert "THE TESTS THAT NEED ROOT ARE SKIPPED" in told.stderr


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a user, and start a cluster")
def test_the_lab_is_built_with_the_time_that_the_checks_leave_and_not_after_they_are_interrupted(
    tmp_path: Path,
) -> None:
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci/run").write_bytes((ROOT / ".ci/run").read_bytes())
    told = tmp_path / "told"
    (tmp_path / "Makefile").write_text(
        "setup lab-packages:\n"
        f"lab-build:\n\t@chrt -p $$$$ >{told}; cat /proc/self/autogroup >>{told}; "
        f"echo $$$$ >{told}.pid; exec sleep 1000\n"
        f"check:\n\t@while [ ! -e {told}.pid ]; do sleep 0.1; done; sleep 1000\n"
    )
    tmp_path.chmod(0o755)
    with subprocess.Popen(
        ["bash", tmp_path / ".ci/run"],
        env={**OUTSIDE, "SERINUS_CI_USER": USER, "SERINUS_CI_CLUSTER": "yes"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as running:
        deadline = time.monotonic() + 60
        while not Path(f"{told}.pid").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.killpg(running.pid, signal.SIGINT)
    assert running.returncode == 130
    assert "SCHED_IDLE" in told.read_text()
    if Path("/proc/self/autogroup").exists():
        assert "nice 19" in told.read_text()
    building = Path("/proc", Path(f"{told}.pid").read_text().strip())
    deadline = time.monotonic() + 60  # it gets little time to end
    while building.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not exists(USER)
