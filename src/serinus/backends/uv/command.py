"""Runs uv without the settings of the surrounding project or virtual environment. Failures are reported in words."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import uv

from serinus.backends.uv.words import explain
from serinus.lib import priority, tied

LONGEST_SECONDS = 3600.0
"""The time limit of one call, for large wheels over a slow network, or a build from source."""


# The variables that uv gets: package indexes, the way to reach them, and uv's own directories. It gets no others,
# because they may hold credentials.
_HANDED_ON = re.compile(
    r"PATH|HOME|USER|LOGNAME|LANG|LC_\w+|TZ|TMPDIR|XDG_(CACHE|CONFIG|DATA)_(HOME|DIRS)|NETRC|SSL_CERT_(FILE|DIR)"
    r"|(HTTPS?|ALL|NO)_PROXY|(https?|all|no)_proxy|RUST_LOG|RUST_BACKTRACE"
    r"|UV_(DEFAULT_)?INDEX(_\w+)?|UV_EXTRA_INDEX_URL|UV_FIND_LINKS|UV_NO_INDEX|UV_INSECURE_HOST|UV_KEYRING_PROVIDER"
    r"|UV_CACHE_DIR|UV_NO_CACHE|UV_CONFIG_FILE|UV_NO_CONFIG|UV_CREDENTIALS_DIR|UV_HTTP_\w+|UV_REQUEST_TIMEOUT"
    r"|UV_CONCURRENT_\w+|UV_LINK_MODE|UV_NATIVE_TLS|UV_SYSTEM_CERTS|UV_OFFLINE|UV_PYTHON_(INSTALL_DIR|INSTALL_MIRROR"
    r"|DOWNLOADS_JSON_URL|CACHE_DIR)|UV_PYPY_INSTALL_MIRROR"
)
_SOON = {"UV_HTTP_CONNECT_TIMEOUT": "10", "UV_HTTP_RETRIES": "1"}
"""Timeouts, unless the user has set others. The caller tries again."""
_NICE = 10
"""The niceness, because models are served on the same machine."""
_PROGRESS = ("Downloading", "Building", "Prepared", "Installed")


class Uv:
    """The uv binary. Index settings (`UV_INDEX_URL`, the user's `uv.toml`, credentials) are those of the user."""

    def __init__(self, binary: Path | None = None) -> None:
        self.binary = binary or Path(uv.find_uv_bin())

    def run(
        self,
        *arguments: str | Path,
        say: Callable[[str], None] = lambda _: None,
        keep_open: Sequence[int] = (),
        small: bool = False,
        settings: str = "",
    ) -> None:
        """Runs uv to its end. Raises Unbuildable, or Unavailable where another attempt may help, both in words, and
        OSError.

        - `say`: gets uv's lines of progress.
        - `keep_open`: file descriptors that uv inherits.
        - `small`: nothing large is downloaded, so that an index that does not answer is given up soon.
        - `settings`: text in the format of `uv.toml`, in addition to the user's own.
        """
        environment = (_SOON if small else {}) | _environment()
        with contextlib.ExitStack() as stack:
            # uv runs in the root directory, so that no uv.toml or pyproject.toml of a project around the home has an
            # effect.
            where, options = Path(self.binary.anchor or "/"), []
            if settings:
                where = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="serinus-")))
                options = _settled(where / "uv.toml", settings, environment)
            command = [self.binary, *arguments, *options, "--color", "never", "--no-progress"]
            self._run(command, where, environment, say, keep_open)

    def _run(
        self,
        command: Sequence[str | Path],
        directory: Path,
        environment: Mapping[str, str],
        say: Callable[[str], None],
        keep_open: Sequence[int],
    ) -> None:
        with tied.start(
            command,
            cwd=directory,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=keep_open,
            prepare=_give_way,
        ) as process:
            limit = threading.Timer(LONGEST_SECONDS, process.kill)
            limit.start()
            try:
                assert process.stderr is not None
                with io.TextIOWrapper(process.stderr, errors="replace") as printed:
                    lines = [_told(line, say) for line in printed]
                code = process.wait()
            finally:
                limit.cancel()
        if code:
            raise explain("".join(lines), code)


def _give_way(pid: int) -> None:
    priority.give_way(pid, _NICE)


def _settled(file: Path, settings: str, environment: dict[str, str]) -> list[str | Path]:
    """Writes `settings` to `file`, where uv finds them. Returns options for the case that the user has switched that
    off, or has named another file, whose contents are then included."""
    named, none = environment.pop("UV_CONFIG_FILE", ""), environment.pop("UV_NO_CONFIG", "")
    file.write_text((Path(named).read_text() + "\n" if named else "") + settings)
    return ["--config-file", file] if named or none else []


def _told(line: str, say: Callable[[str], None]) -> str:
    if line.strip().startswith(_PROGRESS):
        say(line.strip())
    return line


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if _HANDED_ON.fullmatch(name)}
