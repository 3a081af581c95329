"""The replacement of one Envoy by another, also of another version, without failed requests.

Where both support hot restart, the new one gets the listening sockets of the old one, has it close its connections
after their next answer, and ends it. Otherwise both listen on the same port for a moment, and `dismissal` is run. A
connection that is made at the very moment in which the old one closes its socket may then be reset.
"""

from __future__ import annotations

import contextlib
import http.client
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from serinus.backends.envoy import hot_restart, names
from serinus.backends.envoy.outliving import FIRST
from serinus.backends.envoy.starting import admin_socket, command
from serinus.core.home import Home
from serinus.lib import peers, tied

_SECONDS = 5.0


def successor(home: Home, binary: Path | None, before: Sequence[str]) -> list[str]:
    """Returns the command of an Envoy that starts beside the one with the command `before`.

    The first word of `before` is the path of its program. From now on route files reach the new one only. Raises
    OSError.
    """
    threads = hot_restart.values(before).get("--concurrency", "")
    words = command(home, binary, concurrency=int(threads) if threads.isdecimal() else None)
    _give_way(home)
    if FIRST not in words or FIRST not in before or _generation(before[0]) != _generation(_program(words)):
        return words
    return [*words[: words.index(FIRST)], *hot_restart.options(home, before)]


def dismissal(home: Home) -> list[str]:
    """Returns the command that has the old Envoy complete its requests, once the new one answers."""
    return [sys.executable, "-P", "-m", "serinus.backends.envoy.draining", str(_admin_before(home))]


def answers(home: Home, pid: int) -> bool:
    """Whether the Envoy with this process id is the one that serves."""
    with contextlib.suppress(OSError, http.client.HTTPException), socket.socket(socket.AF_UNIX) as link:
        link.settimeout(_SECONDS)
        link.connect(admin_socket(home))
        if peers.process_of(link) == pid:
            admin = http.client.HTTPConnection("envoy")
            admin.sock = link
            admin.request("GET", "/ready")
            return admin.getresponse().status == http.HTTPStatus.OK
    return False


def mend(home: Home) -> None:
    """Completes a `_give_way` that was interrupted."""
    new = _beside(home, "new")
    if new.is_dir() and not names.xds_directory(home).is_dir():
        new.rename(names.xds_directory(home))


def _give_way(home: Home) -> None:
    """Renames the admin socket of the running Envoy and leaves it the directory that it watches, because it could not
    read the routes of another version."""
    admin = Path(admin_socket(home))
    if _listens(admin):
        admin.rename(_admin_before(home))
    mend(home)
    xds, before, new = names.xds_directory(home), _beside(home, "before"), _beside(home, "new")
    for path in (before, new):
        shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(xds, new)
    xds.rename(before)
    new.rename(xds)


def _beside(home: Home, what: str) -> Path:
    xds = names.xds_directory(home)
    return xds.with_name(f"{xds.name}-{what}")


def _admin_before(home: Home) -> Path:
    return Path(admin_socket(home)).with_name("envoy-b.sock")


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(_SECONDS)
        return link.connect_ex(str(path)) == 0


def _program(words: Sequence[str]) -> str:
    """Returns the program of `command`, without the part that starts it."""
    return words[words.index("-c") - 1]


def _generation(program: str) -> str:
    """Returns the compatibility version of hot restart. Envoys with different ones cannot replace each other. Empty:
    unknown."""
    try:
        told = tied.run([program, "--hot-restart-version"], timeout=_SECONDS)
        told.check_returncode()
    except (OSError, subprocess.SubprocessError):
        return ""
    return told.stdout.decode(errors="replace").strip()
