from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path

import pytest

from serinus.core.errors import InvalidInput
from serinus.core.home import Home
from serinus.targets.local.supervisor.unit import unit

VERIFY = os.environ.get("SYSTEMD_ANALYZE") or shutil.which("systemd-analyze")


def lines(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))


def test_a_unit_of_the_system_runs_as_the_homes_user_and_leaves_the_confinement_of_models_alone() -> None:
    found = lines(unit(Home(Path("/var/lib/serinus")), user="no-such-user", program=["/opt/serinus/bin/serinus"]))
    assert found["ExecStart"] == "/opt/serinus/bin/serinus --home /var/lib/serinus up --foreground"
    assert (found["Type"], found["NotifyAccess"], found["KillMode"]) == ("notify", "main", "process")
    assert found["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert (found["User"], found["ReadWritePaths"], found["WantedBy"]) == (
        "no-such-user",
        "/var/lib/serinus /tmp /var/tmp",
        "multi-user.target",
    )
    assert found["Delegate"] == found["NoNewPrivileges"] == "yes"
    assert not found.keys() & {"RestrictNamespaces", "SystemCallFilter", "PrivateUsers", "ProtectControlGroups"}


def test_a_unit_of_the_system_may_write_where_uv_keeps_what_the_user_needs() -> None:
    name = pwd.getpwuid(os.getuid())
    found = lines(unit(Home(Path("/srv/serinus")), user=name.pw_name))
    assert found["ReadWritePaths"] == f"/srv/serinus /tmp /var/tmp -{name.pw_dir}"


def test_a_unit_of_a_user_needs_no_rights() -> None:
    found = lines(unit(Home(Path("/home/a/serinus"))))
    assert found["WantedBy"] == "default.target"
    assert not found.keys() & {"User", "ProtectSystem", "CapabilityBoundingSet"}


def test_words_with_a_meaning_of_their_own_are_quoted() -> None:
    text = unit(Home(Path("/srv/100% $HOME of 'x'")), user="serinus", program=["/bin/serinus"])
    assert lines(text)["ExecStart"] == "/bin/serinus --home \"/srv/100%% $$HOME of 'x'\" up --foreground"


@pytest.mark.parametrize(("home", "user"), [("/srv/a\nb", "serinus"), ("/srv/a", "x\nExecStartPre=/bin/sh")])
def test_what_would_be_another_line_is_refused(home: str, user: str) -> None:
    with pytest.raises(InvalidInput):
        unit(Home(Path(home)), user=user)


@pytest.mark.skipif(VERIFY is None, reason="no systemd-analyze; SYSTEMD_ANALYZE names one")
@pytest.mark.parametrize("user", ["root", ""])
def test_systemd_has_nothing_to_say_against_it(user: str, tmp_path: Path) -> None:
    file = tmp_path / "serinus.service"
    file.write_text(unit(Home(tmp_path / "a home"), user=user))
    words = [str(VERIFY), *([] if user else ["--user"]), "verify", "--man=no", "--recursive-errors=no", str(file)]
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert "serinus.service" not in done.stderr, done.stderr
    assert "Failed" not in done.stderr, done.stderr
