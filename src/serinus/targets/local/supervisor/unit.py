"""A systemd unit that runs `serinus up --foreground`; see systemd.service(5) and systemd.exec(5)."""

from __future__ import annotations

import pwd
import sys
from collections.abc import Sequence
from pathlib import Path

from serinus.core.errors import InvalidInput
from serinus.core.home import Home

_UNIT = """\
# {install}
[Unit]
Description=Serinus serves models from {described}
Wants=network-online.target
After=network-online.target

[Service]
Type=notify
NotifyAccess=main
ExecStart={command} up --foreground
# The version that is installed by then takes over, without a failed request.
ExecReload=/bin/kill -HUP $MAINPID
TimeoutStartSec=300
TimeoutStopSec=180
# It exits with 1 where it could not start, or its supervisor was killed. The next start takes over what still runs.
Restart=on-failure
RestartSec=2
# A SIGTERM has it stop all of its processes in order. They outlive it if it is killed: so systemd must not end them.
KillMode=process
SuccessExitStatus=130 143
# A model that the kernel ends for want of memory is started again; the others go on.
OOMPolicy=continue
# Each model gets a control group of its own, with limits of processor, memory and processes.
Delegate=yes
TasksMax=infinity
LimitNOFILE=524288
LimitCORE=0
UMask=0077
{hardening}
[Install]
WantedBy={target}
"""

# Models confine themselves by Landlock, seccomp and namespaces, which must not be switched off here: so no
# RestrictNamespaces=, no SystemCallFilter=, no PrivateUsers=, and no ProtectControlGroups=.
_HARDENING = """\
# What models need to confine themselves stays allowed: namespaces, seccomp, Landlock, and their control groups.
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
"""

_SYSTEM_HARDENING = """\
User={user}
ProtectSystem=strict
ReadWritePaths={writable}
ProtectKernelModules=yes
CapabilityBoundingSet=
AmbientCapabilities=
"""


def unit(home: Home, *, user: str = "", program: Sequence[str] | None = None) -> str:
    """The text of the unit, for the system's manager where `user` is given, and otherwise for this user's manager.

    `program` is the command for Serinus, by default the installed one. Raises InvalidInput.
    """
    if user and not user.replace("-", "").replace("_", "").replace(".", "").isalnum():
        raise InvalidInput(f"'{user}' is not the name of a user", hint="Name the user that owns the home.")
    if any(not character.isprintable() for character in str(home.path)):
        raise InvalidInput(
            "the path of the home contains a character that a systemd unit cannot contain",
            hint="Choose another --home.",
        )
    command = " ".join(map(_quoted, [*(program or _program()), "--home", str(home.path)]))
    install = "systemctl enable --now serinus" if user else "systemctl --user enable --now serinus"
    place = "/etc/systemd/system/serinus.service" if user else "~/.config/systemd/user/serinus.service"
    hardening = _HARDENING
    if user:
        writable = " ".join(_path(path) for path in (str(home.path), *_also_written(user)))
        hardening = _SYSTEM_HARDENING.format(user=user, writable=writable) + hardening
    return _UNIT.format(
        install=f"{place}; then: {install}",
        described=_specifiers(str(home.path)),
        command=command,
        hardening=hardening,
        target="multi-user.target" if user else "default.target",
    )


def _also_written(user: str) -> Sequence[str]:
    """The directory of temporary files, and what uv keeps in the user's home directory: its cache, and interpreters."""
    try:
        own = pwd.getpwnam(user).pw_dir
    except KeyError:  # The unit may be written before the user is created.
        own = "/"
    return "/tmp", "/var/tmp", *([f"-{own}"] if own not in ("", "/") else ())  # noqa: S108


def _program() -> Sequence[str]:
    script = Path(sys.executable).with_name("serinus")
    return [str(script)] if script.is_file() else [sys.executable, "-P", "-m", "serinus.cli"]


def _quoted(word: str) -> str:
    """One word of a command line in which `$` and `%` have meanings."""
    escaped = _specifiers(word).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{escaped}"' if escaped != word or " " in word or "'" in word else word


def _path(path: str) -> str:
    escaped = _specifiers(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"' if escaped != path or " " in path or "'" in path else path


def _specifiers(text: str) -> str:
    return text.replace("%", "%%")
